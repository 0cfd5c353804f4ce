import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Exchange, type ExchangeRecord } from './exchange.ts'
import {
  type Conduct,
  delay,
  Fault,
  type FaultHandle,
  hang,
  passThrough,
  type Times,
} from './fault.ts'

export interface ProxyOptions {
  /** The address it listens on, 127.0.0.1 by default. */
  readonly host?: string
  /** What is done with requests that meet no fault; they go through by default. */
  readonly conduct?: (exchange: Exchange) => Promise<void>
}

/**
 * Stands before an HTTP server, notes what it is asked, and fails when it is told to.
 *
 * It passes requests on as they are, `Host` included. A request meets one fault at most: the first
 * to be given of those that match it; and likewise one throttle besides.
 *
 * @typeParam Request what is noted of one
 * @typeParam Match says which requests a fault hits
 */
export abstract class FaultProxy<Request extends ExchangeRecord, Match> {
  readonly #server = createServer((incoming, outgoing) => this.#serve(incoming, outgoing))
  readonly #agents = new WeakMap<Socket, Agent>()
  readonly #target: URL
  readonly #host: string
  readonly #conduct: (exchange: Exchange) => Promise<void>
  readonly #faults: Fault<Request, Conduct>[] = []
  readonly #throttles: Fault<Request, number>[] = []
  #records: Request[] = []
  #port = 0

  /** @param target where the server is, `http://127.0.0.1:7480` */
  protected constructor(
    target: string,
    { host = '127.0.0.1', conduct = passThrough }: ProxyOptions = {},
  ) {
    this.#target = new URL(target)
    this.#host = host
    this.#conduct = conduct
    const { protocol, origin } = this.#target
    if (protocol !== 'http:') throw new Error(`not an endpoint over http: ${origin}`)
    // How long anything may take is for the two sides to say.
    this.#server.requestTimeout = 0
    this.#server.headersTimeout = 0
    this.#server.keepAliveTimeout = 0
  }

  /** What is known of a request by its head. */
  protected abstract recordOf(incoming: IncomingMessage): Request

  protected abstract isMatch(match: Match, request: Request): boolean

  protected get origin(): string {
    return `http://${this.#host}:${this.#port}`
  }

  /** In the order in which they came, those under way included. */
  protected get records(): readonly Request[] {
    return this.#records
  }

  /** Forgets the requests; the faults stay. */
  reset(): void {
    this.#records = []
  }

  /** The answer is held back for so long once the server has begun it. */
  delay(match: Match, { firstByteMs, ...times }: { firstByteMs: number } & Times): FaultHandle {
    return this.add(match, times, delay(firstByteMs))
  }

  /**
   * The server is not asked, and the connection stays. When it is cleared, the requests of
   * clients that still wait go on.
   */
  hang(match: Match, times: Times = {}): FaultHandle {
    return this.add(match, times, hang)
  }

  /** Each answer's body goes no faster. */
  throttle(
    match: Match,
    { bytesPerSecond, ...times }: { bytesPerSecond: number } & Times,
  ): FaultHandle {
    const throttle = new Fault(this.#matching(match), times, bytesPerSecond)
    this.#throttles.push(throttle)
    return throttle
  }

  /** After an outage connections are accepted again, on the same port. */
  async restore(): Promise<void> {
    if (this.#server.listening) return
    this.#server.listen(this.#port, this.#host)
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  /** Connections are refused, those that exist break. Safe to repeat. */
  protected async refuseConnections(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  protected add(match: Match, times: Times, conduct: Conduct): FaultHandle {
    const fault = new Fault(this.#matching(match), times, conduct)
    this.#faults.push(fault)
    return fault
  }

  #matching(match: Match): (request: Request) => boolean {
    return (request) => this.isMatch(match, request)
  }

  #serve(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const record = this.recordOf(incoming)
    this.#records.push(record)
    const { hostname: host, port } = this.#target
    const target = { host, port: Number(port || 80), agent: this.#agentOf(incoming.socket) }
    const exchange = new Exchange(incoming, outgoing, target, record)
    const throttle = this.#throttles.find((candidate) => candidate.takes(record))
    if (throttle !== undefined) exchange.bytesPerSecond = throttle.effect
    const fault = this.#faults.find((candidate) => candidate.takes(record))
    const next = () => this.#conduct(exchange)
    const done = fault ? fault.effect(exchange, { cleared: fault.cleared, next }) : next()
    done.catch(() => exchange.cut())
  }

  /** Each client's connection has one to the server of its own, and they end together. */
  #agentOf(client: Socket): Agent {
    const known = this.#agents.get(client)
    if (known !== undefined) return known
    const agent = new Agent({ keepAlive: true })
    this.#agents.set(client, agent)
    client.once('close', () => agent.destroy())
    return agent
  }
}
