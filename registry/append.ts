import type { Readable } from 'node:stream'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/errors.ts'
import type { Upload } from '../storage/blob/blob-store.ts'
import { receive } from './receive.ts'
import type { Registry } from './registry.ts'
import type { RunningHash } from './running-hash.ts'
import { ClaimLost, type UploadLock } from './upload-locks.ts'

/** What a request says of the bytes it carries; undefined fields are not checked. */
export interface Chunk {
  readonly body: Readable
  /** The offset the client believes to be at; without it the bytes go to the end. */
  readonly first: number | undefined
  /** How many bytes it announced by a range. */
  readonly length: number | undefined
  /** Bytes of the body, if the request says so: a hint. */
  readonly contentLength: number | undefined
  /** Called when all bytes of the blob are here: throws when they are not wanted any more. */
  readonly confirm?: () => Promise<void>
  /**
   * Called when the body has ended, with the digest of all bytes so far: before they are durable.
   * Undefined when it is not known.
   */
  readonly received?: (digest: Digest | undefined) => void
}

/** The chunk begins elsewhere than the upload ends. The session is as it was. */
export class OffsetMismatch extends RegistryError {
  readonly offset: number

  constructor(offset: number) {
    super('BLOB_UPLOAD_INVALID', `the next byte is number ${offset}`, { status: 416 })
    this.offset = offset
  }
}

export interface AppendOptions {
  /** Updated with every byte. */
  readonly hash: RunningHash | undefined
  /** Another chunk will likely follow. */
  readonly expectsMore: boolean
  /** Called when all bytes are here and before they are made durable; throws to drop them. */
  readonly verify?: () => void
}

/** Takes the chunk into the blob store, or leaves the upload as it was. */
export async function append(
  { blobs, limits }: Registry,
  lock: UploadLock,
  { body, first, length, contentLength, received }: Chunk,
  { hash, expectsMore, verify }: AppendOptions,
): Promise<Upload> {
  const { session, signal } = lock
  if (first !== undefined && first !== session.offset) throw new OffsetMismatch(session.offset)
  lock.leftovers = true
  const writer = await blobs.appendUpload(session, {
    expectsMore,
    length: contentLength,
    signal,
  })
  let upload: Upload
  try {
    const maxBytes = limits.uploadBytes - session.offset
    const bytes = await receive(body, { writer, hash, maxBytes, signal })
    if (length !== undefined && length !== bytes) {
      throw new RegistryError('SIZE_INVALID', `${length} bytes announced, ${bytes} received`)
    }
    verify?.()
    // Of a contested upload only reading it tells what is there.
    received?.(session.contested ? undefined : hash?.digest())
    upload = await writer.finish()
  } catch (error) {
    if (signal.reason instanceof ClaimLost) await writer.abandon()
    else lock.leftovers = !(await writer.discard())
    // What broke off may be told in many ways; why it did is what counts.
    signal.throwIfAborted()
    throw error
  }
  signal.throwIfAborted()
  return upload
}
