import type { StoredItem } from '../../storage/blob/blob-store.ts'
import { withClaimedWork } from '../claimed-work.ts'
import type { Registry } from '../registry.ts'
import { type LookOptions, lookAtStored, removeStored } from './stored-bytes.ts'

/** Younger ones may be what somebody is at work on, and are left to the next sweep. */
export const ORPHAN_SECONDS = 86_400

export interface Swept {
  readonly blobs: number
  readonly uploads: number
  /** As far as the storage tells. */
  readonly bytes: number
}

/** What is removed in one sweep, at most; the rest goes with the next. */
const MOST = 10_000
/** Crashes leave a few. More of them than that, and than a tenth of all, is a mistake of somebody's. */
const FEW = 100
const SHARE = 0.1

/**
 * Removes bytes that no row names. Nothing is removed when there are so many of them that the
 * database must be another one than that of the storage, or an old copy of it.
 *
 * @throws when the storage or the database cannot be asked, or the signal's reason
 */
export async function sweepOrphans(registry: Registry, options: LookOptions): Promise<Swept> {
  const { log } = registry
  const orphans: StoredItem[] = []
  const counts = { named: 0, nobodys: 0, foreign: 0 }
  for await (const { item, is } of lookAtStored(registry, options)) {
    if (item.kind === 'blob') counts[is]++
    if (is === 'nobodys' && orphans.length < MOST) orphans.push(item)
  }
  if (counts.foreign > 0) log.warn(counts, 'the storage holds what is not of this database')
  if (counts.nobodys > Math.max(FEW, counts.named * SHARE)) {
    log.error(counts, 'bytes that no row names are left alone: there are too many of them')
    return { blobs: 0, uploads: 0, bytes: 0 }
  }
  return remove(registry, orphans, options.signal)
}

async function remove(
  registry: Registry,
  orphans: readonly StoredItem[],
  signal: AbortSignal | undefined,
): Promise<Swept> {
  let [blobs, uploads, bytes] = [0, 0, 0]
  for (const item of orphans) {
    signal?.throwIfAborted()
    if (!(await removeStored(registry, item))) continue
    if (item.kind === 'blob') blobs++
    else uploads++
    bytes += item.sizeBytes ?? 0
  }
  return { blobs, uploads, bytes }
}

/** The same in the background: one process at a time, every so often. */
export async function sweepOrphansWhenDue(
  registry: Registry,
  everySeconds: number,
  signal: AbortSignal,
): Promise<void> {
  await withClaimedWork(registry, { name: 'orphans', everySeconds, signal }, async (work) => {
    const options = { olderThanSeconds: ORPHAN_SECONDS, signal: work.signal }
    const swept = await sweepOrphans(registry, options)
    if (swept.blobs + swept.uploads > 0) registry.log.info(swept, 'bytes that no row names removed')
  })
}
