import type { Transaction } from '../../storage/metadata/database.ts'
import {
  deleteFallbackTags,
  deleteGarbageManifest,
  listFallbackTags,
  lockManifestAlone,
  queueParents,
  waitBriefly,
} from '../../storage/metadata/garbage.ts'
import { type QueuedGarbage, removeFromQueue } from '../../storage/metadata/gc-queue.ts'
import type { ReviewedManifest } from '../../storage/metadata/liveness.ts'
import { lockRepository } from '../../storage/metadata/repositories.ts'
import { lockTags } from '../../storage/metadata/tags.ts'
import { type Revoke, revokingInTurn } from '../revocation.ts'
import type { Attempts } from './attempts.ts'
import type { Collecting } from './collecting.ts'
import { judge } from './judge.ts'
import { idsOf, release, settle } from './settle.ts'

/** Tags that others are told of in one message. */
const TOLD_TAGS = 50

/** Looks at manifests that are queued, and deletes those that nothing keeps. @returns how many */
export async function collectManifests(
  registry: Collecting,
  rows: readonly QueuedGarbage[],
  attempts: Attempts,
): Promise<number> {
  const { db, keeping } = registry
  const judged = await attempts.inHalves(rows, async (some) => {
    const found = await judge(db, keeping, [...new Set(some.map(({ key }) => key))])
    await settle(db, some, new Map(found.map((each) => [each.manifest.id, each.keeping])))
    return found.filter((each) => each.keeping === 0).map(({ manifest }) => manifest)
  })
  await registry.faultPoint('manifest reviewed')
  // Indexes before what they list, as a rule: they are pushed after it.
  const garbage = judged.flat().toSorted((one, other) => Number(other.id) - Number(one.id))
  return revokingInTurn(registry, async (commit) => {
    let gone = 0
    for (const manifest of garbage) {
      const ids = idsOf(rows.filter(({ key }) => key === manifest.id))
      await attempts.at(ids, async () => {
        const end = await commit((tx, revoke) => collectManifest(tx, revoke, registry, manifest))
        if (end === 'gone') gone++
        else if (end === 'follows') await removeFromQueue(db, ids)
        else await release(db, ids)
      })
      await registry.faultPoint('manifest collected')
    }
    return gone
  })
}

/**
 * 'kept': it is gone already, or something keeps it by now. 'follows': it is queued again when the last
 * index goes that lists it.
 */
type End = 'gone' | 'kept' | 'follows'

async function collectManifest(
  tx: Transaction,
  revoke: Revoke,
  { keeping }: Collecting,
  { id, digest, repositoryId, repository }: ReviewedManifest,
): Promise<End> {
  await waitBriefly(tx)
  if (!(await lockRepository(tx, repositoryId, repository))) return 'kept'
  const fallbackTags = await listFallbackTags(tx, repositoryId, digest)
  await lockTags(tx, repositoryId, fallbackTags)
  if (!(await lockManifestAlone(tx, id))) return 'kept'
  // A statement of its own: it sees what was committed while the lock was waited for.
  const [judged] = await judge(tx, keeping, [id])
  if (judged === undefined || judged.keeping !== 0) return 'kept'
  // Whoever is told that an index is there takes what it lists to be there as well.
  if ((await queueParents(tx, id)) > 0) return 'follows'
  await revoke({ repository, digest })
  await deleteGarbageManifest(tx, id)
  if (fallbackTags.length > 0) await deleteFallbackTags(tx, repositoryId, fallbackTags)
  for (let first = 0; first < fallbackTags.length; first += TOLD_TAGS) {
    await revoke({ repository, tags: fallbackTags.slice(first, first + TOLD_TAGS) })
  }
  return 'gone'
}
