import { type Transaction, transaction } from '../../storage/metadata/database.ts'
import { waitBriefly } from '../../storage/metadata/garbage.ts'
import {
  postponeGarbage,
  type QueuedGarbage,
  removeFromQueue,
} from '../../storage/metadata/gc-queue.ts'
import {
  lockRepositoryAlone,
  type RepositoryId,
  unlistIfEmpty,
} from '../../storage/metadata/repositories.ts'
import {
  deleteRetiredRepository,
  emptyRepository,
  findRepositoryState,
  forgetRepository,
  judgeRepository,
} from '../../storage/metadata/retired-repositories.ts'
import type { Attempts } from './attempts.ts'
import type { Collecting } from './collecting.ts'
import { repositoryIdOf } from './keys.ts'
import { idsOf } from './settle.ts'

const BATCH = 100

/**
 * Looks at repositories that are queued: deletes what deleted ones hold that cannot be restored any more,
 * and takes others off the catalog that hold nothing that anybody sees.
 */
export async function collectRepositories(
  registry: Collecting,
  rows: readonly QueuedGarbage[],
  attempts: Attempts,
  signal?: AbortSignal,
): Promise<void> {
  for (const id of new Set(rows.map(repositoryIdOf))) {
    if (signal?.aborted === true) return
    const ids = idsOf(rows.filter((row) => repositoryIdOf(row) === id))
    await attempts.at(ids, async () => {
      const seconds = await collectRepository(registry, id, signal)
      if (seconds === undefined) return removeFromQueue(registry.db, ids)
      const waiting = ids.map((each) => ({ id: each, seconds }))
      return postponeGarbage(registry.db, waiting)
    })
  }
}

/** @returns seconds after which to look again; undefined when there is nothing more to be done */
async function collectRepository(
  registry: Collecting,
  id: RepositoryId,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  const { db } = registry
  // Asked before it is locked, as pushes hold it: most still hold something.
  const state = await findRepositoryState(db, id)
  if (state === 'gone' || state === 'in use') return undefined
  for (;;) {
    if (signal?.aborted === true) return 0
    const outcome = await transaction(db, (tx) => collectSome(tx, registry, id))
    if (outcome !== 'more') return outcome
  }
}

/** @returns 'more' when there is more to be done, or as {@link collectRepository} */
async function collectSome(
  tx: Transaction,
  { keeping }: Collecting,
  id: RepositoryId,
): Promise<number | 'more' | undefined> {
  await waitBriefly(tx)
  await lockRepositoryAlone(tx, id)
  const judged = await judgeRepository(tx, id, keeping.undoSeconds)
  if (judged === undefined) {
    await unlistIfEmpty(tx, id)
    return undefined
  }
  if (judged.keptSeconds > 0) return judged.keptSeconds
  await forgetRepository(tx, id)
  if ((await emptyRepository(tx, id, BATCH)) > 0) return 'more'
  await deleteRetiredRepository(tx, id)
  return undefined
}
