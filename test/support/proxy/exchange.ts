import { once } from 'node:events'
import {
  type Agent,
  type ClientRequest,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { type BodyChange, firstBytes, throttled, unchanged } from './body.ts'
import { type Bounds, copy, piecesOf } from './copy.ts'
import { changed, type HeaderChanges, lengthIn } from './headers.ts'

export interface Target {
  readonly host: string
  readonly port: number
  /** Its connections end with that of the client. */
  readonly agent: Agent
}

/** What a proxy notes of a request whatever it is; it learns of the answer as that passes. */
export interface ExchangeRecord {
  readonly method: string
  /** What the server answered, though the client may not have seen it, or the proxy in its place. */
  status: number | undefined
  /** Bytes of the body that went on to the server. */
  requestBytes: number
  /** Bytes of the answer's body that went to the client. */
  responseBytes: number
}

/** Whole, and made without asking the server. */
export interface MadeAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string | number>>
  readonly body?: string | Uint8Array
}

/** How a request that goes on differs from what the client sent. */
export interface AskChanges {
  /** Path and query in place of the client's. */
  readonly path?: string
  /** Headers that are left out, in lower case. */
  readonly without?: readonly string[]
}

/** An answer on its way to the client, the server's or one made here. */
interface Passing {
  readonly status: number
  readonly statusMessage: string | undefined
  /** Names and values in turns. */
  readonly rawHeaders: readonly string[]
  readonly pieces: AsyncIterable<Buffer>
}

/** How an answer that goes on differs from what the server sent. */
export interface AnswerChanges {
  readonly headers?: HeaderChanges
  readonly body?: BodyChange
  /**
   * What follows the body: its proper end, by default; or that of the connection, in order or by a
   * TCP reset, with which bytes may be lost that the client has not read yet.
   */
  readonly end?: 'proper' | 'close' | 'reset'
}

/**
 * One request and its answer, in the steps of which the faults are made. Every step may throw
 * when a side has gone.
 */
export class Exchange {
  readonly incoming: IncomingMessage
  readonly #client: Socket
  readonly #outgoing: ServerResponse
  readonly #target: Target
  readonly #record: ExchangeRecord
  #answer: IncomingMessage | undefined
  /** The pace of the answer's body. */
  bytesPerSecond = Number.POSITIVE_INFINITY
  /** Headers that the server does not get, in lower case. */
  without: readonly string[] = []
  /**
   * What happens to the answer besides what {@link pass} is told, whoever made it. Waits as long as
   * the answer is to be held back, and throws when it cannot be done.
   *
   * @param length of the body, when it is announced
   */
  change: (length: number | undefined) => Promise<AnswerChanges> | AnswerChanges = () => ({})

  constructor(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    target: Target,
    record: ExchangeRecord,
  ) {
    this.incoming = incoming
    this.#client = incoming.socket
    this.#outgoing = outgoing
    this.#target = target
    this.#record = record
    outgoing.on('error', () => {}) // 'close' follows
  }

