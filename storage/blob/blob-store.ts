import type { Digest } from '../../oci/digest.ts'

/** Offsets of the first and last byte, both included, as in RFC 9110 section 14. */
export interface ByteRange {
  readonly first: number
  readonly last: number
}

/** Whatever a driver must remember between two appends. Kept as JSON with the upload session. */
export type UploadState = Readonly<Record<string, unknown>>

export interface Upload {
  /** Bytes received so far: the offset in bytes at which the next append starts. */
  readonly offset: number
  readonly state: UploadState
  /** The last bytes received, where the store cannot place them yet. Kept with the session. */
  readonly tail?: Uint8Array | undefined
  /** Something may be left in the store that only {@link BlobStore.sweepUpload} finds. */
  readonly leftovers?: boolean
}

/** What is known of an append before its first byte. */
export interface Append {
  /** The client sends the blob in pieces: bytes need not be final at the end of this one. */
  readonly expectsMore: boolean
  /** Bytes to come, when the client says so. It may be wrong. */
  readonly length?: number | undefined
  /** Aborted when somebody else wants the upload: then nothing more should be waited for. */
  readonly signal?: AbortSignal | undefined
}

/** Where a blob lies. Only the driver that gave it out understands it. */
export type Location = string

/** Bytes that the row of a blob may name. */
export interface StoredBytes {
  readonly kind: 'blob'
  readonly location: Location
  readonly sizeBytes: number
  readonly modifiedAt: Date
  /** They lie under it: they are placed and deleted under its lock. */
  readonly digest?: Digest
  /** The upload that brought them, where they lie under no digest. No other ever writes there. */
  readonly session?: string
  /** They may belong to another program: the folder is one of registry:2. */
  readonly isForeign?: true
}

/** Bytes that only the upload they belong to can make a blob. */
export interface ReceivedBytes {
  readonly kind: 'upload'
  readonly session: string
  /** Undefined where only asking for the parts would tell. */
  readonly sizeBytes: number | undefined
  readonly modifiedAt: Date
  /** How the driver finds these bytes and no others. */
  readonly state: UploadState
}

/** What {@link BlobStore.list} finds. */
export type StoredItem = StoredBytes | ReceivedBytes

/** Takes the bytes of one append. Ends with `finish` or `discard`, of which one must be called. */
export interface UploadWriter {
  /**
   * Takes a chunk, which must not be changed afterwards. Undefined means that the next may
   * follow at once; otherwise it should wait for the promise, which bounds the memory in use.
   * The promise rejects when bytes could not be stored; then only {@link discard} is left.
   */
  write(chunk: Uint8Array): Promise<void> | undefined
  /** Makes every byte written durable. @returns the upload, longer by them */
  finish(): Promise<Upload>
  /**
   * Forgets the bytes written: the upload is what it was before. Never throws, safe to repeat.
   *
   * @returns false when something may be left that only {@link BlobStore.sweepUpload} finds
   */
  discard(): Promise<boolean>
  /** Only lets go: the upload may be somebody else's now. Never throws, safe to repeat. */
  abandon(): Promise<void>
}

/**
 * Bytes on durable storage, shared by all repositories. A store knows nothing of repositories,
 * tags, users or HTTP, and verifies no digest: `registry/uploads.ts` does, once for all drivers.
 *
 * Every driver passes `test/contract/blob-store.ts`, which states in full what the comments
 * here state in short.
 */
export interface BlobStore {
  /**
   * What an upload stored can be found by its session alone, which must be there for good before
   * the first byte is.
   */
  readonly needsDurableSession: boolean

  /**
   * The bytes of a digest lie where others of that digest lay before: they are placed and deleted under
   * its lock. Otherwise no location is ever used again.
   */
  readonly reusesLocations: boolean

  /**
   * The local file in which the bytes of an upload arrive, in their order, where there is one. It
   * may be read while it grows; what was opened stays readable after the commit.
   */
  growingFile?(id: string): string

