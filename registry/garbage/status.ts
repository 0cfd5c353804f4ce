import { type Freed, findDeletingState, findFreed } from '../../storage/metadata/garbage.ts'
import { findQueueState, type QueueState } from '../../storage/metadata/gc-queue.ts'
import type { Registry } from '../registry.ts'

export type { QueueState }

export interface GarbageStatus {
  /** What waits to be looked at, by kind; kinds of which nothing does are left out. */
  readonly queue: readonly QueueState[]
  /** Blobs whose bytes are being deleted. */
  readonly deleting: { readonly blobs: number; readonly bytes: number }
  readonly freedToday: Freed
  /** In the last 30 days. */
  readonly freedLately: Freed
}

const LATELY_DAYS = 30

/** How collecting is doing. Its work grows with the garbage that waits, not with the registry. */
export async function getGarbageStatus({ db }: Pick<Registry, 'db'>): Promise<GarbageStatus> {
  const [queue, deleting, freedToday, freedLately] = await Promise.all([
    findQueueState(db),
    findDeletingState(db),
    findFreed(db, 1),
    findFreed(db, LATELY_DAYS),
  ])
  return { queue, deleting, freedToday, freedLately }
}
