import type { Digest } from '../../oci/digest.ts'
import type {
  Append,
  BlobStore,
  ByteRange,
  Location,
  ReceivedBytes,
  StoredItem,
  Upload,
  UploadState,
} from './blob-store.ts'

export type Observe = (operation: string, result: 'ok' | 'failed', seconds: number) => void

/**
 * Any store, with the time of each call reported. A read counts until its first bytes,
 * a list until its first item.
 */
export class InstrumentedBlobStore implements BlobStore {
  readonly #store: BlobStore
  readonly #observe: Observe

  constructor(store: BlobStore, observe: Observe) {
    this.#store = store
    this.#observe = observe
    this.needsDurableSession = store.needsDurableSession
    this.reusesLocations = store.reusesLocations
    const presign = store.presign?.bind(store)
    if (presign !== undefined) this.presign = presign
    const growingFile = store.growingFile?.bind(store)
    if (growingFile !== undefined) this.growingFile = growingFile
    const filePath = store.filePath?.bind(store)
    if (filePath !== undefined) this.filePath = filePath
  }

  readonly needsDurableSession: boolean
  readonly reusesLocations: boolean
  readonly presign?: NonNullable<BlobStore['presign']>
  readonly growingFile?: NonNullable<BlobStore['growingFile']>
  readonly filePath?: NonNullable<BlobStore['filePath']>

  startUpload(id: string): UploadState {
    return this.#store.startUpload(id)
  }

  appendUpload(upload: Upload, append: Append) {
    return this.#timed('append', this.#store.appendUpload(upload, append))
  }

  sealUpload(upload: Upload): Promise<Upload> {
    return this.#timed('seal', this.#store.sealUpload(upload))
  }

  readUpload(upload: Upload): AsyncIterable<Uint8Array> {
    return this.#untilFirst('read', this.#store.readUpload(upload))
  }

  commitUpload(upload: Upload, digest: Digest): Promise<Location> {
    return this.#timed('commit', this.#store.commitUpload(upload, digest))
  }

  abortUpload(state: UploadState): Promise<void> {
    return this.#timed('abort', this.#store.abortUpload(state))
  }

  sweepUpload(state: UploadState): Promise<void> {
    return this.#timed('sweep', this.#store.sweepUpload(state))
  }

  read(location: Location, range?: ByteRange, signal?: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#untilFirst('read', this.#store.read(location, range, signal))
  }

  size(location: Location): Promise<number | undefined> {
    return this.#timed('size', this.#store.size(location))
  }

  delete(location: Location): Promise<void> {
    return this.#timed('delete', this.#store.delete(location))
  }

  list(): AsyncIterable<StoredItem> {
    return this.#untilFirst('list', this.#store.list())
  }

  removeReceived(received: ReceivedBytes): Promise<void> {
    return this.#timed('remove', this.#store.removeReceived(received))
  }

  probe(): Promise<void> {
    return this.#timed('probe', this.#store.probe())
  }

  async #timed<T>(operation: string, call: Promise<T>): Promise<T> {
    const startedAt = performance.now()
    try {
      const result = await call
      this.#observe(operation, 'ok', (performance.now() - startedAt) / 1000)
      return result
    } catch (error) {
      this.#observe(operation, 'failed', (performance.now() - startedAt) / 1000)
      throw error
    }
  }

  async *#untilFirst<T>(operation: string, items: AsyncIterable<T>): AsyncIterable<T> {
    const iterator = items[Symbol.asyncIterator]()
    try {
      let next = await this.#timed(operation, iterator.next())
      while (next.done !== true) {
        yield next.value
        next = await iterator.next()
      }
    } finally {
      await iterator.return?.()
    }
  }
}