  /**
   * Where a blob is a file, its path below the folder of the store: for a server of files beside this
   * one. No part of it needs encoding in a URL.
   */
  filePath?(location: Location): string

  /** Costs no I/O: an upload that never gets a byte leaves nothing behind. */
  startUpload(id: string): UploadState

  /**
   * Bytes beyond `upload.offset`, left by an append that failed, are dropped.
   *
   * @throws UploadLost when bytes before `upload.offset` are no longer there; a store may learn
   *   of it as late as {@link sealUpload}
   */
  appendUpload(upload: Upload, append: Append): Promise<UploadWriter>

  /**
   * Makes the bytes final, so that they can be read and committed. Does nothing when an append
   * that expected no more was the last. More may be appended to a sealed upload. A seal that was
   * cut off may be repeated, also by another process that does not know of it.
   *
   * @throws UploadLost when the bytes are no longer there
   */
  sealUpload(upload: Upload): Promise<Upload>

  /**
   * The bytes of a sealed upload, as in {@link read}.
   *
   * @throws UploadLost when they are no longer there
   */
  readUpload(upload: Upload): AsyncIterable<Uint8Array>

  /**
   * Publishes the bytes of a sealed upload, in one step and in constant time, and makes that
   * durable. The caller has verified the digest and holds its lock. Publishing the same digest
   * again is harmless, and so is repeating a commit that was cut off.
   *
   * @throws UploadLost when the bytes are known to be gone
   */
  commitUpload(upload: Upload, digest: Digest): Promise<Location>

  /** Drops the bytes received. Safe to repeat, but never after a commit. */
  abortUpload(state: UploadState): Promise<void>

  /**
   * Removes what appends of this upload left behind whose process died, or that failed to clean
   * up after themselves: everything that `state` does not name. Nobody appends meanwhile.
   */
  sweepUpload(state: UploadState): Promise<void>

  /**
   * The bytes, or those of `range`. Chunks are large and belong to the store: one is valid
   * until the next is asked for. Leaving the loop early frees what the read holds; `signal` does,
   * sooner or later, also while a chunk is waited for.
   *
   * @throws BlobMissing at the first chunk when there is nothing at `location`
   */
  read(location: Location, range?: ByteRange, signal?: AbortSignal): AsyncIterable<Uint8Array>

  /** The size in bytes, or undefined when there is nothing at `location`. */
  size(location: Location): Promise<number | undefined>

  /** Safe to repeat. */
  delete(location: Location): Promise<void>

  /**
   * Everything that is stored, in no order, a part at a time: what comes or goes meanwhile may be
   * among it or not. Files or objects that no store of this kind writes are left out.
   *
   * @throws when there is no store, rather than finding it empty
   */
  list(): AsyncIterable<StoredItem>

  /** Removes bytes that {@link list} found, of an upload that has no session any more. Safe to repeat. */
  removeReceived(received: ReceivedBytes): Promise<void>

  /**
   * Where a client may fetch the bytes by itself, for some minutes; undefined when it cannot.
   * Nothing is asked of the store: the blob may be missing.
   */
  presign?(location: Location, contentType: string): Promise<string | undefined>

  /** Writes, reads and removes a few bytes. @throws what a push would meet */
  probe(): Promise<void>
}

/** The metadata names a blob that the store does not have: a fault of ours, never of the client. */
export class BlobMissing extends Error {
  override readonly name = 'BlobMissing'

  constructor(location: Location) {
    super(`no blob at ${location}`)
  }
}

/** An upload session names bytes that the store does not have: the client must start again. */
export class UploadLost extends Error {
  override readonly name = 'UploadLost'

  constructor() {
    super('the bytes received by this upload are gone')
  }
}

/** The store has no room left. What was stored before is unharmed. */
export class StorageFull extends Error {
  override readonly name = 'StorageFull'
}

/** The store cannot be reached, or refuses everybody: the same call may succeed later. */
export class StorageUnavailable extends Error {
  override readonly name = 'StorageUnavailable'
}
