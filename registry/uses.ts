import type { Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { Queryable } from '../storage/metadata/database.ts'
import { recordUses, type Use } from '../storage/metadata/uses.ts'

const MOST = 100_000
const BATCH = 500

/**
 * What was asked for since it was recorded last: content of upstreams, which makes room by it, and
 * manifests that are hosted, which retention keeps by it. A use never waits for the database:
 * background work calls {@link flush} now and then. With too many different ones in between, some are
 * not noted.
 */
export class Uses {
  readonly #most: number
  readonly #blobs = new Map<string, Use>()
  readonly #manifests = new Map<string, Use>()

  /** @param most blobs, and manifests, to note between two flushes */
  constructor(most: number = MOST) {
    this.#most = most
  }

  blobUsed(repository: RepositoryName, digest: Digest): void {
    this.#note(this.#blobs, { repository, digest })
  }

  manifestUsed(repository: RepositoryName, digest: Digest): void {
    this.#note(this.#manifests, { repository, digest })
  }

  /** What could not be recorded is kept for the next time. */
  async flush(db: Queryable): Promise<void> {
    await this.#record(db, 'blobs', this.#blobs)
    await this.#record(db, 'manifests', this.#manifests)
  }

  #note(noted: Map<string, Use>, use: Use): void {
    const key = `${use.repository}@${use.digest}`
    if (noted.size < this.#most || noted.has(key)) noted.set(key, use)
  }

  async #record(
    db: Queryable,
    kind: 'blobs' | 'manifests',
    noted: Map<string, Use>,
  ): Promise<void> {
    while (noted.size > 0) {
      const batch = [...noted].slice(0, BATCH)
      const uses = batch.map(([, use]) => use)
      await recordUses(db, kind, uses)
      for (const [key] of batch) noted.delete(key)
    }
  }
}
