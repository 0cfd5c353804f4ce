import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { lockBlobsAlone, markUnlinkedBlobs } from '../../storage/metadata/blob-removal.ts'
import type { StoredBlob } from '../../storage/metadata/blobs.ts'
import {
  type CacheRepository,
  deleteManifests,
  listCaches,
  listLinksOf,
  listManifestsOf,
  unlinkBlobs,
} from '../../storage/metadata/cached-content.ts'
import type { Queryable, Transaction } from '../../storage/metadata/database.ts'
import { lockRepositoryAlone, unlistIfEmpty } from '../../storage/metadata/repositories.ts'
import { type Revoke, type Revoking, revokingInTurn } from '../revocation.ts'
import { dropIfEmpty } from './idle-content.ts'
import { requireCache } from './pins.ts'

export type PurgeTarget = { readonly upstream: string } | { readonly repository: RepositoryName }

export interface Purged {
  readonly repositories: number
  readonly manifests: number
  /** Blobs whose bytes are to be deleted, as nobody else has them. */
  readonly blobs: number
  /** Of these blobs. */
  readonly bytes: number
}

/** Repositories that are listed, and what of each is locked, at a time. */
const PAGE = 1000
const BATCH = 100

/**
 * Removes what is kept of an upstream, or of one repository of it, pinned or not. The bytes go
 * later, by `finishRemovals` in a server. What is on its way meanwhile may arrive afterwards.
 *
 * @throws RegistryError NAME_UNKNOWN for a repository that keeps nothing of an upstream
 */
export async function purge(registry: Revoking, target: PurgeTarget): Promise<Purged> {
  const purged = { repositories: 0, manifests: 0, blobs: 0, bytes: 0 }
  await revokingInTurn(registry, async (commit) => {
    for await (const cache of cachesOf(registry.db, target)) {
      for (let deleted = BATCH; deleted === BATCH; purged.manifests += deleted) {
        deleted = await commit((tx, revoke) => purgeManifests(tx, revoke, cache))
      }
      for (;;) {
        const digests = await listLinksOf(registry.db, cache.id, BATCH)
        if (digests.length === 0) break
        const marked = await commit((tx, revoke) => purgeLinks(tx, revoke, cache, digests))
        purged.blobs += marked.length
        for (const { sizeBytes } of marked) purged.bytes += sizeBytes
      }
      if (await dropIfEmpty(registry, cache, { evenPinned: true })) purged.repositories++
    }
  })
  return purged
}

async function* cachesOf(db: Queryable, target: PurgeTarget): AsyncGenerator<CacheRepository> {
  if ('repository' in target) {
    yield await requireCache(db, target.repository)
    return
  }
  let after: CacheRepository['id'] | undefined
  for (;;) {
    const page = await listCaches(db, target.upstream, { after, limit: PAGE })
    yield* page
    after = page.at(-1)?.id
    if (page.length < PAGE) return
  }
}

/** @returns how many */
async function purgeManifests(
  tx: Transaction,
  revoke: Revoke,
  { id, name }: CacheRepository,
): Promise<number> {
  await lockRepositoryAlone(tx, id)
  const digests = await listManifestsOf(tx, id, BATCH)
  // All of the repository: the digests that its tags named are not known to who remembers tags.
  if (digests.length > 0) await revoke({ repository: name })
  await deleteManifests(tx, id, digests)
  await unlistIfEmpty(tx, id)
  return digests.length
}

/** @returns the blobs that nobody links any more */
async function purgeLinks(
  tx: Transaction,
  revoke: Revoke,
  { id, name }: CacheRepository,
  digests: readonly Digest[],
): Promise<StoredBlob[]> {
  await lockBlobsAlone(tx, digests)
  await revoke({ repository: name })
  await unlinkBlobs(tx, id, digests)
  return markUnlinkedBlobs(tx, digests)
}
