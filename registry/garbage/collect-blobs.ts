import type { Digest } from '../../oci/digest.ts'
import { lockBlobsAlone } from '../../storage/metadata/blob-removal.ts'
import type { StoredBlob } from '../../storage/metadata/blobs.ts'
import type { Transaction } from '../../storage/metadata/database.ts'
import { markGarbageBlobs, waitBriefly } from '../../storage/metadata/garbage.ts'
import type { QueuedGarbage } from '../../storage/metadata/gc-queue.ts'
import { judgeBlobs, type Keeping } from '../../storage/metadata/liveness.ts'
import { removeBlobs } from '../blob-removal.ts'
import { type Revoke, revokingInTurn } from '../revocation.ts'
import type { Attempts } from './attempts.ts'
import type { Collecting } from './collecting.ts'
import { digestOf } from './keys.ts'
import { idsOf, release, settle } from './settle.ts'

/** Blobs that are locked at a time. */
const BATCH = 20
/** Links that are told one by one. */
const MANY_LINKS = 200

/** What went. */
export interface CollectedBlobs {
  readonly blobs: number
  readonly bytes: number
}

/** Looks at blobs that are queued, and deletes those that nothing keeps. */
export async function collectBlobs(
  registry: Collecting,
  rows: readonly QueuedGarbage[],
  attempts: Attempts,
  signal?: AbortSignal,
): Promise<CollectedBlobs> {
  const judged = await attempts.inHalves(rows, (some) => findGarbage(registry, some))
  await registry.faultPoint('blob reviewed')
  const garbage = judged.flat().toSorted((one, other) => (one.key < other.key ? -1 : 1))
  const marked = await revokingInTurn(registry, async (commit) => {
    const all: StoredBlob[] = []
    for (let first = 0; first < garbage.length; first += BATCH) {
      const batch = garbage.slice(first, first + BATCH)
      await attempts.inHalves(batch, async (some) => {
        const digests = [...new Set(some.map(digestOf))]
        const blobs = await commit((tx, revoke) => markBlobs(tx, revoke, registry, digests))
        all.push(...blobs)
        const gone = new Set(blobs.map(({ digest }) => digest))
        const left = some.filter((row) => !gone.has(digestOf(row)))
        await release(registry.db, idsOf(left))
      })
    }
    return all
  })
  const removed = await removeBlobs(registry, marked, signal)
  return {
    blobs: removed.length,
    bytes: removed.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0),
  }
}

/** Settles the rows of what is kept. @returns the others */
async function findGarbage(
  { db, keeping }: Collecting,
  rows: readonly QueuedGarbage[],
): Promise<QueuedGarbage[]> {
  const digests = [...new Set(rows.map(digestOf))]
  const judged = await judgeBlobs(db, digests, keeping)
  const found = new Map<string, Keeping>(judged.map((each) => [each.digest, each.keeping]))
  return settle(db, rows, found)
}

/** @returns those that are garbage now that they are locked */
async function markBlobs(
  tx: Transaction,
  revoke: Revoke,
  { keeping }: Collecting,
  digests: readonly Digest[],
): Promise<readonly StoredBlob[]> {
  await waitBriefly(tx)
  await lockBlobsAlone(tx, digests)
  // A statement of its own: it sees the manifests that were pushed while the locks were waited for.
  const judged = await judgeBlobs(tx, digests, keeping)
  const garbage = judged.filter((each) => each.keeping === 0).map(({ digest }) => digest)
  if (garbage.length === 0) return []
  const { blobs, links } = await markGarbageBlobs(tx, garbage)
  // Of many it is told in one word: all that is remembered is then forgotten.
  if (links.length > MANY_LINKS) await revoke({})
  else await Promise.all(links.map(revoke))
  return blobs
}
