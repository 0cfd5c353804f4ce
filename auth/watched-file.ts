import { createReadStream, type StatsListener, unwatchFile, watchFile } from 'node:fs'
import { stat } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import type { Logger } from 'pino'

const POLL_MS = 2000
const MAX_BYTES = 10 * 1024 * 1024

export interface WatchedFileOptions<Content> {
  readonly path: string
  /** How the log calls it, such as `access file`. */
  readonly name: string
  /** Throws when the bytes are not fit for use. */
  readonly parse: (bytes: Buffer) => Content | Promise<Content>
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Called after other content has come into force. It must not throw. */
  readonly onChange?: (() => void) | undefined
  /** How often to look whether the file has changed; every two seconds unless said otherwise. */
  readonly pollMs?: number | undefined
}

/**
 * A file of at most 10 MB that is read again when it changes. What is not fit for use leaves in
 * force what was there before, and is logged.
 */
export class WatchedFile<Content> {
  readonly #options: WatchedFileOptions<Content>
  readonly #changed: StatsListener
  #bytes: Buffer | undefined
  #content: { readonly parsed: Content } | undefined
  #reading: Promise<void> = Promise.resolve()
  #isClosed = false

  private constructor(options: WatchedFileOptions<Content>) {
    this.#options = options
    // One after the other: the last to be read is the last that was written.
    this.#changed = () => {
      this.#reading = this.#reading.then(() => this.#readAgain())
    }
    // Polled: a file that is mounted from a secret changes by way of symbolic links, which a
    // watcher does not follow. Begun before the first reading, so that no change falls in between.
    const { path, pollMs = POLL_MS } = options
    watchFile(path, { interval: pollMs, persistent: false }, this.#changed)
  }

  /** @throws Error when the file cannot be read, or is not fit for use */
  static async open<Content>(options: WatchedFileOptions<Content>): Promise<WatchedFile<Content>> {
    const file = new WatchedFile(options)
    try {
      await file.#read()
      return file
    } catch (error) {
      file.close()
      throw error
    }
  }

  /** What the file held when it was last fit for use. */
  get content(): Content {
    if (this.#content === undefined) throw new Error('the file is not open')
    return this.#content.parsed
  }

  close(): void {
    this.#isClosed = true
    unwatchFile(this.#options.path, this.#changed)
  }

  /** @returns whether there was anything new */
  async #read(): Promise<boolean> {
    const { path, parse } = this.#options
    const bytes = await readBounded(path)
    if (this.#isClosed || this.#bytes?.equals(bytes)) return false
    this.#content = { parsed: await parse(bytes) }
    this.#bytes = bytes
    return true
  }

  async #readAgain(): Promise<void> {
    const { path, name, log, onChange } = this.#options
    try {
      if (!(await this.#read())) return
    } catch (error) {
      log.warn({ err: error, file: path }, `${name} not usable, what it had stays in force`)
      return
    }
    log.info({ file: path }, `${name} read again`)
    onChange?.()
  }
}

async function readBounded(path: string): Promise<Buffer> {
  // Looked at first: to open a pipe would take a thread for as long as nobody writes to it.
  if (!(await stat(path)).isFile()) throw new Error(`${path} is not a regular file`)
  const bytes = await buffer(createReadStream(path, { end: MAX_BYTES }))
  if (bytes.length > MAX_BYTES) throw new Error(`${path} has more than ${MAX_BYTES} bytes`)
  return bytes
}
