import { randomUUID } from 'node:crypto'
import pLimit from 'p-limit'
import {
  type Append,
  BlobMissing,
  type BlobStore,
  type ByteRange,
  type Location,
  type ReceivedBytes,
  type StoredItem,
  type Upload,
  UploadLost,
  type UploadState,
  type UploadWriter,
} from './blob-store.ts'
import { S3Append, type SharedByAppends } from './s3/append.ts'
import type { S3Settings } from './s3/client.ts'
import { asStorageFailure } from './s3/failure.ts'
import { listObjects, multipartOf } from './s3/list.ts'
import { S3Objects } from './s3/objects.ts'
import { SpareBuffers } from './s3/part-buffer.ts'
import { firstPartBytes } from './s3/part-sizes.ts'
import { readObject } from './s3/read.ts'
import { keysOf, newKey, uploadOf } from './s3/upload-state.ts'

export type { S3Settings } from './s3/client.ts'

/**
 * Blobs as objects of a bucket, each written once under a key of its own that nothing else ever
 * uses:
 *
 *   <prefix>/blobs/<first two digits of the session id>/<session id>-<random>
 *
 * A location is the key below the prefix. Nothing is copied or renamed: which digest an object
 * has is known to the metadata alone. A key names the upload session it comes from, so that what
 * a crash left is found without looking through the bucket.
 *
 * Bytes go out in parts, `partsInFlight` of them at a time in one process, while each upload
 * fills one more; see `s3/part-sizes.ts` for their sizes.
 */
export class S3BlobStore implements BlobStore {
  readonly needsDurableSession = true
  readonly reusesLocations = false
  readonly #objects: S3Objects
  readonly #shared: SharedByAppends
  #appends = 0

  constructor(settings: S3Settings) {
    this.#objects = new S3Objects(settings)
    this.#shared = {
      objects: this.#objects,
      buffers: new SpareBuffers(),
      sending: pLimit(settings.partsInFlight),
      sendingLarge: pLimit(1),
    }
    if (settings.redirect !== undefined) {
      const presigner = this.#objects.presigner(settings.redirect)
      this.presign = (location, contentType) =>
        presigner.urlOf(location, contentType).catch((error: unknown) => {
          throw asStorageFailure(error)
        })
    }
  }

  /** There only when clients are to be sent to the bucket. */
  readonly presign?: NonNullable<BlobStore['presign']>

  startUpload(id: string): UploadState {
    return { id }
  }

  async appendUpload(upload: Upload, append: Append): Promise<UploadWriter> {
    const { id, key, multipart } = uploadOf(upload.state)
    if (key === undefined || multipart !== undefined) return this.#writer(upload, append)
    // A sealed object cannot grow: its bytes go into a new one, and a sweep removes it. Rare, as
    // clients that send a blob in pieces say so.
    const writer = this.#writer({ offset: 0, state: { id }, leftovers: true }, append)
    try {
      for await (const chunk of this.readUpload(upload)) {
        append.signal?.throwIfAborted()
        await writer.write(chunk)
      }
    } catch (error) {
      await writer.discard()
      throw error
    }
    return writer
  }

  async sealUpload(upload: Upload): Promise<Upload> {
    const { id, key, multipart } = uploadOf(upload.state)
    if (key !== undefined && multipart === undefined) return upload
    const { offset } = upload
    const writer = this.#writer(upload, { expectsMore: false })
    try {
      return await writer.finish()
    } catch (error) {
      await writer.discard()
      // Perhaps it was sealed before, by a process that did not live to say so.
      const sealed = key !== undefined && error instanceof UploadLost
      if (sealed && (await this.size(key)) === offset) return { offset, state: { id, key } }
      throw error
    }
  }

  async *readUpload(upload: Upload): AsyncIterable<Uint8Array> {
    const { key } = uploadOf(upload.state)
    if (upload.offset === 0) return
    if (key === undefined) throw new UploadLost()
    try {
      yield* this.read(key, { first: 0, last: upload.offset - 1 })
    } catch (error) {
      throw error instanceof BlobMissing ? new UploadLost() : error
    }
  }

  async commitUpload(upload: Upload): Promise<Location> {
    const { key, multipart } = uploadOf(upload.state)
    if (key === undefined || multipart !== undefined) throw new Error('the upload is not sealed')
    return key
  }

  async abortUpload(state: UploadState): Promise<void> {
    const { key, multipart } = uploadOf(state)
    if (key === undefined) return
    if (multipart !== undefined) {
      await this.#objects.abortMultipart({ key, uploadId: multipart.uploadId })
    }
    // A multipart upload too may be an object by now: the answer to its completion may be lost.
    await this.#objects.delete(key)
  }

  async sweepUpload(state: UploadState): Promise<void> {
    const { id, key, multipart } = uploadOf(state)
    const prefix = keysOf(id)
    for (const found of await this.#objects.listMultiparts(prefix)) {
      if (found.uploadId !== multipart?.uploadId) await this.#objects.abortMultipart(found)
    }
    for (const found of await this.#objects.list(prefix)) {
      if (found !== key) await this.#objects.delete(found)
    }
  }

  read(location: Location, range?: ByteRange, signal?: AbortSignal): AsyncIterable<Uint8Array> {
    return readObject(this.#objects, location, { range, signal })
  }

  size(location: Location): Promise<number | undefined> {
    return this.#objects.size(location)
  }

  delete(location: Location): Promise<void> {
    return this.#objects.delete(location)
  }

  list(): AsyncIterable<StoredItem> {
    return listObjects(this.#objects)
  }

  removeReceived({ state }: ReceivedBytes): Promise<void> {
    // Not the object under its key: that may be a blob, completed by a call whose answer was lost.
    return this.#objects.abortMultipart(multipartOf(state))
  }

  async probe(): Promise<void> {
    const key = newKey(randomUUID())
    try {
      await this.#objects.put(key, Buffer.from('probe'))
      for await (const bytes of this.read(key, { first: 1, last: 4 })) {
        if (Buffer.from(bytes).toString() !== 'robe') throw new Error('other bytes were read')
      }
    } finally {
      await this.#objects.delete(key)
    }
  }

  /** How far the clock of the storage is ahead of that of this machine, once it has answered. */
  get clockAheadSeconds(): number {
    return this.#objects.clock.aheadSeconds
  }

  /** Ends what is under way: the program ends. */
  close(): void {
    this.#objects.close()
  }

  #writer(upload: Upload, append: Append): S3Append {
    this.#appends++
    const { expectsMore, length } = append
    const firstBytes = firstPartBytes({ expectsMore, length, concurrent: this.#appends })
    return new S3Append(this.#shared, upload, { ...append, firstBytes }, () => {
      this.#appends--
    })
  }
}
