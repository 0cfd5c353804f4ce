import { type FileHandle, mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { orFull, unlessMissing } from './filesystem/failure.ts'

/** What a crash left is as old as this before it is removed: nobody writes to it any more. */
const ABANDONED_MS = 24 * 3600 * 1000

/**
 * Files in which blobs arrive that go to a store where they cannot be read before they are whole.
 * Several processes of a machine share the folder. Nothing in it outlives what it is for.
 */
export class Spool {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = path.resolve(folder)
  }

  /** The file of an upload session, by its id. */
  fileOf(id: string): string {
    return path.join(this.#folder, id)
  }

  /**
   * Opens the file to go on writing at `offset`; what is beyond it is dropped.
   *
   * @returns undefined when it does not hold so many bytes
   * @throws StorageFull
   */
  async open(id: string, offset: number): Promise<SpoolFile | undefined> {
    await orFull(mkdir(this.#folder, { recursive: true }))
    const file = await orFull(open(this.fileOf(id), offset === 0 ? 'w' : 'a'))
    try {
      if (offset > 0 && (await file.stat()).size < offset) {
        await file.close()
        await this.remove(id)
        return undefined
      }
      await file.truncate(offset)
      return new SpoolFile(file)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** Who has the file open goes on reading it. */
  async remove(id: string): Promise<void> {
    await rm(this.fileOf(id), { force: true })
  }

  /** Removes files that a crash has left. */
  async sweep(): Promise<void> {
    for (const name of (await unlessMissing(readdir(this.#folder))) ?? []) {
      const found = await unlessMissing(stat(this.fileOf(name)))
      if (found !== undefined && found.mtimeMs < Date.now() - ABANDONED_MS) await this.remove(name)
    }
  }
}

/** Takes bytes one after the other. They can be read as soon as `write` has ended. */
export class SpoolFile {
  readonly #file: FileHandle

  constructor(file: FileHandle) {
    this.#file = file
  }

  /** @throws StorageFull */
  async write(chunk: Uint8Array): Promise<void> {
    await orFull(this.#file.appendFile(chunk))
  }

  /** Makes what was written durable. */
  async sync(): Promise<void> {
    await orFull(this.#file.datasync())
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}
