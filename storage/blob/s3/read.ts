import { BlobMissing, type ByteRange, type Location } from '../blob-store.ts'
import { asStorageFailure, isBeyondEnd, isMissing } from './failure.ts'
import type { ObjectBody, S3Objects } from './objects.ts'

/** A body that is cut so often without one more byte is given up. */
const MAX_CUTS = 3

/**
 * The bytes of an object as they arrive. A body that is cut off is taken up again where it ended:
 * objects never change. Leaving the loop early ends the request, and so does `signal`, which
 * need not wait for the next chunk.
 *
 * @throws BlobMissing, StorageUnavailable
 */
export async function* readObject(
  objects: S3Objects,
  key: Location,
  { range, signal }: { range: ByteRange | undefined; signal?: AbortSignal | undefined },
): AsyncIterable<Uint8Array> {
  let position = range?.first ?? 0
  let end = range === undefined ? undefined : range.last + 1
  let cuts = 0
  while (end === undefined || position < end) {
    const body = await request(objects, key, { first: position, end, signal })
    end = position + body.bytes
    let cut: unknown
    try {
      for await (const chunk of body.chunks as AsyncIterable<Uint8Array>) {
        position += chunk.length
        cuts = 0
        yield chunk
      }
    } catch (error) {
      cut = error
    }
    if (position < end && (signal?.aborted || ++cuts > MAX_CUTS)) throw asStorageFailure(cut)
  }
}

/** What is still to be read; `end` is not known before the first answer to a read of the whole. */
interface Rest {
  readonly first: number
  readonly end: number | undefined
  readonly signal: AbortSignal | undefined
}

async function request(
  objects: S3Objects,
  key: Location,
  { first, end, signal }: Rest,
): Promise<ObjectBody> {
  try {
    const range = end === undefined ? undefined : { first, last: end - 1 }
    const body = await objects.get(key, range, signal)
    if (end === undefined || body.bytes === end - first) return body
    body.chunks.destroy()
  } catch (error) {
    if (isMissing(error)) throw new BlobMissing(key)
    if (!isBeyondEnd(error)) throw asStorageFailure(error)
  }
  throw new Error('the object is shorter than its recorded size')
}
