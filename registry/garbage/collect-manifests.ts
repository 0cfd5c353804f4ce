import type { Transaction } from '../../storage/metadata/database.ts'
import { transaction } from '../../storage/metadata/database.ts'
import {
  deleteFallbackTags,
  deleteGarbageManifest,
  listFallbackTags,
  lockManifestAlone,
  waitBriefly,
} from '../../storage/metadata/garbage.ts'
import {
  postponeGarbage,
  type QueuedGarbage,
  removeFromQueue,
} from '../../storage/metadata/gc-queue.ts'
import type { ReviewedManifest } from '../../storage/metadata/liveness.ts'
import {
  lockRepository,
  lockRepositoryAlone,
  unlistIfEmpty,
} from '../../storage/metadata/repositories.ts'
import { lockTags } from '../../storage/metadata/tags.ts'
import { type Revoke, revokingInTurn } from '../revocation.ts'
import type { Attempts } from './attempts.ts'
import type { Collecting } from './collecting.ts'
import { type Judgement, judge } from './judge.ts'

/** Looks at manifests that are queued, and deletes those that nothing keeps. @returns how many */
export async function collectManifests(
  registry: Collecting,
  rows: readonly QueuedGarbage[],
  attempts: Attempts,
): Promise<number> {
  const { db, keeping } = registry
  const judged = await attempts.inHalves(rows, async (some) => {
    const found = await judge(db, keeping, [...new Set(some.map(({ key }) => key))])
    await settle(registry, some, found)
    return found.filter((each) => each.keeping === 0).map(({ manifest }) => manifest)
  })
  await registry.faultPoint('manifest reviewed')
  // In one order wherever several collect at a time.
  const garbage = judged.flat().toSorted((one, other) => Number(one.id) - Number(other.id))
  const collected = await revokingInTurn(registry, async (commit) => {
    const gone: ReviewedManifest[] = []
    for (const manifest of garbage) {
      const ids = rows.filter(({ key }) => key === manifest.id).map(({ id }) => id)
      await attempts.at(ids, async () => {
        const isGone = await commit((tx, revoke) => collectManifest(tx, revoke, registry, manifest))
        // What was kept after all may be kept for some time only: it is looked at once more.
        if (isGone) gone.push(manifest)
        else await release(registry, ids)
      })
      await registry.faultPoint('manifest collected')
    }
    return gone
  })
  await unlistEmptied(registry, collected)
  return collected.length
}

/** Rows of what is named are done with; others wait until what keeps it is over. */
async function settle(
  { db }: Collecting,
  rows: readonly QueuedGarbage[],
  judged: readonly Judgement[],
): Promise<void> {
  const keeping = new Map(judged.map((each) => [each.manifest.id, each.keeping]))
  const done = rows.filter(({ key }) => (keeping.get(key) ?? 'named') === 'named')
  const waiting = rows.flatMap(({ id, key }) => {
    const seconds = keeping.get(key)
    return typeof seconds === 'number' && seconds > 0 ? [{ id, seconds }] : []
  })
  await removeFromQueue(
    db,
    done.map(({ id }) => id),
  )
  await postponeGarbage(db, waiting)
}

function release({ db }: Collecting, ids: readonly string[]): Promise<void> {
  return postponeGarbage(
    db,
    ids.map((id) => ({ id, seconds: 0 })),
  )
}

/** @returns false when it is gone already, or something keeps it by now */
async function collectManifest(
  tx: Transaction,
  revoke: Revoke,
  { keeping }: Collecting,
  { id, digest, repositoryId, repository }: ReviewedManifest,
): Promise<boolean> {
  await waitBriefly(tx)
  if (!(await lockRepository(tx, repositoryId))) return false
  const fallbackTags = await listFallbackTags(tx, repositoryId, digest)
  await lockTags(tx, repositoryId, fallbackTags)
  if (!(await lockManifestAlone(tx, id))) return false
  // A statement of its own: it sees what was committed while the lock was waited for.
  const [judged] = await judge(tx, keeping, [id])
  if (judged === undefined || judged.keeping !== 0) return false
  await revoke({ repository, digest })
  await deleteGarbageManifest(tx, id)
  if (fallbackTags.length > 0) await deleteFallbackTags(tx, repositoryId, fallbackTags)
  return true
}

/** Takes repositories off the catalog that hold nothing any more that anybody sees. */
async function unlistEmptied(
  { db }: Collecting,
  collected: readonly ReviewedManifest[],
): Promise<void> {
  const seen = collected.filter(({ isDeleted }) => !isDeleted)
  for (const id of new Set(seen.map(({ repositoryId }) => repositoryId))) {
    await transaction(db, async (tx) => {
      await waitBriefly(tx)
      await lockRepositoryAlone(tx, id)
      await unlistIfEmpty(tx, id)
    })
  }
}
