/*
 * The collector. Any number of processes run it beside pushes and pulls. It claims a few rows of the
 * queue in a statement of its own, then looks at what they name, and deletes what nothing keeps: locks
 * are taken in the order of pushes, after the claim is committed, and each for a few statements.
 */
import type { Freed } from '../../storage/metadata/garbage.ts'
import { recordFreed } from '../../storage/metadata/garbage.ts'
import { claimDueGarbage, type GarbageKind } from '../../storage/metadata/gc-queue.ts'
import { Attempts } from './attempts.ts'
import { collectBlobs } from './collect-blobs.ts'
import { collectManifests } from './collect-manifests.ts'
import { collectRepositories } from './collect-repositories.ts'
import type { Collecting } from './collecting.ts'

export interface CollectOptions {
  /** Ends it soon; what is begun goes on later. */
  readonly signal?: AbortSignal
  /** Rows that are looked at, at most. */
  readonly limit?: number
}

/** Rows that are claimed at a time, and for how long; what takes longer may be done twice, to no harm. */
const BATCH = 100
const CLAIM_SECONDS = 60

/** Deletes garbage that is due. @returns what was freed */
export async function collectGarbage(
  registry: Collecting,
  { signal, limit = Number.POSITIVE_INFINITY }: CollectOptions = {},
): Promise<Freed> {
  const attempts = new Attempts(registry)
  let freed: Freed = { manifests: 0, blobs: 0, bytes: 0 }
  for (let looked = 0; looked < limit; ) {
    if (signal?.aborted === true) break
    const most = { limit: Math.min(BATCH, limit - looked), claimSeconds: CLAIM_SECONDS }
    const rows = await claimDueGarbage(registry.db, most)
    if (rows.length === 0) break
    looked += rows.length
    await registry.faultPoint('garbage claimed')
    const of = (kind: GarbageKind) => rows.filter((row) => row.kind === kind)
    await collectRepositories(registry, of('repository'), attempts, signal)
    const manifests = await collectManifests(registry, of('manifest'), attempts)
    const { blobs, bytes } = await collectBlobs(registry, of('blob'), attempts, signal)
    const some = { manifests, blobs, bytes }
    if (manifests > 0 || blobs > 0) await recordFreed(registry.db, some)
    freed = add(freed, some)
  }
  return freed
}

export function add(one: Freed, other: Freed): Freed {
  return {
    manifests: one.manifests + other.manifests,
    blobs: one.blobs + other.blobs,
    bytes: one.bytes + other.bytes,
  }
}
