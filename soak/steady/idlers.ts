import { Agent } from 'node:http'
import type { Random } from '../random.ts'
import type { Load } from './client.ts'
import { send } from './http.ts'
import { pause } from './pace.ts'

const IDLERS = 24
/** From one request of a connection to its next, at most. */
const QUIET_MS = 20_000

/** Connections that are kept open, and hardly used. Some close, and others come. */
export async function idle(load: Load, random: Random, signal: AbortSignal): Promise<void> {
  await Promise.all(Array.from({ length: IDLERS }, () => idleOne(load, random, signal)))
}

async function idleOne(load: Load, random: Random, signal: AbortSignal): Promise<void> {
  let agent = new Agent({ keepAlive: true, maxSockets: 1 })
  while (!signal.aborted) {
    const { report } = load
    report.requests++
    try {
      const { status } = await send(agent, load.host, { method: 'GET', path: '/v2/' })
      if (status === 503) report.unavailable++
      else if (status !== 401) report.violation(`GET /v2/: ${status}`)
    } catch (error) {
      report.violation(`a connection that was idle: ${(error as Error).message}`)
    }
    await pause(random.next() * QUIET_MS, signal)
    if (!random.chance(0.3)) continue
    agent.destroy()
    agent = new Agent({ keepAlive: true, maxSockets: 1 })
  }
  agent.destroy()
}
