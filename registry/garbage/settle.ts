import type { Queryable } from '../../storage/metadata/database.ts'
import {
  postponeGarbage,
  type QueuedGarbage,
  removeFromQueue,
} from '../../storage/metadata/gc-queue.ts'
import type { Keeping } from '../../storage/metadata/liveness.ts'

/**
 * Rows of what is named, or gone, are done with; those of what is kept for a while wait until that is
 * over.
 *
 * @param judged by the keys of rows
 * @returns the rows of what may go
 */
export async function settle(
  db: Queryable,
  rows: readonly QueuedGarbage[],
  judged: ReadonlyMap<string, Keeping>,
): Promise<QueuedGarbage[]> {
  const kept = (row: QueuedGarbage) => judged.get(row.key) ?? 'named'
  await removeFromQueue(db, idsOf(rows.filter((row) => kept(row) === 'named')))
  await postponeGarbage(
    db,
    rows.flatMap((row) => {
      const seconds = kept(row)
      return seconds === 'named' || seconds === 0 ? [] : [{ id: row.id, seconds }]
    }),
  )
  return rows.filter((row) => kept(row) === 0)
}

/** What was kept after all may be kept for some time only: it is looked at once more. */
export function release(db: Queryable, ids: readonly string[]): Promise<void> {
  return postponeGarbage(
    db,
    ids.map((id) => ({ id, seconds: 0 })),
  )
}

export function idsOf(rows: readonly QueuedGarbage[]): string[] {
  return rows.map(({ id }) => id)
}
