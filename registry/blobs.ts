import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/errors.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { ByteRange } from '../storage/blob/blob-store.ts'
import {
  findBlob,
  findManifestOfBlob,
  linkBlobFrom,
  listRepositoriesOfBlob,
  promiseBlob as promiseBlobRow,
  type StoredBlob,
  unlinkBlob,
} from '../storage/metadata/blobs.ts'
import type { Registry } from './registry.ts'
import { inRepository, requireRepository } from './repositories.ts'
import { revoking } from './revocation.ts'

export type { ByteRange, StoredBlob }

/** Undefined when the repository does not serve it. */
export function lookUpBlob({ db, cache }: Registry, repository: RepositoryName, digest: Digest) {
  return cache.blob(repository, digest, () => findBlob(db, repository, digest))
}

/** @throws RegistryError BLOB_UNKNOWN when the repository does not serve it */
export async function statBlob(
  registry: Registry,
  repository: RepositoryName,
  digest: Digest,
): Promise<StoredBlob> {
  const blob = await lookUpBlob(registry, repository, digest)
  if (blob === undefined) throw new RegistryError('BLOB_UNKNOWN', digest)
  return blob
}

/**
 * The same for somebody who may be about to name it in a manifest instead of pushing it: it stays at
 * least for the grace period from now on.
 *
 * @throws RegistryError BLOB_UNKNOWN
 */
export async function promiseBlob(
  registry: Registry,
  repository: RepositoryName,
  digest: Digest,
): Promise<StoredBlob> {
  const blob = await statBlob(registry, repository, digest)
  if (await keepsBlob(registry, repository, digest)) return blob
  registry.cache.forgetBlob(repository, digest)
  throw new RegistryError('BLOB_UNKNOWN', digest)
}

/** Whether it is there to stay: a collector that came first leaves nothing to be promised. */
function keepsBlob({ db, promises }: Registry, repository: RepositoryName, digest: Digest) {
  return promises.keepBlob(digest, () => promiseBlobRow(db, repository, digest))
}

export interface ReadOptions {
  readonly range?: ByteRange
  /** Aborted when nobody waits for the bytes any more. */
  readonly signal?: AbortSignal
}

/**
 * The bytes of a blob that {@link statBlob} found, under the terms of `BlobStore.read`: as many as
 * were recorded, or an error.
 */
export function readBlob(
  { blobs }: Registry,
  blob: StoredBlob,
  { range = { first: 0, last: blob.sizeBytes - 1 }, signal }: ReadOptions = {},
): AsyncIterable<Uint8Array> {
  return blobs.read(blob.location, range, signal)
}

/**
 * A URL by which a client fetches the whole blob or ranges of it past this server; undefined
 * when it is to be served from here.
 */
export async function blobUrl(
  { blobs }: Registry,
  { location }: StoredBlob,
  contentType: string,
): Promise<string | undefined> {
  return blobs.presign?.(location, contentType)
}

/** The file that a blob is, by its path below the folder of the storage; undefined where it is none. */
export function blobFile({ blobs }: Registry, { location }: StoredBlob): string | undefined {
  return blobs.filePath?.(location)
}

export interface Mount {
  readonly digest: Digest
  /** Undefined: any repository that may be read (spec: "automatic content discovery"). */
  readonly from: RepositoryName | undefined
  readonly mayPull: (from: RepositoryName) => boolean
}

/** So many repositories are asked for a blob whose mount names none. */
const MOUNT_CANDIDATES = 100

/**
 * Lets `repository` serve a blob of another repository, without a byte sent.
 *
 * @returns false when it must be uploaded: the source lacks it, or may not be read. The two
 *   cannot be told apart, or knowing a digest would be enough to learn who has it.
 */
export async function mountBlob(
  registry: Registry,
  repository: RepositoryName,
  { digest, from, mayPull }: Mount,
): Promise<boolean> {
  const source = from ?? (await findSource(registry, digest, mayPull))
  if (source === undefined || !mayPull(source)) return false
  // Not in one statement with the link, which many make at once of a layer that all images have: each
  // would wait for the commits of all before it.
  if (!(await keepsBlob(registry, source, digest))) return false
  const sizeBytes = await inRepository(registry, repository, (id) =>
    linkBlobFrom(registry.db, source, { id, name: repository }, digest),
  )
  return sizeBytes !== undefined
}

async function findSource(
  { db }: Registry,
  digest: Digest,
  mayPull: (from: RepositoryName) => boolean,
): Promise<RepositoryName | undefined> {
  const candidates = await listRepositoriesOfBlob(db, digest, MOUNT_CANDIDATES)
  return candidates.find(mayPull)
}

/**
 * Makes the repository serve the blob no longer.
 *
 * @throws RegistryError BLOB_UNKNOWN, and UNSUPPORTED while a manifest of the repository needs it
 */
export async function deleteBlob(
  registry: Registry,
  repository: RepositoryName,
  digest: Digest,
): Promise<void> {
  await statBlob(registry, repository, digest)
  const id = await requireRepository(registry, repository)
  const deleted = await revoking(registry, async (tx, revoke) => {
    await revoke({ repository, digest })
    const unlinked = await unlinkBlob(tx, id, digest)
    // Asked after the delete, which waits for a manifest that is being pushed right now.
    const needed = await findManifestOfBlob(tx, id, digest)
    if (needed === undefined) return unlinked
    throw new RegistryError('UNSUPPORTED', `manifest ${needed} needs this blob; delete it first`)
  })
  if (!deleted) throw new RegistryError('BLOB_UNKNOWN', digest)
}
