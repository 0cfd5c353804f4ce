import { appendFileSync } from 'node:fs'

const SHOWN = 60

/** What happened when, to tell how a fault came about. */
export class Journal {
  readonly #entries: { readonly at: number; readonly text: string }[] = []
  readonly #file: string | undefined

  constructor(file?: string) {
    this.#file = file
  }

  note(text: string): void {
    const entry = { at: performance.now(), text }
    this.#entries.push(entry)
    if (this.#file !== undefined) appendFileSync(this.#file, `${lineOf(entry)}\n`)
  }

  /** The last entries that have one of the words in them, and what befell servers between those. */
  historyOf(words: readonly string[]): string[] {
    const concerns = ({ text }: { text: string }) => words.some((word) => text.includes(word))
    const own = this.#entries.filter(concerns).slice(-SHOWN)
    const since = own[0]?.at ?? Number.POSITIVE_INFINITY
    return this.#entries
      .filter((entry) => entry.at >= since && (own.includes(entry) || entry.text.startsWith('*')))
      .map(lineOf)
  }
}

/** Enough of a digest to know it by. */
export function short(digest: string): string {
  return digest.replace(/^sha256:([0-9a-f]{12}).*$/, '$1')
}

function lineOf({ at, text }: { at: number; text: string }): string {
  return `${(at / 1000).toFixed(3).padStart(9)} ${text}`
}
