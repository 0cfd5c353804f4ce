import type { AuthenticatedAnswer } from './authentication.ts'
import type { Errand } from './errand.ts'
import { UpstreamFailure } from './failure.ts'

const WRONG_PART = 'sends another part than it was asked for'

/** What the head of an answer tells of a blob and of the body that follows. */
export interface BlobExtent {
  /** Of the whole blob. */
  readonly sizeBytes: number
  /** Bytes of the body that come before those asked for. */
  readonly skipBytes: number
  readonly bodyBytes: number
}

/** @param first the offset asked for. @throws UpstreamFailure 'invalid' */
export function readExtent(answer: AuthenticatedAnswer, first: number): BlobExtent {
  const length = readLength(answer)
  if (answer.status === 206) return readPart(answer, { first, length })
  if (length === undefined) {
    throw refuse(answer, 'does not say how long its blob is')
  }
  if (length < first) throw refuse(answer, WRONG_PART)
  return { sizeBytes: length, skipBytes: first, bodyBytes: length }
}

/** `Content-Length`, undefined when there is none that is a number. */
function readLength({ headers }: AuthenticatedAnswer): number | undefined {
  const text = headers['content-length'] ?? ''
  const length = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(length) ? length : undefined
}

function readPart(
  answer: AuthenticatedAnswer,
  { first, length }: { first: number; length: number | undefined },
): BlobExtent {
  const header = answer.headers['content-range'] ?? ''
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(header)
  const [begin = -1, last = -1, size = -1] = (match ?? []).slice(1).map(Number)
  const bodyBytes = size - first
  if (first === 0 || begin !== first || last !== size - 1 || bodyBytes < 1) {
    throw refuse(answer, WRONG_PART)
  }
  if (length !== undefined && length !== bodyBytes) throw refuse(answer, WRONG_PART)
  return { sizeBytes: size, skipBytes: 0, bodyBytes }
}

/** Its body is of no use then. */
function refuse(answer: AuthenticatedAnswer, what: string): UpstreamFailure {
  answer.drop()
  return new UpstreamFailure('invalid', `${answer.who}: ${what}`)
}

export interface BlobBodyOptions {
  readonly extent: BlobExtent
  /** Ends with the body. */
  readonly errand: Errand
  readonly onBytes: (bytes: number) => void
}

/** The bytes of a blob as they arrive, no more and no fewer than were announced. */
export class BlobBody implements AsyncIterable<Uint8Array> {
  readonly #answer: AuthenticatedAnswer
  readonly #options: BlobBodyOptions

  constructor(answer: AuthenticatedAnswer, options: BlobBodyOptions) {
    this.#answer = answer
    this.#options = options
    // There may never be a loop whose end could be waited for.
    const { errand } = options
    errand.signal.addEventListener('abort', () => errand.end(), { once: true })
  }

  /** @throws UpstreamFailure, or the reason of the signal */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    const { errand } = this.#options
    try {
      yield* this.#bytes()
      errand.succeeded()
    } catch (error) {
      throw errand.failed(error)
    } finally {
      errand.end()
    }
  }

  async *#bytes(): AsyncGenerator<Uint8Array> {
    const { extent, errand, onBytes } = this.#options
    const { who } = this.#answer
    let received = 0
    for await (const chunk of this.#answer.chunks()) {
      const before = received
      received += chunk.length
      onBytes(chunk.length)
      if (received > extent.bodyBytes) {
        throw new UpstreamFailure('invalid', `${who}: sends more than it announced`)
      }
      // Whatever comes now: a server that sends bytes is not down.
      errand.succeeded()
      const wanted = chunk.subarray(Math.min(Math.max(extent.skipBytes - before, 0), chunk.length))
      if (wanted.length > 0) yield wanted
    }
    if (received < extent.bodyBytes) {
      const what = `broke off after ${received} of ${extent.bodyBytes} bytes`
      throw new UpstreamFailure('unavailable', `${who}: ${what}`)
    }
  }
}
