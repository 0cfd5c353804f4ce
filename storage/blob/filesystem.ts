import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, rename, rm, rmdir, stat, unlink } from 'node:fs/promises'
import path from 'node:path'
import type { Digest } from '../../oci/digest.ts'
import {
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
import { FileAppend } from './filesystem/append.ts'
import { codeOf, orFull, unlessMissing } from './filesystem/failure.ts'
import { BLOBS, locationOf, UPLOADS } from './filesystem/layout.ts'
import { listFiles } from './filesystem/list.ts'
import { readFile } from './filesystem/read.ts'

/**
 * Blobs as files, laid out as registry:2 does, so that its volumes can be taken over as they are:
 *
 *   <root>/docker/registry/v2/blobs/<algorithm>/<first two hex digits>/<hex>/data
 *   <root>/uploads/<session id>
 *
 * A location is the path of the data file below the root. Uploads lie on the same filesystem,
 * so that a commit is a rename. Empty folders of deleted blobs are removed with them.
 */
export class FilesystemBlobStore implements BlobStore {
  readonly needsDurableSession = false
  readonly reusesLocations = true
  readonly #root: string
  /** Folders known to exist durably; at most 256 for each algorithm. */
  readonly #shards = new Set<string>()

  constructor(root: string) {
    this.#root = path.resolve(root)
  }

  /** Creates the folders. @throws when the root cannot be written */
  async open(): Promise<void> {
    await mkdir(path.join(this.#root, UPLOADS), { recursive: true })
    await mkdir(path.join(this.#root, BLOBS), { recursive: true })
    await syncFolder(this.#root)
  }

  growingFile(id: string): string {
    return this.#uploadPath(this.startUpload(id))
  }

  filePath(location: Location): string {
    return location
  }

  startUpload(id: string): UploadState {
    return { file: id }
  }

  async appendUpload(upload: Upload): Promise<UploadWriter> {
    const flags = constants.O_WRONLY | constants.O_CREAT
    const file = await orFull(open(this.#uploadPath(upload.state), flags, 0o644))
    try {
      const { size } = await file.stat()
      if (size < upload.offset) throw new UploadLost()
      if (size > upload.offset) await file.truncate(upload.offset)
      return new FileAppend(file, upload)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  async sealUpload(upload: Upload): Promise<Upload> {
    return upload // what was appended is a whole file already
  }

  async *readUpload(upload: Upload): AsyncIterable<Uint8Array> {
    if (upload.offset === 0) return
    const file = this.#uploadPath(upload.state)
    const size = (await unlessMissing(stat(file)))?.size ?? 0
    if (size < upload.offset) throw new UploadLost()
    yield* readFile(file, file, { first: 0, last: upload.offset - 1 })
  }

  async commitUpload(upload: Upload, digest: Digest): Promise<Location> {
    if (upload.offset === 0) await (await this.appendUpload(upload)).finish()
    const location = locationOf(digest)
    const folder = path.dirname(this.#blobPath(location))
    const shard = path.dirname(folder)
    await orFull(this.#makeShard(shard))
    await orFull(mkdirIfMissing(folder))
    await this.#place(upload, location)
    // The data was synced when it was received; the two folders that name it now follow.
    await orFull(Promise.all([syncFolder(folder), syncFolder(shard)]))
    return location
  }

  async abortUpload(state: UploadState): Promise<void> {
    await rm(this.#uploadPath(state), { force: true })
  }

  async sweepUpload(): Promise<void> {
    // All appends write to the one file that the state names.
  }

  read(location: Location, range?: ByteRange): AsyncIterable<Uint8Array> {
    return readFile(this.#blobPath(location), location, range)
  }

  async size(location: Location): Promise<number | undefined> {
    return (await unlessMissing(stat(this.#blobPath(location))))?.size
  }

  async delete(location: Location): Promise<void> {
    const file = this.#blobPath(location)
    await unlessMissing(unlink(file))
    await rmdir(path.dirname(file)).catch(() => {}) // in use again already
  }

  list(): AsyncIterable<StoredItem> {
    return listFiles(this.#root)
  }

  removeReceived({ state }: ReceivedBytes): Promise<void> {
    return this.abortUpload(state)
  }

  async probe(): Promise<void> {
    const upload = { offset: 0, state: this.startUpload(`probe-${randomUUID()}`) }
    const writer = await this.appendUpload(upload)
    try {
      await writer.write(Buffer.from('probe'))
      for await (const bytes of this.readUpload(await writer.finish())) {
        if (Buffer.from(bytes).toString() !== 'probe') throw new Error('other bytes were read')
      }
    } finally {
      await writer.discard()
      await this.abortUpload(upload.state)
    }
  }

  async #place(upload: Upload, location: Location): Promise<void> {
    const file = this.#uploadPath(upload.state)
    const size = (await unlessMissing(stat(file)))?.size
    if (size === undefined) {
      // A commit that was cut off after the rename is being repeated.
      if ((await this.size(location)) === upload.offset) return
      throw new UploadLost()
    }
    if (size < upload.offset) throw new UploadLost()
    // What a process that was killed wrote on after the last bytes that count.
    if (size > upload.offset) await (await this.appendUpload(upload)).finish()
    await rename(file, this.#blobPath(location))
  }

  async #makeShard(shard: string): Promise<void> {
    if (this.#shards.has(shard)) return
    // One by one: a recursive mkdir on a full disk says that the folder is missing.
    await mkdirIfMissing(path.dirname(shard))
    await mkdirIfMissing(shard)
    await syncFolder(path.dirname(shard))
    await syncFolder(path.dirname(path.dirname(shard)))
    this.#shards.add(shard)
  }

  #blobPath(location: Location): string {
    return path.join(this.#root, location)
  }

  #uploadPath(state: UploadState): string {
    return path.join(this.#root, UPLOADS, String(state['file']))
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function mkdirIfMissing(folder: string): Promise<void> {
  try {
    await mkdir(folder)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  }
}
