import { randomUUID } from 'node:crypto'
import type { DigestAlgorithm } from '../oci/digest.ts'
import { RegistryError } from '../oci/errors.ts'
import type { RepositoryName } from '../oci/reference.ts'
import {
  deleteUpload,
  expireUpload,
  findUpload,
  insertUpload,
  saveUpload,
  type UploadKey,
} from '../storage/metadata/uploads.ts'
import { append, type Chunk } from './append.ts'
import type { Registry } from './registry.ts'
import { inRepository, RepositoryGone } from './repositories.ts'
import { ClaimLost, withUploadLock } from './upload-locks.ts'

export { type Chunk, OffsetMismatch } from './append.ts'
export type { UploadKey }

export interface UploadStart {
  readonly owner: string | undefined
  /** The client's hint (spec, end-4c): what the bytes will be hashed with. */
  readonly algorithm: DigestAlgorithm
}

const NEW_SESSION = {
  offset: 0,
  tail: undefined,
  digest: undefined,
  hashState: undefined,
  contested: false,
  leftovers: false,
}

/** @returns the id of a new session, a UUID */
export async function startUpload(
  registry: Registry,
  repository: RepositoryName,
  { owner, algorithm }: UploadStart,
): Promise<string> {
  const { db, blobs, limits } = registry
  const id = randomUUID()
  const upload = {
    id,
    repository,
    owner,
    algorithm,
    state: blobs.startUpload(id),
    ttlSeconds: limits.uploadExpirySeconds,
    durable: blobs.needsDurableSession,
  }
  await inRepository(registry, repository, async (repositoryId) => {
    if (!(await insertUpload(db, repositoryId, upload))) throw new RepositoryGone()
    const session = { ...NEW_SESSION, ...upload, repositoryId }
    registry.uploadLocks.leave({ repository, id, owner }, session, upload.ttlSeconds)
  })
  return id
}

/**
 * @returns bytes received so far
 * @throws RegistryError BLOB_UPLOAD_UNKNOWN
 */
export async function getUploadOffset({ db }: Registry, key: UploadKey): Promise<number> {
  const session = await findUpload(db, key)
  if (session === undefined) throw new RegistryError('BLOB_UPLOAD_UNKNOWN', key.id)
  return session.offset
}

/**
 * Adds the chunk to the upload. When the body is cut off or anything else fails, the session is
 * what it was before, so that the client may send the same bytes again.
 *
 * @returns bytes received so far
 * @throws RegistryError BLOB_UPLOAD_UNKNOWN, SIZE_INVALID, and OffsetMismatch
 */
export async function appendToUpload(
  registry: Registry,
  key: UploadKey,
  chunk: Chunk,
): Promise<number> {
  return withUploadLock(registry.uploadLocks, key, async (lock) => {
    const { session } = lock
    const { algorithm } = session
    // Docker sends a blob in one request and names no range; who names one will send more.
    const expectsMore = chunk.first !== undefined || session.offset > 0
    const hash = await registry.uploadHashes.at(session, { algorithm, expectsMore })
    const upload = await append(registry, lock, chunk, { hash, expectsMore })
    await registry.faultPoint('upload received')
    const { writer } = lock
    const ttlSeconds = registry.limits.uploadExpirySeconds
    const progress = { ...upload, digest: hash?.digest(), hashState: hash?.save() }
    const saved = await saveUpload(registry.db, session.id, { ...progress, writer, ttlSeconds })
    if (!saved) throw new ClaimLost()
    registry.uploadLocks.leave(key, { ...session, ...progress }, ttlSeconds)
    if (hash !== undefined) registry.uploadHashes.keep(session.id, hash)
    await registry.faultPoint('upload saved')
    return upload.offset
  })
}

/** @throws RegistryError BLOB_UPLOAD_UNKNOWN */
export async function cancelUpload(registry: Registry, key: UploadKey): Promise<void> {
  const { blobs, db } = registry
  await withUploadLock(registry.uploadLocks, key, async ({ session, writer }) => {
    // From here on nobody can make a blob of the bytes, whoever has claimed the session since.
    if (!(await expireUpload(db, session.id, writer))) throw new ClaimLost()
    if (session.leftovers) await blobs.sweepUpload(session.state)
    await blobs.abortUpload(session.state)
    await deleteUpload(db, session.id)
    registry.uploadHashes.forget(session.id)
  })
}
