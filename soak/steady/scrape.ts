import { Agent } from 'node:http'
import { send } from './http.ts'
import { holderOf } from './processes.ts'
import type { Server } from './server.ts'

/** Connections go to workers at random. */
const TRIES = 200

/** Series of one process without labels, by name. */
export type Series = ReadonlyMap<string, number>

/** Reads the metrics of every process of the server, each over a connection that stays open. */
export class Scrape {
  readonly #host: string
  readonly #agents: readonly Agent[]

  private constructor(host: string, agents: readonly Agent[]) {
    this.#host = host
    this.#agents = agents
  }

  /** @throws Error when a process of the server takes no connection */
  static async open({ host, pids: { serving } }: Server): Promise<Scrape> {
    const serverPort = Number(host.split(':')[1])
    const found = new Map<number, Agent>()
    for (let tries = 0; found.size < serving.length && tries < TRIES; tries++) {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      const { localPort: clientPort = 0 } = await send(agent, host, METRICS)
      const pid = holderOf(serving, { serverPort, clientPort })
      if (pid === undefined || found.has(pid)) agent.destroy()
      else found.set(pid, agent)
    }
    if (found.size < serving.length) throw new Error('not every worker takes connections')
    return new Scrape(host, [...found.values()])
  }

  /** Of each process. */
  read(): Promise<Series[]> {
    return Promise.all(
      this.#agents.map(async (agent) => {
        const { status, body } = await send(agent, this.#host, METRICS)
        if (status !== 200) throw new Error(`GET /metrics: ${status}`)
        const lines = body.toString().matchAll(/^(\w+) (\S+)$/gm)
        return new Map([...lines].map(([, name = '', value]) => [name, Number(value)]))
      }),
    )
  }

  close(): void {
    for (const agent of this.#agents) agent.destroy()
  }
}

const METRICS = { method: 'GET', path: '/metrics' } as const
