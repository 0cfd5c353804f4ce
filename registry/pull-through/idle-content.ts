import type { Digest } from '../../oci/digest.ts'
import type { Tag } from '../../oci/reference.ts'
import {
  checkIdle,
  type IdleManifest,
  listIdleManifests,
} from '../../storage/metadata/cache-eviction.ts'
import {
  type CacheRepository,
  deleteEmptyCache,
  deleteManifests,
  listEmptyCaches,
} from '../../storage/metadata/cached-content.ts'
import { transaction } from '../../storage/metadata/database.ts'
import { lockRepositoryAlone, unlistIfEmpty } from '../../storage/metadata/repositories.ts'
import type { Registry } from '../registry.ts'
import { revoking } from '../revocation.ts'

export interface IdleTerms {
  /** The upstream's name. */
  readonly upstream: string
  /** 0: they stay. */
  readonly idleSeconds: number
  /** Manifests, at most. */
  readonly limit: number
  readonly signal?: AbortSignal
}

/** Few enough that nobody waits long for the repository they are in. */
const BATCH = 100

/** Manifests that nobody asked for since so long go, with their tags. @returns how many */
export async function dropIdleManifests(registry: Registry, terms: IdleTerms): Promise<number> {
  const { upstream, idleSeconds, limit, signal } = terms
  if (idleSeconds <= 0) return 0
  let dropped = 0
  while (dropped < limit) {
    if (signal?.aborted === true) break
    const few = { idleSeconds, limit: Math.min(BATCH, limit - dropped) }
    const idle = await listIdleManifests(registry.db, upstream, few)
    let now = 0
    for (const manifests of byRepository(idle))
      now += await dropManifests(registry, terms, manifests)
    // What was asked for meanwhile stays; a later run sees it.
    if (now === 0) break
    dropped += now
  }
  return dropped
}

async function dropManifests(
  registry: Registry,
  { upstream, idleSeconds }: IdleTerms,
  manifests: readonly IdleManifest[],
): Promise<number> {
  const { repositoryId, repository } = manifests[0]!
  const digests = manifests.map(({ digest }) => digest)
  let tags: Tag[] = []
  let idle: Digest[] = []
  try {
    await revoking(registry, async (tx, revoke) => {
      await lockRepositoryAlone(tx, repositoryId)
      idle = await checkIdle(tx, upstream, idleSeconds, { repositoryId, digests })
      await Promise.all(idle.map((digest) => revoke({ repository, digest })))
      tags = await deleteManifests(tx, repositoryId, idle)
      await unlistIfEmpty(tx, repositoryId)
    })
  } catch (error) {
    registry.cache.forgetAll() // it may have been committed, and which tags went is not sure
    throw error
  }
  registry.cache.forgetTags(repository, tags)
  return idle.length
}

function byRepository(manifests: readonly IdleManifest[]): readonly (readonly IdleManifest[])[] {
  const groups = new Map<string, IdleManifest[]>()
  for (const manifest of manifests) {
    const group = groups.get(manifest.repositoryId) ?? []
    groups.set(manifest.repositoryId, [...group, manifest])
  }
  return [...groups.values()]
}

/** An upstream's repositories that hold nothing any more go. @returns how many */
export async function dropEmptyCaches(
  registry: Pick<Registry, 'db' | 'cache'>,
  upstream: string,
  limit: number,
): Promise<number> {
  let dropped = 0
  for (const cache of await listEmptyCaches(registry.db, upstream, limit)) {
    if (await dropIfEmpty(registry, cache)) dropped++
  }
  return dropped
}

/**
 * Others may remember its id, which they find out to be stale. Nothing else is remembered of a
 * repository that holds nothing.
 */
export async function dropIfEmpty(
  { db, cache }: Pick<Registry, 'db' | 'cache'>,
  { id, name }: CacheRepository,
  { evenPinned = false }: { readonly evenPinned?: boolean } = {},
): Promise<boolean> {
  const dropped = await transaction(db, async (tx) => {
    await lockRepositoryAlone(tx, id)
    return deleteEmptyCache(tx, id, { evenPinned })
  })
  if (dropped) {
    cache.forgetRepositoryId(name)
    cache.forgetKind(name)
  }
  return dropped
}
