import { LRUCache } from 'lru-cache'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { StoredBlob } from '../storage/metadata/blobs.ts'
import type { StoredManifest } from '../storage/metadata/manifests.ts'
import type { RepositoryId } from '../storage/metadata/repositories.ts'

const MANIFEST_BYTES = 64 * 1024 * 1024
const ENTRIES = 100_000

/**
 * Runs `change` and then `forget`, also when it failed: a connection that broke may have broken
 * after the commit.
 */
export async function forgetting<T>(forget: () => void, change: () => Promise<T>): Promise<T> {
  try {
    return await change()
  } finally {
    forget()
  }
}

/**
 * Answers that were read from Postgres and are still true. It may be on only in a process that
 * is the only one to write to its database: every operation that changes the truth says so here
 * after its commit and before its answer.
 *
 * A read that began before a change must not bring the old answer back: what was read is kept
 * only if nothing was changed since the read began.
 */
export class MetadataCache {
  readonly #enabled: boolean
  #generation = 0
  readonly #manifests: LRUCache<string, StoredManifest>
  readonly #tags = new LRUCache<string, Digest>({ max: ENTRIES })
  readonly #blobs = new LRUCache<string, StoredBlob>({ max: ENTRIES })
  readonly #repositories = new LRUCache<RepositoryName, RepositoryId>({ max: ENTRIES })

  constructor(enabled: boolean, manifestBytes: number = MANIFEST_BYTES) {
    this.#enabled = enabled
    this.#manifests = new LRUCache({
      maxSize: manifestBytes,
      // What a small entry costs besides its bytes.
      sizeCalculation: (manifest) => manifest.bytes.length + 512,
    })
  }

  manifest(
    repository: RepositoryName,
    digest: Digest,
    read: () => Promise<StoredManifest | undefined>,
  ): Promise<StoredManifest | undefined> | StoredManifest {
    return this.#through(this.#manifests, `${repository}@${digest}`, read)
  }

  tag(
    repository: RepositoryName,
    tag: Tag,
    read: () => Promise<Digest | undefined>,
  ): Promise<Digest | undefined> | Digest {
    return this.#through(this.#tags, `${repository}:${tag}`, read)
  }

  blob(
    repository: RepositoryName,
    digest: Digest,
    read: () => Promise<StoredBlob | undefined>,
  ): Promise<StoredBlob | undefined> | StoredBlob {
    return this.#through(this.#blobs, `${repository}@${digest}`, read)
  }

  /** Unlike the others on in every process: a stale id is found out by its foreign key. */
  repositoryId(name: RepositoryName): RepositoryId | undefined {
    return this.#repositories.get(name)
  }

  rememberRepositoryId(name: RepositoryName, id: RepositoryId): void {
    this.#repositories.set(name, id)
  }

  forgetRepositoryId(name: RepositoryName): void {
    this.#repositories.delete(name)
  }

  forgetTags(repository: RepositoryName, tags: readonly Tag[]): void {
    this.#generation++
    for (const tag of tags) this.#tags.delete(`${repository}:${tag}`)
  }

  forgetManifest(repository: RepositoryName, digest: Digest): void {
    this.#generation++
    this.#manifests.delete(`${repository}@${digest}`)
  }

  forgetBlob(repository: RepositoryName, digest: Digest): void {
    this.#generation++
    this.#blobs.delete(`${repository}@${digest}`)
  }

  /** For a repository that is gone: rare enough to start over with everything. */
  forgetAll(): void {
    this.#generation++
    this.#manifests.clear()
    this.#tags.clear()
    this.#blobs.clear()
    this.#repositories.clear()
  }

  #through<Value extends {}>(
    cache: LRUCache<string, Value>,
    key: string,
    read: () => Promise<Value | undefined>,
  ): Promise<Value | undefined> | Value {
    if (!this.#enabled) return read()
    return cache.get(key) ?? this.#fill(cache, key, read)
  }

  async #fill<Value extends {}>(
    cache: LRUCache<string, Value>,
    key: string,
    read: () => Promise<Value | undefined>,
  ): Promise<Value | undefined> {
    const generation = this.#generation
    const value = await read()
    if (value !== undefined && generation === this.#generation) cache.set(key, value)
    return value
  }
}
