/*
 * Bytes that no row names: of pushes whose process died between storage and database, and on S3 of
 * blobs that were healed, which lie under another key then. What an upload may be about to commit is
 * never among them, however old it is: its session is there, or its digest is locked.
 */
import type {
  BlobStore,
  ReceivedBytes,
  StoredBytes,
  StoredItem,
} from '../../storage/blob/blob-store.ts'
import { findBlobState } from '../../storage/metadata/blob-removal.ts'
import { lockDigest } from '../../storage/metadata/blobs.ts'
import { transaction } from '../../storage/metadata/database.ts'
import {
  type BroughtBytes,
  findDatabaseBirth,
  findLocations,
  findNamedLocations,
  findSessions,
} from '../../storage/metadata/integrity.ts'
import type { Registry } from '../registry.ts'

type Stores = Pick<Registry, 'db' | 'blobs'>

/** Something stored, and what is known of it. */
export interface Looked {
  readonly item: StoredItem
  /**
   * A row names it; nothing does; or nothing does, and it may be another's: older than the
   * database, or in a folder of registry:2.
   */
  readonly is: 'named' | 'nobodys' | 'foreign'
}

export interface LookOptions {
  /** What is younger is left out. */
  readonly olderThanSeconds: number
  readonly signal?: AbortSignal | undefined
}

/** Items that are looked up at a time. */
const BATCH = 10_000

/** Goes through everything that is stored. @throws when there is no storage, or the signal's reason */
export async function* lookAtStored(
  stores: Stores,
  { olderThanSeconds, signal }: LookOptions,
): AsyncGenerator<Looked> {
  const birth = await findDatabaseBirth(stores.db)
  const youngestMs = Date.now() - olderThanSeconds * 1000
  for await (const items of batchesOf(stores.blobs, youngestMs)) {
    signal?.throwIfAborted()
    const named = await findNamed(stores, items)
    for (const item of items) {
      if (named.has(item)) yield { item, is: 'named' }
      else yield { item, is: isForeign(item, birth) ? 'foreign' : 'nobodys' }
    }
  }
}

function isForeign(item: StoredItem, birth: Date): boolean {
  return item.modifiedAt < birth || (item.kind === 'blob' && item.isForeign === true)
}

async function* batchesOf(blobs: BlobStore, youngestMs: number): AsyncGenerator<StoredItem[]> {
  let batch: StoredItem[] = []
  for await (const item of blobs.list()) {
    if (item.modifiedAt.getTime() > youngestMs) continue
    batch.push(item)
    if (batch.length < BATCH) continue
    yield batch
    batch = []
  }
  yield batch
}

async function findNamed(
  { db }: Pick<Registry, 'db'>,
  items: readonly StoredItem[],
): Promise<Set<StoredItem>> {
  const bytes = items.filter((item) => item.kind === 'blob')
  const received = items.filter((item) => item.kind === 'upload')
  const brought = bytes.filter(isBrought)
  const digests = bytes.flatMap(({ digest }) => digest ?? [])
  const [locations, named, sessions] = await Promise.all([
    digests.length === 0 ? new Map<string, string>() : findLocations(db, digests),
    brought.length === 0 ? new Set<string>() : findNamedLocations(db, brought),
    received.length === 0 ? new Set<string>() : findSessions(db, received.map(sessionOf)),
  ])
  const isNamed = (item: StoredItem) => {
    if (item.kind === 'upload') return sessions.has(item.session)
    if (item.digest !== undefined) return locations.get(item.digest) === item.location
    return named.has(item.location)
  }
  return new Set(items.filter(isNamed))
}

function sessionOf({ session }: ReceivedBytes): string {
  return session
}

function isBrought(item: StoredBytes): item is StoredBytes & BroughtBytes {
  return item.digest === undefined && item.session !== undefined
}

/**
 * Removes what was found to be nobody's, if it still is.
 *
 * @returns false when it is somebody's now
 */
export async function removeStored(stores: Stores, item: StoredItem): Promise<boolean> {
  if (item.kind === 'blob' && item.digest !== undefined) {
    return removeUnderLock(stores, { ...item, digest: item.digest })
  }
  if ((await findNamed(stores, [item])).has(item)) return false
  // Neither its session nor its row comes back.
  if (item.kind === 'upload') await stores.blobs.removeReceived(item)
  else await stores.blobs.delete(item.location)
  return true
}

/** Uploads of the same content put it there under the same lock, and commit before they let go. */
function removeUnderLock(
  { db, blobs }: Stores,
  { digest, location }: Required<Pick<StoredBytes, 'digest' | 'location'>>,
): Promise<boolean> {
  return transaction(db, async (tx) => {
    await lockDigest(tx, digest)
    if ((await findBlobState(tx, digest))?.location === location) return false
    await blobs.delete(location)
    return true
  })
}
