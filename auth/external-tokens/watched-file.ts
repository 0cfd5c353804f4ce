import { type StatsListener, unwatchFile, watchFile } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { Logger } from 'pino'

const POLL_INTERVAL_MS = 2000

interface WatchedFileOptions<Content> {
  readonly path: string
  /** Throws when the text is not fit for use. */
  readonly parse: (text: string) => Content | Promise<Content>
  readonly log: Pick<Logger, 'info' | 'warn'>
}

/** A file of keys that is read again when it changes. It is polled: mounted secrets send no events. */
export class WatchedFile<Content> {
  #content: Content
  #reading: Promise<void> = Promise.resolve()
  readonly #options: WatchedFileOptions<Content>
  readonly #listener: StatsListener = () => {
    // One after the other, so that what was read first never replaces what was read last.
    this.#reading = this.#reading.then(() => this.#readAgain())
  }

  /** @throws Error when the file cannot be read, or is not fit for use */
  static async open<Content>(options: WatchedFileOptions<Content>): Promise<WatchedFile<Content>> {
    return new WatchedFile(await load(options), options)
  }

  private constructor(content: Content, options: WatchedFileOptions<Content>) {
    this.#content = content
    this.#options = options
    watchFile(options.path, { interval: POLL_INTERVAL_MS, persistent: false }, this.#listener)
  }

  /** What the file held when it was last fit for use. */
  get content(): Content {
    return this.#content
  }

  close(): void {
    unwatchFile(this.#options.path, this.#listener)
  }

  async #readAgain(): Promise<void> {
    const { path: file, log } = this.#options
    try {
      this.#content = await load(this.#options)
      log.info({ file }, 'keys of the token service read again')
    } catch (err) {
      log.warn({ err, file }, 'keys of the token service not readable, the old ones stay in use')
    }
  }
}

async function load<Content>({ path, parse }: WatchedFileOptions<Content>): Promise<Content> {
  return await parse(await readFile(path, 'utf8'))
}
