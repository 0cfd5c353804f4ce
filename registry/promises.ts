import { LRUCache } from 'lru-cache'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { atMost } from './at-most.ts'
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
  /** Milliseconds since any moment. */
  readonly now: () => number
  /** When they were written down last, by {@link now}. */
  readonly #written = new LRUCache<string, number>(atMost(ENTRIES))

  constructor(
    { graceSeconds }: Pick<KeepingTerms, 'graceSeconds'>,
    now: () => number = () => performance.now(),
  ) {
    this.now = now
    this.#renewMs = graceSeconds * 1000 * RENEWED_AFTER
  }

  /**
   * Writes down that the blob stays, unless that was done a short while ago: the promise is one of the
   * blob, whichever repository was asked for it.
   *
   * @param write @returns false when there is nothing to be promised
   * @returns false when it is not here, or no longer
   */
  keepBlob(digest: Digest, write: () => Promise<boolean>): Promise<boolean> {
    return this.#keep(digest, write)
  }

  /** The same for a manifest of one repository. */
  keepManifest(
    repository: RepositoryName,
    digest: Digest,
    write: () => Promise<boolean>,
  ): Promise<boolean> {
    return this.#keep(`${repository}@${digest}`, write)
  }

  /** For what a push has written down by itself at `atMs` of {@link now}, or later. */
  madeBlob(digest: Digest, atMs: number): void {
    this.#written.set(digest, atMs)
  }

  async #keep(key: string, write: () => Promise<boolean>): Promise<boolean> {
    const now = this.now()
    const written = this.#written.get(key)
    if (written !== undefined && now - written < this.#renewMs) return true
    if (!(await write())) return false
    this.#written.set(key, now)
    return true
  }
}