  /** Sends the request on. @returns the answer, which may come before all of the body has gone */
  async ask({ path, without = [] }: AskChanges = {}): Promise<IncomingMessage> {
    const asked = this.#open({
      path: path ?? this.incoming.url ?? '/',
      without: [...without, ...this.without],
    })
    const answered = once(asked, 'response') as Promise<[IncomingMessage]>
    void this.#sendBody(asked) // it does not throw
    const [answer] = await answered
    this.#answer = answer
    this.#record.status = answer.statusCode
    return answer
  }

  /** Sends no more of the body than `limit` bytes, and cuts both sides. */
  async askInPart(limit: number): Promise<void> {
    const asked = this.#open({ path: this.incoming.url ?? '/', without: [] })
    await this.#copyBody(asked, { body: firstBytes(limit) })
    asked.destroy()
    this.cut()
  }

  async pass(answer: IncomingMessage, changes: AnswerChanges = {}): Promise<void> {
    const { statusCode: status = 0, statusMessage, rawHeaders } = answer
    const headers = changed(rawHeaders, changes.headers)
    const { body = unchanged } = changes
    await this.#send({ status, statusMessage, rawHeaders: headers, pieces: body(piecesOf(answer)) })
  }

  /** @throws Error when the client leaves meanwhile */
  async wait(ms: number): Promise<void> {
    const left = new AbortController()
    this.#outgoing.once('close', () => left.abort())
    await sleep(ms, undefined, { signal: left.signal })
  }

  /** Waits for the end of the answer and keeps it from the client. */
  async lose(answer: IncomingMessage): Promise<void> {
    answer.resume()
    await finished(answer)
    this.cut()
  }

  /** Answers in the server's place, once the client has sent all it wants to. */
  async reply({ status, headers = {}, body = '' }: MadeAnswer): Promise<void> {
    this.incoming.resume()
    await finished(this.incoming)
    const length = Buffer.byteLength(body)
    const rawHeaders = Object.entries({ 'Content-Length': length, ...headers }).flatMap(
      ([name, value]) => [name, String(value)],
    )
    const isEmpty = this.#record.method === 'HEAD' || length === 0
    const pieces = Readable.from(isEmpty ? [] : [Buffer.from(body)])
    this.#record.status = status
    await this.#send({ status, statusMessage: undefined, rawHeaders, pieces })
  }

  /** Ends the client's connection, in the middle of whatever is on it. */
  cut(): void {
    this.#client.destroy()
  }

  async #reset(): Promise<void> {
    await sleep(50) // libuv makes a proper end of a reset that comes along with bytes
    this.#client.resetAndDestroy()
  }

  #open({ path, without }: Required<AskChanges>): ClientRequest {
    if (this.#client.destroyed) throw new Error('the client has left')
    const asked = request({
      ...this.#target,
      method: this.#record.method,
      path,
      headers: framed(this.incoming, without),
    })
    asked.on('error', () => {}) // also told to whoever waits for the answer
    return asked
  }

  /** Sends no more of it once the server has answered, for that has no use for the rest. */
  async #sendBody(asked: ClientRequest): Promise<void> {
    try {
      const isWhole = await this.#copyBody(asked, { isEnough: () => this.#isAnswered() })
      if (isWhole) return void asked.end()
    } catch {
      // A side has gone, though the server may have answered before.
    }
    this.incoming.resume() // else the client would not come to read the answer
    if (this.#answer === undefined) return
    await finished(this.#answer).catch(() => {})
    asked.destroy()
  }

  /**
   * Lets come in what has come: a server may refuse and go, and the answer is lost to a write that
   * fails before it is read. That can still be, as it can without a proxy.
   */
  async #isAnswered(): Promise<boolean> {
    for (let turn = 0; turn < 4 && this.#answer === undefined; turn++) await setImmediate()
    return this.#answer !== undefined
  }

  #copyBody(
    asked: ClientRequest,
    { body = unchanged, ...bounds }: { body?: BodyChange } & Bounds,
  ): Promise<boolean> {
    const count = (bytes: number) => {
      this.#record.requestBytes += bytes
    }
    return copy(body(piecesOf(this.incoming)), asked, count, bounds)
  }

  async #send({ status, statusMessage, rawHeaders, pieces }: Passing): Promise<void> {
    const {
      headers = {},
      body = unchanged,
      end = 'proper',
    } = await this.change(lengthIn(rawHeaders))
    this.#outgoing.writeHead(status, statusMessage, changed(rawHeaders, headers))
    this.#outgoing.flushHeaders()
    await copy(throttled(this.bytesPerSecond)(body(pieces)), this.#outgoing, (bytes) => {
      this.#record.responseBytes += bytes
    })
    if (end === 'proper') this.#outgoing.end()
    else if (end === 'close') this.cut()
    else await this.#reset()
  }
}

/**
 * The headers as they came: of S3, the signature is over some of them. Without a length Node would
 * announce chunks for a body that is not there.
 */
function framed(
  { method, headers, rawHeaders }: IncomingMessage,
  without: readonly string[],
): string[] {
  const mayHaveBody = method === 'PUT' || method === 'POST'
  const hasFrame = 'content-length' in headers || 'transfer-encoding' in headers
  const kept = changed(rawHeaders, Object.fromEntries(without.map((name) => [name, undefined])))
  return mayHaveBody && !hasFrame ? [...kept, 'Content-Length', '0'] : kept
}
