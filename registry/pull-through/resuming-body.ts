import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest } from '../../oci/digest.ts'
import { UpstreamFailure } from '../../upstream/failure.ts'
import type { UpstreamBlob, UpstreamClient } from '../../upstream/upstream.ts'

/** So often in a row it may bring no byte before it is given up. */
const ATTEMPTS = 10
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 15_000
/** Who is to come back later than that is not waited for: clients would give up before. */
const LONGEST_RETRY_AFTER_SECONDS = 120

export interface ResumingOptions {
  /** The offset to begin at. */
  readonly from: number
  readonly signal: AbortSignal
}

/** The bytes of an upstream's blob, in their order, however often its connection breaks. */
export class ResumingBody implements AsyncIterable<Uint8Array> {
  readonly sizeBytes: number
  readonly #client: UpstreamClient
  readonly #remote: string
  readonly #digest: Digest
  readonly #signal: AbortSignal
  #position: number
  #blob: UpstreamBlob | undefined

  private constructor(
    client: UpstreamClient,
    remote: string,
    digest: Digest,
    { from, signal, blob }: ResumingOptions & { readonly blob: UpstreamBlob },
  ) {
    this.#client = client
    this.#remote = remote
    this.#digest = digest
    this.#signal = signal
    this.#position = from
    this.#blob = blob
    this.sizeBytes = blob.sizeBytes
  }

  /** Asks once: whoever waits for the blob is to hear at once what the upstream says. @throws UpstreamFailure */
  static async open(
    client: UpstreamClient,
    remote: string,
    digest: Digest,
    options: ResumingOptions,
  ): Promise<ResumingBody> {
    const { from: first, signal } = options
    const blob = await client.openBlob(remote, digest, { first, signal })
    return new ResumingBody(client, remote, digest, { ...options, blob })
  }

  /** @throws UpstreamFailure when it is given up, and the signal's reason */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    let pause = FIRST_PAUSE_MS
    for (let attempt = 1; ; attempt++) {
      const before = this.#position
      try {
        yield* this.#rest()
        return
      } catch (error) {
        this.#signal.throwIfAborted()
        if (!(error instanceof UpstreamFailure)) throw error
        if (this.#position > before) {
          attempt = 0
          pause = FIRST_PAUSE_MS
        }
        if (!isPassing(error) || attempt >= ATTEMPTS) throw error
        await sleep(Math.max(pause, (error.retryAfterSeconds ?? 0) * 1000), undefined, {
          signal: this.#signal,
        })
        pause = Math.min(2 * pause, LONGEST_PAUSE_MS)
      }
    }
  }

  /** What one connection brings. */
  async *#rest(): AsyncGenerator<Uint8Array> {
    const { sizeBytes, body } = this.#blob ?? (await this.#open())
    this.#blob = undefined
    if (sizeBytes !== this.sizeBytes) {
      throw new UpstreamFailure(
        'invalid',
        `${this.#client.name}: ${this.#digest} was ${this.sizeBytes} bytes, and is ${sizeBytes} now`,
      )
    }
    for await (const chunk of body) {
      this.#position += chunk.length
      yield chunk
    }
    if (this.#position === this.sizeBytes) return
    throw new UpstreamFailure('unavailable', `${this.#client.name}: the body broke off`)
  }

  #open(): Promise<UpstreamBlob> {
    const asking = { first: this.#position, signal: this.#signal }
    return this.#client.openBlob(this.#remote, this.#digest, asking)
  }
}

/** Whether the same request may bring something a little later. */
function isPassing({ reason, retryAfterSeconds = 0 }: UpstreamFailure): boolean {
  if (retryAfterSeconds > LONGEST_RETRY_AFTER_SECONDS) return false
  return reason === 'unavailable' || reason === 'rate limited'
}
