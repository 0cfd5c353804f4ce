import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import { type Digest, type DigestAlgorithm, splitDigest } from '../oci/digest.ts'
import { RegistryError } from '../oci/errors.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { type Upload, UploadLost } from '../storage/blob/blob-store.ts'
import { findBlob } from '../storage/metadata/blobs.ts'
import {
  deleteUpload,
  findUpload,
  insertUpload,
  listExpiredUploads,
  saveUpload,
  type UploadKey,
} from '../storage/metadata/uploads.ts'
import { publishUpload } from './publish.ts'
import { receive } from './receive.ts'
import type { Registry } from './registry.ts'
import { inRepository } from './repositories.ts'
import { RunningHash } from './upload-hashes.ts'
import { ClaimLost, type UploadLock } from './upload-locks.ts'

export type { UploadKey }

export interface UploadStart {
  readonly owner: string | undefined
  /** The client's hint (spec, end-4c): what the bytes will be hashed with. */
  readonly algorithm: DigestAlgorithm
}

/** @returns the id of a new session, a UUID */
export async function startUpload(
  registry: Registry,
  repository: RepositoryName,
  { owner, algorithm }: UploadStart,
): Promise<string> {
  const { db, blobs, limits } = registry
  const id = randomUUID()
  const state = blobs.startUpload(id)
  const ttlSeconds = limits.uploadExpirySeconds
  await inRepository(registry, repository, (repositoryId) =>
    insertUpload(db, repositoryId, { id, owner, algorithm, state, ttlSeconds }),
  )
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

/** What a request says of the bytes it carries; undefined fields are not checked. */
export interface Chunk {
  readonly body: Readable
  /** The offset the client believes to be at; without it the bytes go to the end. */
  readonly first: number | undefined
  /** How many bytes it announced by a range. */
  readonly length: number | undefined
}

/** The chunk begins elsewhere than the upload ends. The session is as it was. */
export class OffsetMismatch extends RegistryError {
  readonly offset: number

  constructor(offset: number) {
    super('BLOB_UPLOAD_INVALID', `the next byte is number ${offset}`, { status: 416 })
    this.offset = offset
  }
}

/**
 * Adds the chunk to the upload. When the body is cut off or anything else fails, the session is
 * what it was before, so that the client may send the same bytes again.
 *
 * @returns bytes received so far
 * @throws RegistryError BLOB_UPLOAD_UNKNOWN, SIZE_INVALID, and {@link OffsetMismatch}
 */
export async function appendToUpload(
  registry: Registry,
  key: UploadKey,
  chunk: Chunk,
): Promise<number> {
  return withLock(registry, key, async (lock) => {
    const { session } = lock
    const hash = registry.uploadHashes.at(session.id, session.offset, session.algorithm)
    const upload = await append(registry, lock, chunk, { hash })
    await registry.faultPoint('upload received')
    const saved = await saveUpload(registry.db, session.id, {
      ...upload,
      digest: hash?.digest(),
      writer: lock.writer,
      ttlSeconds: registry.limits.uploadExpirySeconds,
    })
    if (!saved) throw new RegistryError('UNAVAILABLE', 'the claim on this upload was lost')
    if (hash !== undefined) registry.uploadHashes.keep(session.id, hash)
    await registry.faultPoint('upload saved')
    return upload.offset
  })
}

/**
 * Takes the last chunk, if there is one, checks the digest of the whole, and makes it a blob of
 * the session's repository. On failure the session is what it was before this request. Asking
 * once more for what was done already succeeds.
 *
 * @throws as {@link appendToUpload}, and RegistryError DIGEST_INVALID for other content
 */
export async function finishUpload(
  registry: Registry,
  key: UploadKey,
  digest: Digest,
  chunk: Chunk | undefined,
): Promise<void> {
  try {
    await finishSession(registry, key, digest, chunk)
  } catch (error) {
    const unknown = error instanceof RegistryError && error.code === 'BLOB_UPLOAD_UNKNOWN'
    if (!unknown || !(await isRepeated(registry, key.repository, digest, chunk))) throw error
  }
}

/**
 * Whether a client asks again because it lost our answer: the session has ended, the blob is
 * there, and the body, if it sends one again, is that blob.
 */
async function isRepeated(
  { db }: Registry,
  repository: RepositoryName,
  digest: Digest,
  chunk: Chunk | undefined,
): Promise<boolean> {
  if ((await findBlob(db, repository, digest)) === undefined) return false
  if (chunk === undefined) return true
  const hash = new RunningHash(splitDigest(digest).algorithm)
  for await (const bytes of chunk.body as AsyncIterable<Buffer>) hash.update(bytes)
  return hash.digest() === digest
}

async function finishSession(
  registry: Registry,
  key: UploadKey,
  digest: Digest,
  chunk: Chunk | undefined,
): Promise<void> {
  await withLock(registry, key, async (lock) => {
    const { session, signal } = lock
    const { algorithm } = splitDigest(digest)
    const hash = registry.uploadHashes.at(session.id, session.offset, algorithm)
    let upload: Upload = session
    if (chunk !== undefined) {
      const verify = () => verifyDigest(hash?.digest(), digest)
      upload = await append(registry, lock, chunk, { hash, verify })
      await registry.faultPoint('upload received')
    }
    const recorded = chunk === undefined && session.algorithm === algorithm
    const known = hash?.digest() ?? (recorded ? session.digest : undefined)
    const trusted = session.contested ? undefined : known
    verifyDigest(trusted ?? (await readDigest(registry, upload, algorithm, signal)), digest)
    await publishUpload(registry, { session, upload, digest, signal })
    registry.uploadHashes.forget(session.id)
    registry.cache.forgetBlob(key.repository, digest)
    await registry.faultPoint('blob committed')
  })
}

/** For bytes that arrived in another process, or are asked for in another algorithm. */
async function readDigest(
  { blobs }: Registry,
  upload: Upload,
  algorithm: DigestAlgorithm,
  signal: AbortSignal,
): Promise<Digest> {
  const hash = new RunningHash(algorithm)
  for await (const bytes of blobs.readUpload(upload)) {
    signal.throwIfAborted()
    hash.update(bytes)
  }
  return hash.digest()
}

/** @throws RegistryError BLOB_UPLOAD_UNKNOWN */
export async function cancelUpload(registry: Registry, key: UploadKey): Promise<void> {
  await withLock(registry, key, async ({ session }) => {
    await registry.blobs.abortUpload(session.state)
    await deleteUpload(registry.db, session.id)
    registry.uploadHashes.forget(session.id)
  })
}

/**
 * Drops sessions that got no byte for too long, a limited number at a time.
 *
 * @returns how many
 */
export async function dropExpiredUploads({ db, blobs, log }: Registry): Promise<number> {
  const expired = await listExpiredUploads(db, 1000)
  let dropped = 0
  for (const { id, state } of expired) {
    try {
      // Bytes first: what a crash leaves is a session that the next sweep drops again.
      await blobs.abortUpload(state)
      await deleteUpload(db, id)
      dropped++
    } catch (error) {
      // One that cannot be dropped must not keep the others.
      log.warn({ err: error, session: id }, 'idle upload not dropped')
    }
  }
  return dropped
}

/** `work` must have recorded that nobody writes any more when it ends without an error. */
async function withLock<T>(
  registry: Registry,
  key: UploadKey,
  work: (lock: UploadLock) => Promise<T>,
): Promise<T> {
  const lock = await registry.uploadLocks.acquire(key)
  if (lock === undefined) throw new RegistryError('BLOB_UPLOAD_UNKNOWN', key.id)
  let recorded = false
  try {
    const result = await work(lock)
    recorded = true
    return result
  } catch (error) {
    if (error instanceof UploadLost) {
      throw new RegistryError('BLOB_UPLOAD_UNKNOWN', key.id, { cause: error })
    }
    throw error
  } finally {
    await lock.release(recorded)
  }
}

interface AppendChecks {
  readonly hash: RunningHash | undefined
  /** Called when all bytes are here and before they are made durable; throws to drop them. */
  readonly verify?: () => void
}

async function append(
  { blobs, limits }: Registry,
  { session, signal }: UploadLock,
  { body, first, length }: Chunk,
  { hash, verify }: AppendChecks,
): Promise<Upload> {
  if (first !== undefined && first !== session.offset) throw new OffsetMismatch(session.offset)
  const writer = await blobs.appendUpload(session)
  try {
    const maxBytes = limits.uploadBytes - session.offset
    const bytes = await receive(body, { writer, hash, maxBytes, signal })
    if (length !== undefined && length !== bytes) {
      throw new RegistryError('SIZE_INVALID', `${length} bytes announced, ${bytes} received`)
    }
    verify?.()
    return await writer.finish()
  } catch (error) {
    await (signal.reason instanceof ClaimLost ? writer.abandon() : writer.discard())
    throw error
  }
}

function verifyDigest(received: Digest | undefined, expected: Digest): void {
  if (received === undefined || received === expected) return
  throw new RegistryError('DIGEST_INVALID', `the content is ${received}`)
}
