import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Exchange, type S3Error } from './s3-proxy/exchange.ts'
import {
  answer,
  type Conduct,
  cutRequest,
  cutResponse,
  delay,
  Fault,
  type FaultHandle,
  hang,
  loseAnswer,
  type Match,
  passThrough,
  type Times,
} from './s3-proxy/fault.ts'
import {
  type RequestRecord,
  recordOf,
  type S3Operation,
  type S3Request,
} from './s3-proxy/request.ts'

/**
 * Stands between Slipway and an S3 server, notes what is asked, and fails as networks and
 * object storages do.
 *
 * It passes on requests as they are, `Host` included, for they are signed; buckets have to be in
 * the path. A request meets one fault at most: the first to be given of those that match it.
 */
export class S3Proxy {
  readonly #server = createServer((incoming, outgoing) => this.#serve(incoming, outgoing))
  readonly #agents = new WeakMap<Socket, Agent>()
  readonly #target: URL
  #faults: Fault[] = []
  #requests: RequestRecord[] = []
  #port = 0

  private constructor(target: URL) {
    this.#target = target
    // How long anything may take is for the two sides to say.
    this.#server.requestTimeout = 0
    this.#server.headersTimeout = 0
    this.#server.keepAliveTimeout = 0
  }

  /** @param target the endpoint of the S3 server, `http://127.0.0.1:7480` */
  static async start(target: string): Promise<S3Proxy> {
    const url = new URL(target)
    if (url.protocol !== 'http:') throw new Error(`not an endpoint over http: ${url.origin}`)
    const proxy = new S3Proxy(url)
    await proxy.restore()
    return proxy
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** In the order in which they came, those under way included. */
  get requests(): readonly S3Request[] {
    return this.#requests
  }

  count(operation?: S3Operation): number {
    if (operation === undefined) return this.#requests.length
    return this.#requests.filter((request) => request.operation === operation).length
  }

  /** Bytes that went to the server to be kept there, by PutObject and UploadPart. */
  get bytesStored(): number {
    return this.#requests
      .filter(({ operation }) => operation === 'PutObject' || operation === 'UploadPart')
      .reduce((sum, { requestBytes }) => sum + requestBytes, 0)
  }

  /** Forgets the requests; the faults stay. */
  reset(): void {
    this.#requests = []
  }

  /**
   * The server gets so many bytes of the body and then sees the connection end, as does the
   * client. It gets all of a shorter body, and its answer is lost.
   */
  cutRequest(match: Match, { afterBytes, ...times }: { afterBytes: number } & Times): FaultHandle {
    return this.#add(match, times, cutRequest(afterBytes))
  }

  /** The client gets so many bytes of the answer's body, or all of a shorter one. */
  cutResponse(match: Match, { afterBytes, ...times }: { afterBytes: number } & Times): FaultHandle {
    return this.#add(match, times, cutResponse(afterBytes))
  }

  /** The client is answered so, and the server not asked. */
  answer(match: Match, { times = 1, ...error }: S3Error & Times): FaultHandle {
    return this.#add(match, { times }, answer(error))
  }

  /** The answer is held back for so long once the server has begun it. */
  delay(match: Match, { firstByteMs, ...times }: { firstByteMs: number } & Times): FaultHandle {
    return this.#add(match, times, delay(firstByteMs))
  }

  /** The server carries the request out and answers; the client's connection ends without a byte. */
  loseAnswer(match: Match, times: Times = {}): FaultHandle {
    return this.#add(match, times, loseAnswer)
  }

  /**
   * The server is not asked, and the connection stays. When it is cleared, the requests of
   * clients that still wait go on.
   */
  hang(match: Match, times: Times = {}): FaultHandle {
    return this.#add(match, times, hang)
  }

  /** Connections are refused, those that exist break. */
  async outage(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  /** After an outage connections are accepted again, on the same port. */
  async restore(): Promise<void> {
    if (this.#server.listening) return
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  /** Breaks what is under way. Nothing that hangs goes on any more. */
  async stop(): Promise<void> {
    await this.outage()
  }

  #add(match: Match, times: Times, conduct: Conduct): FaultHandle {
    const fault = new Fault(match, times, conduct)
    this.#faults.push(fault)
    return fault
  }

  #serve(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const record = recordOf(incoming)
    this.#requests.push(record)
    const { hostname: host, port } = this.#target
    const upstream = { host, port: Number(port || 80), agent: this.#agentOf(incoming.socket) }
    const exchange = new Exchange(incoming, outgoing, upstream, record)
    const fault = this.#faults.find((candidate) => candidate.takes(record))
    const done = fault === undefined ? passThrough(exchange) : fault.apply(exchange)
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
