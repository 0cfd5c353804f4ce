import { transaction } from '../../storage/metadata/database.ts'
import {
  deleteRetiredRepository,
  emptyRepository,
  forgetRepository,
  judgeRepository,
  waitBriefly,
} from '../../storage/metadata/garbage.ts'
import {
  postponeGarbage,
  type QueuedGarbage,
  removeFromQueue,
} from '../../storage/metadata/gc-queue.ts'
import { lockRepositoryAlone, type RepositoryId } from '../../storage/metadata/repositories.ts'
import type { Attempts } from './attempts.ts'
import type { Collecting } from './collecting.ts'
import { repositoryIdOf } from './keys.ts'

const BATCH = 100

/** Looks at deleted repositories, and deletes what those hold that cannot be restored any more. */
export async function collectRepositories(
  registry: Collecting,
  rows: readonly QueuedGarbage[],
  attempts: Attempts,
  signal?: AbortSignal,
): Promise<void> {
  for (const row of rows) {
    const { id } = row
    if (signal?.aborted === true) return
    await attempts.at([id], async () => {
      const keptSeconds = await collectRepository(registry, repositoryIdOf(row), signal)
      if (keptSeconds === undefined) await removeFromQueue(registry.db, [id])
      else await postponeGarbage(registry.db, [{ id, seconds: keptSeconds }])
    })
  }
}

/** @returns seconds after which to look again; undefined when it is gone, or was restored */
async function collectRepository(
  { db, keeping }: Collecting,
  id: RepositoryId,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  for (;;) {
    if (signal?.aborted === true) return 0
    const outcome = await transaction(db, async (tx) => {
      await waitBriefly(tx)
      await lockRepositoryAlone(tx, id)
      const judged = await judgeRepository(tx, id, keeping.undoSeconds)
      if (judged === undefined) return { isDone: true }
      if (judged.keptSeconds > 0) return { isDone: true, keptSeconds: judged.keptSeconds }
      await forgetRepository(tx, id)
      if ((await emptyRepository(tx, id, BATCH)) > 0) return { isDone: false }
      await deleteRetiredRepository(tx, id)
      return { isDone: true }
    })
    if (outcome.isDone) return outcome.keptSeconds
  }
}
