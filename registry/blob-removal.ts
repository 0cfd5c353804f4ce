/*
 * How the bytes of a blob go: the row says `deleting`, in the transaction that took its last link,
 * and from then on the blob is absent; the bytes are deleted; the row is. Whatever a crash leaves
 * of it goes on later. An upload of the same digest may take the row over at any time, and makes
 * it live again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pLimit from 'p-limit'
import { StorageUnavailable } from '../storage/blob/blob-store.ts'
import { deleteBlob, findBlobState, listDeletingBlobs } from '../storage/metadata/blob-removal.ts'
import { lockDigest, type StoredBlob } from '../storage/metadata/blobs.ts'
import { SETTLE_MS } from '../storage/metadata/changes.ts'
import { type Queryable, type Transaction, transaction } from '../storage/metadata/database.ts'
import type { Registry } from './registry.ts'

type Removing = Pick<Registry, 'db' | 'blobs' | 'log' | 'faultPoint'>

/**
 * Deletes the bytes of blobs that were marked, which no process may go by any more. One whose
 * bytes cannot be deleted now is left for {@link finishRemovals}, and so is what is left when
 * `signal` aborts.
 *
 * @returns those that went
 */
export async function removeBlobs(
  registry: Removing,
  marked: readonly StoredBlob[],
  signal?: AbortSignal,
): Promise<readonly StoredBlob[]> {
  const limit = pLimit(AT_ONCE)
  const removed: StoredBlob[] = []
  let isAway = false
  const remove = async (blob: StoredBlob) => {
    if (isAway || signal?.aborted === true) return
    try {
      if (await removeBlob(registry, blob)) removed.push(blob)
      await registry.faultPoint('blob removed')
    } catch (error) {
      registry.log.warn({ err: error, digest: blob.digest }, 'blob not deleted')
      if (error instanceof StorageUnavailable) isAway = true
    }
  }
  await Promise.all(marked.map((blob) => limit(() => remove(blob))))
  return removed
}

/** As many connections to the database as that are in use meanwhile. */
const AT_ONCE = 4

/** @returns false when an upload took the blob over, or somebody else removed it */
async function removeBlob(registry: Removing, blob: StoredBlob): Promise<boolean> {
  const { db, blobs, faultPoint } = registry
  await faultPoint('blob unlinked')
  if (blobs.reusesLocations) return transaction(db, (tx) => removeLocked(registry, tx, blob))
  // Nobody ever puts anything there again, so nobody waits for a storage far away.
  if ((await stateOf(db, blob)) === 'kept') return false
  await blobs.delete(blob.location)
  await faultPoint('blob bytes deleted')
  return transaction(db, async (tx) => {
    await lockDigest(tx, blob.digest)
    if ((await stateOf(tx, blob)) !== 'deleting') return false
    await deleteBlob(tx, blob.digest)
    return true
  })
}

/** A file lies under its digest, and an upload of the same content may be about to put it there. */
async function removeLocked(
  { blobs, faultPoint }: Removing,
  tx: Transaction,
  blob: StoredBlob,
): Promise<boolean> {
  await lockDigest(tx, blob.digest)
  const state = await stateOf(tx, blob)
  if (state === 'kept') return false
  await blobs.delete(blob.location)
  await faultPoint('blob bytes deleted')
  if (state === 'abandoned') return false
  await deleteBlob(tx, blob.digest)
  return true
}

/** An upload that took the blob over, and put its bytes elsewhere, abandoned those at the location. */
async function stateOf(
  db: Queryable,
  { digest, location }: StoredBlob,
): Promise<'kept' | 'deleting' | 'abandoned'> {
  const blob = await findBlobState(db, digest)
  if (blob !== undefined && blob.location !== location) return 'abandoned'
  return blob?.isDeleting === true ? 'deleting' : 'kept'
}

export interface FinishOptions {
  /** Blobs, at most. */
  readonly limit: number
  /** How long to wait before bytes go, as another process may have marked them only now. */
  readonly settleMs?: number
  readonly signal?: AbortSignal
}

/**
 * Goes on with removals that a crash or the storage cut off, and with those of commands.
 *
 * @returns how many blobs went
 * @throws when the signal aborts the wait
 */
export async function finishRemovals(
  registry: Removing,
  { limit, settleMs = SETTLE_MS, signal }: FinishOptions,
): Promise<number> {
  let after = ''
  let removed = 0
  let left = limit
  while (left > 0) {
    const page = { after, limit: Math.min(left, PAGE) }
    const marked = await listDeletingBlobs(registry.db, page)
    const last = marked.at(-1)
    if (last === undefined) break
    // By then no process remembers them.
    await sleep(settleMs, undefined, signal === undefined ? {} : { signal })
    removed += (await removeBlobs(registry, marked, signal)).length
    left -= marked.length
    after = last.digest
  }
  return removed
}

const PAGE = 1000
