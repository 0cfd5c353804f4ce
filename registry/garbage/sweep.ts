import {
  type SweptPage,
  sweepBlobs,
  sweepManifests,
  sweepRepositories,
} from '../../storage/metadata/garbage.ts'
import {
  claimPeriodicWork,
  finishPeriodicWork,
  renewPeriodicWork,
} from '../../storage/metadata/periodic-work.ts'
import type { Registry } from '../registry.ts'

export interface SweepOptions {
  /** Since the last one ended, whichever process did it; 0: now, unless it is being done. */
  readonly everySeconds: number
  readonly signal?: AbortSignal
}

const NAME = 'sweep'
const CLAIM_SECONDS = 60
const PAGE = 5000

/**
 * Goes through everything, and queues what nothing seems to name and is not queued: what a restored
 * backup or a fault of ours left out. Collecting does not need it otherwise.
 *
 * @returns how many rows were added; undefined when it was not due, or somebody else does it
 */
export async function sweepGarbage(
  { db, uploadLocks }: Pick<Registry, 'db' | 'uploadLocks'>,
  { everySeconds, signal }: SweepOptions,
): Promise<number | undefined> {
  const claim = { name: NAME, process: uploadLocks.writer, claimSeconds: CLAIM_SECONDS }
  if ((await claimPeriodicWork(db, { ...claim, everySeconds })) === undefined) return undefined
  let queued = await sweepRepositories(db)
  const walk = async (first: string, sweep: (after: string) => Promise<SweptPage>) => {
    for (let after = first; ; ) {
      if (signal?.aborted === true) return false
      const page = await sweep(after)
      queued += page.queued
      if (page.last === null) return true
      after = page.last
      // Somebody else goes on when this one took too long.
      if (!(await renewPeriodicWork(db, { ...claim, state: {} }))) return false
    }
  }
  const isWhole =
    (await walk('0', (after) => sweepManifests(db, { after, limit: PAGE }))) &&
    (await walk('', (after) => sweepBlobs(db, { after, limit: PAGE })))
  if (isWhole) await finishPeriodicWork(db, claim)
  return queued
}
