import { createHash } from 'node:crypto'
import { splitDigest, toDigest } from '../../oci/digest.ts'
import { BlobMissing, StorageUnavailable } from '../../storage/blob/blob-store.ts'
import type { StoredBlob } from '../../storage/metadata/blobs.ts'
import { sampleLocations } from '../../storage/metadata/integrity.ts'
import type { Registry } from '../registry.ts'
import type { Throttle } from './throttle.ts'

type Stores = Pick<Registry, 'db' | 'blobs'>

export interface VerifyOptions {
  readonly throttle: Throttle
  readonly signal?: AbortSignal | undefined
}

/**
 * Reads the bytes of a blob and compares their size and digest with its row.
 *
 * @returns what is wrong with them, for a person; undefined when nothing is
 * @throws what kept them from being read and says nothing about them, StorageUnavailable for
 *   instance, or the reason of the signal
 */
export async function verifyBlob(
  stores: Stores,
  { digest, sizeBytes, location }: StoredBlob,
  { throttle, signal }: VerifyOptions,
): Promise<string | undefined> {
  const { algorithm } = splitDigest(digest)
  const hash = createHash(algorithm)
  let bytes = 0
  try {
    for await (const chunk of stores.blobs.read(location, undefined, signal)) {
      hash.update(chunk)
      bytes += chunk.length
      await throttle.take(chunk.length, signal)
    }
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof BlobMissing) {
      await requireOthers(stores)
      return GONE
    }
    if (isUnreadable(error)) return 'the disk cannot read the bytes'
    throw error
  }
  if (bytes !== sizeBytes) return otherSize(bytes, sizeBytes)
  const found = toDigest(algorithm, hash)
  return found === digest ? undefined : `the content is ${found}`
}

export const GONE = 'the bytes are gone'

export function otherSize(found: number, expected: number): string {
  return `${found} bytes instead of ${expected}`
}

/**
 * For a blob that has no bytes, or cannot be read: whether it is about the blob. A volume that is not
 * mounted, or a bucket that was removed or is another one, has none of any blob.
 *
 * @throws StorageUnavailable when nothing can be stored, or none of some others has bytes either
 */
export async function requireOthers({ db, blobs }: Stores): Promise<void> {
  await requireStorage({ blobs })
  const locations = await sampleLocations(db)
  if (locations.length < 2) return // there is no other
  for (const location of locations) if ((await blobs.size(location)) !== undefined) return
  throw new StorageUnavailable('no blob is there: the storage is empty, or another one')
}

/** @throws StorageUnavailable when nothing can be stored and read */
export async function requireStorage({ blobs }: Pick<Registry, 'blobs'>): Promise<void> {
  try {
    await blobs.probe()
  } catch (cause) {
    if (cause instanceof StorageUnavailable) throw cause
    throw new StorageUnavailable('nothing can be stored and read', { cause })
  }
}

/** A sector of the disk, for instance, that is damaged. */
function isUnreadable(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EIO'
}
