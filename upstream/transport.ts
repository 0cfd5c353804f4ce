import type { IncomingHttpHeaders } from 'node:http'
import { Agent, type Dispatcher, errors, request } from 'undici'
import type { AddressRule } from './addresses.ts'
import { asConnectionFailure } from './connection-failure.ts'
import { createConnector } from './connector.ts'
import { unlessAborted } from './deadline.ts'
import { UpstreamFailure } from './failure.ts'

export interface TransportOptions {
  /** The upstream's name, which failures begin with. */
  readonly name: string
  /** The upstream's own origin; failures name other hosts too. */
  readonly origin: string
  readonly ca?: string | undefined
  readonly isAllowed: AddressRule
  readonly connectMs: number
  readonly headersMs: number
  readonly idleMs: number
}

export interface Outgoing {
  readonly url: URL
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal: AbortSignal
}

/** The head of an answer, and its body still to be read: {@link Answer.chunks} or {@link Answer.drop}. */
export interface Answer {
  /** The upstream's name, and the host that answered if it is another. */
  readonly who: string
  readonly url: URL
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Leaving the loop ends the connection. @throws UpstreamFailure, or the reason of the signal */
  chunks(): AsyncIterable<Uint8Array>
  /** For an answer whose body nobody wants. */
  drop(): void
}

/** A body of so many bytes is read to its end, for the sake of the connection that can be used again. */
const WORTH_READING = 16_384
const WORTH_WAITING_MS = 2000

/** Sends requests over connections of its own. Follows nothing, adds no credentials. */
export class Transport {
  readonly #options: TransportOptions
  readonly #agent: Agent

  constructor(options: TransportOptions) {
    this.#options = options
    this.#agent = new Agent({
      connect: createConnector(options),
      headersTimeout: options.headersMs,
      bodyTimeout: options.idleMs,
    })
  }

  /** @throws UpstreamFailure, or the reason of the signal */
  async send({ url, method, headers, body, signal }: Outgoing): Promise<Answer> {
    const who = this.describe(url)
    const options = {
      dispatcher: this.#agent,
      method,
      headers: { 'user-agent': 'slipway', 'accept-encoding': 'identity', ...headers },
      body: body ?? null,
      signal,
    }
    // The library looks at the signal only once it is connected.
    const ask = () => unlessAborted(request(url, options), signal)
    try {
      const response = await ask().catch((error: unknown) => {
        if (method === 'POST' || !wasUsedBefore(error)) throw error
        return ask()
      })
      return new ReceivedAnswer(who, url, response, signal)
    } catch (error) {
      signal.throwIfAborted()
      throw asConnectionFailure(who, error)
    }
  }

  /** How failures name who is behind `url`. */
  describe(url: URL): string {
    const { name, origin } = this.#options
    return url.origin === origin ? name : `${name}: ${url.host}`
  }

  /** Ends what is under way. */
  close(): void {
    this.#agent.destroy().catch(() => {})
  }
}

/**
 * Whether it broke on a connection that had served before: the other side may have closed it for
 * its idleness as the request was on its way. RFC 9112, section 9.3.1.
 */
function wasUsedBefore(error: unknown): boolean {
  return error instanceof errors.SocketError && (error.socket?.bytesRead ?? 0) > 0
}

class ReceivedAnswer implements Answer {
  readonly who: string
  readonly url: URL
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly #body: Dispatcher.ResponseData['body']
  readonly #signal: AbortSignal

  constructor(who: string, url: URL, response: Dispatcher.ResponseData, signal: AbortSignal) {
    this.who = who
    this.url = url
    this.status = response.statusCode
    this.headers = response.headers
    this.#body = response.body
    this.#signal = signal
    // A connection may break while nobody reads.
    this.#body.on('error', () => {})
  }

  async *chunks(): AsyncGenerator<Uint8Array> {
    try {
      const body: AsyncIterable<Uint8Array> = this.#body
      yield* body
    } catch (error) {
      this.#signal.throwIfAborted()
      throw asConnectionFailure(this.who, error)
    }
  }

  drop(): void {
    const overdue = setTimeout(() => this.#body.destroy(), WORTH_WAITING_MS)
    this.#body
      .dump({ limit: WORTH_READING, signal: this.#signal })
      .catch(() => {})
      .finally(() => clearTimeout(overdue))
  }
}

/** A body as a whole. @throws UpstreamFailure 'invalid' when it is longer than `maxBytes` */
export async function readWhole(
  answer: Answer,
  maxBytes: number,
  onBytes: (bytes: number) => void = () => {},
): Promise<Buffer> {
  const tooLong = () =>
    new UpstreamFailure('invalid', `${answer.who}: its answer is longer than ${maxBytes} bytes`)
  if (Number(answer.headers['content-length'] ?? 0) > maxBytes) {
    answer.drop()
    throw tooLong()
  }
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of answer.chunks()) {
    bytes += chunk.length
    onBytes(chunk.length)
    if (bytes > maxBytes) throw tooLong()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes)
}
