import { LRUCache } from 'lru-cache'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { StoredBlob } from '../storage/metadata/blobs.ts'
import type { Revocation } from '../storage/metadata/changes.ts'
import type { StoredManifest } from '../storage/metadata/manifests.ts'
import type { RepositoryId } from '../storage/metadata/repositories.ts'
import { atMost } from './at-most.ts'
import { type Reading, Remembered } from './remembered.ts'

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
 */
export class MetadataCache {
  readonly #isAlone: boolean
  readonly #isCurrent: () => boolean
  readonly #manifests: Remembered<string, StoredManifest>
  readonly #tags = remembered<string, Digest>()
  readonly #blobs = remembered<string, StoredBlob>()
  readonly #repositories = new LRUCache<RepositoryName, RepositoryId>(atMost(ENTRIES))
  readonly #upstreamTags = remembered<string, FreshTag>()
  readonly #kinds = remembered<RepositoryName, RepositoryKind>()

  /** `on`: true in the only process of a database; false remembers nothing. */
  constructor(on: boolean | Hearing, manifestBytes: number = MANIFEST_BYTES) {
    this.#isAlone = on === true
    this.#isCurrent = typeof on === 'boolean' ? () => on : () => on.areHeard()
    const manifests = new LRUCache<string, StoredManifest>({
      maxSize: manifestBytes,
      // What a small entry costs besides its bytes.
      sizeCalculation: (manifest) => manifest.bytes.length + 512,
    })
    this.#manifests = new Remembered(manifests)
  }

  manifest(
    repository: RepositoryName,
    digest: Digest,
    read: () => Promise<StoredManifest | undefined>,
  ): Promise<StoredManifest | undefined> | StoredManifest {
    if (!this.#isCurrent()) return read()
    const keeps = (manifest: StoredManifest) => this.#isAlone || statesMediaType(manifest)
    return through(this.#manifests, `${repository}@${digest}`, { read, keeps })
  }

  tag(
    repository: RepositoryName,
    tag: Tag,
    read: () => Promise<Digest | undefined>,
  ): Promise<Digest | undefined> | Digest {
    if (!this.#isAlone) return read()
    return through(this.#tags, `${repository}:${tag}`, { read })
  }

  blob(
    repository: RepositoryName,
    digest: Digest,
    read: () => Promise<StoredBlob | undefined>,
  ): Promise<StoredBlob | undefined> | StoredBlob {
    if (!this.#isCurrent()) return read()
    return through(this.#blobs, `${repository}@${digest}`, { read })
  }

  /** For a change that makes the repository serve the blob that it returns. */
  publishedBlob(
    repository: RepositoryName,
    digest: Digest,
    publish: () => Promise<StoredBlob>,
  ): Promise<void> {
    return this.#blobs.replace(`${repository}@${digest}`, publish, this.#isCurrent)
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
    return this.#upstreamTags.fill(key, { read })
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
    return this.#kinds.fill(repository, { read, keeps }).then((kind) => kind ?? 'none')
  }

  /** For a repository that was created. */
  forgetKind(repository: RepositoryName): void {
    this.#kinds.forget(repository)
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
    for (const tag of tags) {
      this.#tags.forget(`${repository}:${tag}`)
      this.#upstreamTags.forget(`${repository}:${tag}`)
    }
  }

  forgetManifest(repository: RepositoryName, digest: Digest): void {
    this.#manifests.forget(`${repository}@${digest}`)
  }

  forgetBlob(repository: RepositoryName, digest: Digest): void {
    this.#blobs.forget(`${repository}@${digest}`)
  }

  /** Everything that upstreams said is to be asked again. */
  forgetUpstreamTags(): void {
    this.#upstreamTags.forgetAll()
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
    this.#manifests.forgetAll()
    this.#tags.forgetAll()
    this.#blobs.forgetAll()
    this.#repositories.clear()
    this.#kinds.forgetAll()
    this.#upstreamTags.forgetAll()
  }
}

function remembered<Key extends string, Value extends {}>(): Remembered<Key, Value> {
  return new Remembered(new LRUCache<Key, Value>(atMost(ENTRIES)))
}

function through<Value extends {}>(
  answers: Remembered<string, Value>,
  key: string,
  reading: Reading<Value>,
): Promise<Value | undefined> | Value {
  return answers.get(key) ?? answers.fill(key, reading)
}

export type RepositoryKind = 'hosted' | 'cache' | 'none'

export interface FreshTag {
  readonly digest: Digest
  /** By `performance.now()`. */
  readonly freshUntilMs: number
}

/** The media type of a manifest that does not state it changes with the next push of its bytes. */
export function statesMediaType({
  bytes,
  mediaType,
}: Pick<StoredManifest, 'bytes' | 'mediaType'>): boolean {
  const manifest: { mediaType?: unknown } = JSON.parse(bytes.toString('utf8'))
  return manifest.mediaType === mediaType
}
