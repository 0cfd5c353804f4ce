import type { Logger } from 'pino'
import { isUnavailable, type Queryable } from '../../storage/metadata/database.ts'
import { backOffGarbage } from '../../storage/metadata/gc-queue.ts'

/**
 * Keeps what fails from what does not: a row that cannot be dealt with backs off, and the rest goes on.
 * A database that is gone ends the run: claims run out by themselves.
 */
export class Attempts {
  readonly #db: Queryable
  readonly #log: Logger

  constructor({ db, log }: { readonly db: Queryable; readonly log: Logger }) {
    this.#db = db
    this.#log = log
  }

  /** @returns undefined when `work` failed and the rows back off */
  async at<T>(ids: readonly string[], work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      await this.#backOff(ids, error)
      return undefined
    }
  }

  /**
   * Runs `work` on all rows, and when that fails, on halves of them, down to the row that is to blame.
   *
   * @returns what the parts returned
   */
  async inHalves<Row extends { readonly id: string }, T>(
    rows: readonly Row[],
    work: (some: readonly Row[]) => Promise<T>,
  ): Promise<T[]> {
    if (rows.length === 0) return []
    try {
      return [await work(rows)]
    } catch (error) {
      if (rows.length === 1) {
        await this.#backOff([rows[0]!.id], error)
        return []
      }
      const half = Math.ceil(rows.length / 2)
      const first = await this.inHalves(rows.slice(0, half), work)
      return [...first, ...(await this.inHalves(rows.slice(half), work))]
    }
  }

  async #backOff(ids: readonly string[], error: unknown): Promise<void> {
    if (isGoneWithDatabase(error)) throw error
    this.#log.debug({ err: error, ids }, 'garbage not collected')
    await backOffGarbage(this.#db, ids, error instanceof Error ? error.message : String(error))
  }
}

/** A statement that ran into its time or a lock says nothing about the database. */
const ON_ITS_OWN = /^(?:57014|40P01|40001|55P03)$/

function isGoneWithDatabase(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return isUnavailable(error) && !ON_ITS_OWN.test(code)
}
