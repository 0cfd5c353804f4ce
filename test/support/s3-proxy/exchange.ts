import { once } from 'node:events'
import {
  type Agent,
  type ClientRequest,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http'
import type { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import type { RequestRecord } from './request.ts'

export interface Upstream {
  readonly host: string
  readonly port: number
  /** Its connections end with that of the client. */
  readonly agent: Agent
}

/** A refusal as S3 words it. */
export interface S3Error {
  readonly status: number
  /** `SlowDown`, `InternalError`, `InvalidAccessKeyId`. */
  readonly code: string
  readonly message?: string
  /** Seconds. */
  readonly retryAfter?: number
}

/**
 * One request and its answer, in the steps of which the faults are made. Every step may throw
 * when a side has gone.
 */
export class Exchange {
  readonly #incoming: IncomingMessage
  readonly #client: Socket
  readonly #outgoing: ServerResponse
  readonly #upstream: Upstream
  readonly #record: RequestRecord
  #answer: IncomingMessage | undefined

  constructor(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    upstream: Upstream,
    record: RequestRecord,
  ) {
    this.#incoming = incoming
    this.#client = incoming.socket
    this.#outgoing = outgoing
    this.#upstream = upstream
    this.#record = record
    outgoing.on('error', () => {}) // 'close' follows
  }

  /** Sends the request on. @returns the answer, which may come before all of the body has gone */
  async ask(): Promise<IncomingMessage> {
    const asked = this.#open()
    const answered = once(asked, 'response') as Promise<[IncomingMessage]>
    void this.#sendBody(asked) // it does not throw
    const [answer] = await answered
    this.#answer = answer
    this.#record.status = answer.statusCode
    return answer
  }

  /** Sends no more of the body than `limit` bytes, and cuts both sides. */
  async askInPart(limit: number): Promise<void> {
    const asked = this.#open()
    await this.#copyBody(asked, { limit })
    asked.destroy()
    this.cut()
  }

  async pass(answer: IncomingMessage): Promise<void> {
    await this.#copyAnswer(answer)
    this.#outgoing.end()
  }

  /** Passes no more of the answer's body than `limit` bytes, and cuts the client off. */
  async passInPart(answer: IncomingMessage, limit: number): Promise<void> {
    await this.#copyAnswer(answer, { limit })
    this.cut()
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
  async refuse({ status, code, message = code, retryAfter }: S3Error): Promise<void> {
    this.#incoming.resume()
    await finished(this.#incoming)
    const body = Buffer.from(
      '<?xml version="1.0" encoding="UTF-8"?>\n' +
        `<Error><Code>${code}</Code><Message>${escaped(message)}</Message></Error>`,
    )
    const { method } = this.#record
    this.#record.status = status
    this.#record.responseBytes = method === 'HEAD' ? 0 : body.length
    this.#outgoing.writeHead(status, {
      'Content-Type': 'application/xml',
      'Content-Length': body.length,
      ...(retryAfter !== undefined && { 'Retry-After': retryAfter }),
    })
    this.#outgoing.end(body)
  }

  /** Ends the client's connection, in the middle of whatever is on it. */
  cut(): void {
    this.#client.destroy()
  }

  #open(): ClientRequest {
    if (this.#client.destroyed) throw new Error('the client has left')
    const asked = request({
      ...this.#upstream,
      method: this.#record.method,
      path: this.#incoming.url,
      headers: framed(this.#incoming),
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
    this.#incoming.resume() // else the client would not come to read the answer
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

  #copyBody(asked: ClientRequest, bounds: Bounds): Promise<boolean> {
    const count = (bytes: number) => {
      this.#record.requestBytes += bytes
    }
    return copy(this.#incoming, asked, count, bounds)
  }

  #copyAnswer(answer: IncomingMessage, bounds: Bounds = {}): Promise<boolean> {
    const { statusCode = 0, statusMessage, rawHeaders } = answer
    const count = (bytes: number) => {
      this.#record.responseBytes += bytes
    }
    this.#outgoing.writeHead(statusCode, statusMessage, rawHeaders)
    this.#outgoing.flushHeaders()
    return copy(answer, this.#outgoing, count, bounds)
  }
}

/**
 * The headers as they came: the signature is over some of them. Without a length Node would
 * announce chunks for a body that is not there.
 */
function framed({ method, headers, rawHeaders }: IncomingMessage): string[] {
  const mayHaveBody = method === 'PUT' || method === 'POST'
  const hasFrame = 'content-length' in headers || 'transfer-encoding' in headers
  return mayHaveBody && !hasFrame ? [...rawHeaders, 'Content-Length', '0'] : rawHeaders
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

interface Bounds {
  /** Bytes; all by default. */
  readonly limit?: number
  /** Asked before each piece, whether the rest is no longer wanted. */
  readonly isEnough?: () => Promise<boolean>
}

/**
 * Copies at the pace of the slower side. The head goes out in any case.
 *
 * @returns whether that was all
 */
async function copy(
  from: Readable,
  to: Writable,
  count: (bytes: number) => void,
  { limit = Number.POSITIVE_INFINITY, isEnough = () => Promise.resolve(false) }: Bounds,
): Promise<boolean> {
  await write(to, Buffer.alloc(0))
  let left = limit
  if (left === 0) return false
  for await (const chunk of from.iterator({ destroyOnReturn: false })) {
    if (await isEnough()) return false
    const bytes = (chunk as Buffer).subarray(0, left)
    await write(to, bytes)
    count(bytes.length)
    left -= bytes.length
    if (left === 0) return false
  }
  return true
}

/** Resolves when the system has the bytes. */
function write(to: Writable, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(new Error('the connection was closed'))
    to.once('close', onClose)
    to.write(bytes, (error) => {
      to.off('close', onClose)
      if (error) reject(error)
      else resolve()
    })
  })
}
