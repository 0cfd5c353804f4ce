import { LRUCache } from 'lru-cache'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { KeepingTerms } from './keeping.ts'

const ENTRIES = 100_000

/** A promise is made anew after this part of the grace period: few are written, however many ask. */
const RENEWED_AFTER = 0.1

/**
 * What this process has lately told clients to be here: a client that is told so does not push it,
 * and names it in a manifest later.
 */
export class Promises {
  readonly #renewMs: number
  /** When they were written down last, by `performance.now()`. */
  readonly #written = new LRUCache<string, number>({ max: ENTRIES })

  constructor({ graceSeconds }: Pick<KeepingTerms, 'graceSeconds'>) {
    this.#renewMs = graceSeconds * 1000 * RENEWED_AFTER
  }

  /**
   * Writes the promise down, unless that was done a short while ago.
   *
   * @param write @returns false when there is nothing to be promised
   * @returns false when it is not here, or no longer
   */
  async keep(
    repository: RepositoryName,
    digest: Digest,
    write: () => Promise<boolean>,
  ): Promise<boolean> {
    const key = `${repository}@${digest}`
    const now = performance.now()
    const written = this.#written.get(key)
    if (written !== undefined && now - written < this.#renewMs) return true
    if (!(await write())) return false
    this.#written.set(key, now)
    return true
  }
}
