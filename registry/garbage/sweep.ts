import type { Queryable } from '../../storage/metadata/database.ts'
import {
  type SweptPage,
  sweepBlobs,
  sweepManifests,
  sweepRepositories,
} from '../../storage/metadata/garbage-sweep.ts'
import { withClaimedWork } from '../claimed-work.ts'
import type { Registry } from '../registry.ts'

export interface SweepOptions {
  /** Since the last one ended, whichever process did it; 0: now, unless it is being done. */
  readonly everySeconds: number
  readonly signal: AbortSignal
}

const PAGE = 5000

/**
 * Goes through everything, and queues what nothing seems to name and is not queued: what a restored
 * backup or a fault of ours left out. Collecting does not need it otherwise.
 *
 * @returns how many rows were added; undefined when it was not due, or somebody else does it
 */
export async function sweepGarbage(
  registry: Pick<Registry, 'db' | 'log' | 'uploadLocks'>,
  options: SweepOptions,
): Promise<number | undefined> {
  const { db } = registry
  let queued: number | undefined
  await withClaimedWork(registry, { name: 'sweep', ...options }, async ({ signal }) => {
    queued = await sweepRepositories(db)
    queued += await walk(db, '0', sweepManifests, signal)
    queued += await walk(db, '', sweepBlobs, signal)
  })
  return queued
}

type Sweep = (db: Queryable, page: { after: string; limit: number }) => Promise<SweptPage>

async function walk(
  db: Queryable,
  first: string,
  sweep: Sweep,
  signal: AbortSignal,
): Promise<number> {
  let queued = 0
  for (let after: string | null = first; after !== null; ) {
    signal.throwIfAborted()
    const page: SweptPage = await sweep(db, { after, limit: PAGE })
    queued += page.queued
    after = page.last
  }
  return queued
}
