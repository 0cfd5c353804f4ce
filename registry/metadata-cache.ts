import { LRUCache } from 'lru-cache'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { StoredBlob } from '../storage/metadata/blobs.ts'
import type { Revocation } from '../storage/metadata/changes.ts'
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

/** Whether deletes by other processes are known here in time. */
interface Hearing {
  areHeard(): boolean
}

/**
 * Answers that were read from Postgres and are still true: every operation that changes the truth
 * says so here after its commit and before its answer.
 *
 * A process that is the only one to write to its database remembers all it reads. Others remember
 * what nothing but a delete can change, and only while they hear of deletes elsewhere
 * (`registry/revocation.ts`); so tags, which any push may move, are always read.
 *
 * A read that began before a change must not bring the old answer back: what was read is kept
 * only if nothing was changed since the read began.
 */
export class MetadataCache {
  readonly #isAlone: boolean
  readonly #isCurrent: () => boolean
  #generation = 0
  readonly #manifests: LRUCache<string, StoredManifest>
  readonly #tags = new LRUCache<string, Digest>({ max: ENTRIES })
  readonly #blobs = new LRUCache<string, StoredBlob>({ max: ENTRIES })
  readonly #repositories = new LRUCache<RepositoryName, RepositoryId>({ max: ENTRIES })
  readonly #upstreamTags = new LRUCache<string, FreshTag>({ max: ENTRIES })
  readonly #kinds = new LRUCache<RepositoryName, RepositoryKind>({ max: ENTRIES })

  /** `on`: true in the only process of a database; false remembers nothing. */
  constructor(on: boolean | Hearing, manifestBytes: number = MANIFEST_BYTES) {
    this.#isAlone = on === true
    this.#isCurrent = typeof on === 'boolean' ? () => on : () => on.areHeard()
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
    if (!this.#isCurrent()) return read()
    const keeps = (manifest: StoredManifest) => this.#isAlone || statesMediaType(manifest)
    return this.#through(this.#manifests, { key: `${repository}@${digest}`, read, keeps })
  }

  tag(
    repository: RepositoryName,
    tag: Tag,
    read: () => Promise<Digest | undefined>,
  ): Promise<Digest | undefined> | Digest {
    if (!this.#isAlone) return read()
    return this.#through(this.#tags, { key: `${repository}:${tag}`, read })
  }

  blob(
    repository: RepositoryName,
    digest: Digest,
    read: () => Promise<StoredBlob | undefined>,
  ): Promise<StoredBlob | undefined> | StoredBlob {
    if (!this.#isCurrent()) return read()
    return this.#through(this.#blobs, { key: `${repository}@${digest}`, read })
  }

  /** What a tag of an upstream names, as long as that need not be asked again. */
  freshTag(
    repository: RepositoryName,
    tag: Tag,
    read: () => Promise<FreshTag | undefined>,
  ): Promise<FreshTag | undefined> | FreshTag {
    if (!this.#isAlone) return read()
    const key = `${repository}:${tag}`
    const known = this.#upstreamTags.get(key)
    if (known !== undefined && known.freshUntilMs > performance.now()) return known
    return this.#fill(this.#upstreamTags, { key, read })
  }

  /**
   * Whether a repository is hosted, keeps what is pulled, or is not there: of those that are there
   * only a delete can change it.
   */
  kind(
    repository: RepositoryName,
    read: () => Promise<RepositoryKind>,
  ): Promise<RepositoryKind> | RepositoryKind {
    if (!this.#isCurrent()) return read()
    const known = this.#kinds.get(repository)
    if (known !== undefined) return known
    const keeps = (kind: RepositoryKind) => this.#isAlone || kind !== 'none'
    const filled = this.#fill(this.#kinds, { key: repository, read, keeps })
    return filled.then((kind) => kind ?? 'none')
  }

  /** For a repository that was created. */
  forgetKind(repository: RepositoryName): void {
    this.#generation++
    this.#kinds.delete(repository)
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
    for (const tag of tags) {
      this.#tags.delete(`${repository}:${tag}`)
      this.#upstreamTags.delete(`${repository}:${tag}`)
    }
  }

  forgetManifest(repository: RepositoryName, digest: Digest): void {
    this.#generation++
    this.#manifests.delete(`${repository}@${digest}`)
  }

  forgetBlob(repository: RepositoryName, digest: Digest): void {
    this.#generation++
    this.#blobs.delete(`${repository}@${digest}`)
  }

  /** Everything that upstreams said is to be asked again. */
  forgetUpstreamTags(): void {
    this.#generation++
    this.#upstreamTags.clear()
  }

  /** Forgets at least what is not true any more. */
  revoke({ repository, digest, tags }: Revocation): void {
    if (repository !== undefined && tags !== undefined) return this.forgetTags(repository, tags)
    if (repository === undefined || digest === undefined) return this.forgetAll()
    this.forgetManifest(repository, digest)
    return this.forgetBlob(repository, digest)
  }

  /** For what cannot be looked up here, and is rare enough to start over with everything. */
  forgetAll(): void {
    this.#generation++
    this.#manifests.clear()
    this.#tags.clear()
    this.#blobs.clear()
    this.#repositories.clear()
    this.#kinds.clear()
    this.#upstreamTags.clear()
  }

  #through<Value extends {}>(
    cache: LRUCache<string, Value>,
    reading: Reading<Value>,
  ): Promise<Value | undefined> | Value {
    return cache.get(reading.key) ?? this.#fill(cache, reading)
  }

  async #fill<Key extends string, Value extends {}>(
    cache: LRUCache<Key, Value>,
    { key, read, keeps = () => true }: Reading<Value, Key>,
  ): Promise<Value | undefined> {
    const generation = this.#generation
    const value = await read()
    if (value !== undefined && generation === this.#generation && keeps(value)) {
      cache.set(key, value)
    }
    return value
  }
}

export type RepositoryKind = 'hosted' | 'cache' | 'none'

export interface FreshTag {
  readonly digest: Digest
  /** By `performance.now()`. */
  readonly freshUntilMs: number
}

interface Reading<Value, Key = string> {
  readonly key: Key
  readonly read: () => Promise<Value | undefined>
  /** Whether it may be remembered. */
  readonly keeps?: (value: Value) => boolean
}

/** The media type of a manifest that does not state it changes with the next push of its bytes. */
export function statesMediaType({
  bytes,
  mediaType,
}: Pick<StoredManifest, 'bytes' | 'mediaType'>): boolean {
  const manifest: { mediaType?: unknown } = JSON.parse(bytes.toString('utf8'))
  return manifest.mediaType === mediaType
}
