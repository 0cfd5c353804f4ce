import type { FileHandle } from 'node:fs/promises'
import type { Upload, UploadWriter } from '../blob-store.ts'
import { orFull } from './failure.ts'

/** Bytes that may wait for the disk before the sender is asked to pause. */
const HIGH_WATER_BYTES = 1024 * 1024
/** The kernel takes at most this many buffers in one writev. */
const MAX_BUFFERS = 1024
/** After so many bytes the disk is asked to begin: it writes while the network still receives. */
const SYNC_EVERY_BYTES = 32 * 1024 * 1024

/**
 * Writes chunks to a file in order. While one write is under way the next chunks gather, so a
 * fast sender gets few large writes and a slow one holds no memory.
 */
export class FileAppend implements UploadWriter {
  readonly #file: FileHandle
  readonly #upload: Upload
  #position: number
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #drain: Promise<void> | undefined
  #unsyncedBytes = 0
  #sync: Promise<void> | undefined
  /** Kept, because the kernel reports a failed write-back to one sync only. */
  #syncFailure: Error | undefined
  #closed = false

  /** Takes over `file`, which must be exactly `upload.offset` bytes long. */
  constructor(file: FileHandle, upload: Upload) {
    this.#file = file
    this.#upload = upload
    this.#position = upload.offset
  }

  write(chunk: Uint8Array): Promise<void> | undefined {
    this.#waiting.push(chunk)
    this.#waitingBytes += chunk.length
    if (this.#drain === undefined) {
      this.#drain = this.#writeWaiting()
      // Reported to whoever awaits it next; until then it must not count as unhandled.
      this.#drain.catch(() => {})
    }
    return this.#waitingBytes >= HIGH_WATER_BYTES ? this.#drain : undefined
  }

  async finish(): Promise<Upload> {
    await this.#drain
    await this.#sync
    if (this.#syncFailure !== undefined) throw this.#syncFailure
    await orFull(this.#file.datasync())
    await this.#close()
    return { offset: this.#position, state: this.#upload.state }
  }

  async discard(): Promise<boolean> {
    await this.#settle()
    // What a failed truncation leaves is dropped by the next append.
    if (!this.#closed) await this.#file.truncate(this.#upload.offset).catch(() => {})
    await this.#close().catch(() => {})
    return true
  }

  async abandon(): Promise<void> {
    await this.#settle()
    await this.#close().catch(() => {})
  }

  /** Begins no further write and waits for the one under way. */
  async #settle(): Promise<void> {
    this.#waiting = []
    await this.#drain?.catch(() => {})
    await this.#sync
  }

  async #writeWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      const chunks = this.#waiting.splice(0, MAX_BUFFERS)
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      this.#waitingBytes -= bytes
      await orFull(this.#writeAll(chunks, bytes))
      this.#syncAhead(bytes)
    }
    this.#drain = undefined
  }

  async #writeAll(chunks: Uint8Array[], bytes: number): Promise<void> {
    const { bytesWritten } = await this.#file.writev(chunks, this.#position)
    this.#position += bytesWritten
    if (bytesWritten === bytes) return
    // A disk that is nearly full takes a part first and says ENOSPC for the rest.
    const rest = Buffer.concat(chunks).subarray(bytesWritten)
    await this.#writeAll([rest], rest.length)
  }

  #syncAhead(bytes: number): void {
    this.#unsyncedBytes += bytes
    if (this.#unsyncedBytes < SYNC_EVERY_BYTES || this.#sync !== undefined) return
    this.#unsyncedBytes = 0
    this.#sync = orFull(this.#file.datasync())
      .catch((error: Error) => {
        this.#syncFailure ??= error
      })
      .finally(() => {
        this.#sync = undefined
      })
  }

  async #close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#file.close()
  }
}
