import type { Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { Pool } from '../storage/metadata/database.ts'
import { findTag, findTags, type NamedTag } from '../storage/metadata/tags.ts'

/** At once: a database far away answers one while the other is on its way. */
const STATEMENTS = 2
/** In one statement. */
const MOST = 200

interface Waiting extends NamedTag {
  resolve(this: void, digest: Digest | undefined): void
  reject(this: void, error: unknown): void
}

/**
 * What tags name right now, read from the database. Each read is of a statement that begins after it
 * was asked for, so that it sees every push that was answered before; those that are asked for while
 * others are under way go together in the next statement.
 */
export class TagReads {
  readonly #db: Pool
  #waiting: Waiting[] = []
  #running = 0

  constructor(db: Pool) {
    this.#db = db
  }

  /** Undefined when there is no such tag. */
  digestOf(repository: RepositoryName, tag: Tag): Promise<Digest | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ repository, tag, resolve, reject })
      this.#readNext()
    })
  }

  #readNext(): void {
    if (this.#running === STATEMENTS || this.#waiting.length === 0) return
    const batch = this.#waiting.splice(0, MOST)
    this.#running++
    void this.#read(batch).finally(() => {
      this.#running--
      this.#readNext()
    })
  }

  async #read(batch: readonly Waiting[]): Promise<void> {
    try {
      const digests = await this.#digestsOf(batch)
      batch.forEach(({ resolve }, index) => resolve(digests[index]))
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  async #digestsOf(batch: readonly Waiting[]): Promise<readonly (Digest | undefined)[]> {
    const [only] = batch
    if (batch.length === 1 && only) return [await findTag(this.#db, only.repository, only.tag)]
    return findTags(this.#db, batch)
  }
}
