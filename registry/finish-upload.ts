import { type Digest, type DigestAlgorithm, splitDigest } from '../oci/digest.ts'
import { RegistryError } from '../oci/errors.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { Upload } from '../storage/blob/blob-store.ts'
import { promiseBlob } from '../storage/metadata/blobs.ts'
import { saveSealedUpload, type UploadKey } from '../storage/metadata/uploads.ts'
import { append, type Chunk } from './append.ts'
import { publishUpload } from './publish.ts'
import type { Registry } from './registry.ts'
import { NativeHash } from './running-hash.ts'
import { ClaimLost, type UploadLock, withUploadLock } from './upload-locks.ts'

/**
 * Takes the last chunk, if there is one, checks the digest of the whole, and makes it a blob of
 * the session's repository. On failure the session is what it was before this request. Asking
 * once more for what was done already succeeds.
 *
 * @throws as `appendToUpload`, and RegistryError DIGEST_INVALID for other content
 */
export async function finishUpload(
  registry: Registry,
  key: UploadKey,
  digest: Digest,
  chunk: Chunk | undefined,
): Promise<void> {
  try {
    await withUploadLock(registry.uploadLocks, key, async (lock) => {
      const upload = await receiveRest(registry, lock, digest, chunk)
      await chunk?.confirm?.()
      const promisedAtMs = registry.promises.now()
      const publish = () => publishUpload(registry, { lock, upload, digest })
      await registry.cache.publishedBlob(key.repository, digest, publish)
      registry.promises.madeBlob(digest, promisedAtMs)
      registry.uploadHashes.forget(key.id)
      await registry.faultPoint('blob committed')
    })
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
  if (!(await promiseBlob(db, repository, digest))) return false
  if (chunk === undefined) return true
  const hash = new NativeHash(splitDigest(digest).algorithm)
  for await (const bytes of chunk.body as AsyncIterable<Buffer>) hash.update(bytes)
  return hash.digest() === digest
}

/** @returns the upload, sealed, its digest verified */
async function receiveRest(
  registry: Registry,
  lock: UploadLock,
  digest: Digest,
  chunk: Chunk | undefined,
): Promise<Upload> {
  const { session } = lock
  const { algorithm } = splitDigest(digest)
  const hash = await registry.uploadHashes.at(session, { algorithm, expectsMore: false })
  let upload: Upload = session
  if (chunk !== undefined) {
    const verify = () => verifyDigest(hash?.digest(), digest)
    upload = await append(registry, lock, chunk, { hash, expectsMore: false, verify })
    await registry.faultPoint('upload received')
  }
  const recorded = chunk === undefined && session.algorithm === algorithm
  const known = hash?.digest() ?? (recorded ? session.digest : undefined)
  if (known !== undefined && !session.contested) {
    verifyDigest(known, digest)
    return seal(registry, lock, upload)
  }
  const sealed = await seal(registry, lock, upload)
  // The session goes on with what is sealed if the digest turns out to be another one.
  if (chunk === undefined && sealed !== upload) await saveSealed(registry, lock, sealed)
  verifyDigest(await readDigest(registry, lock, sealed, algorithm), digest)
  return sealed
}

async function seal({ blobs }: Registry, lock: UploadLock, upload: Upload): Promise<Upload> {
  const before = lock.leftovers
  lock.leftovers = true
  const sealed = await blobs.sealUpload(upload)
  if (sealed === upload) lock.leftovers = before // nothing was to be done
  return sealed
}

async function saveSealed({ db }: Registry, lock: UploadLock, { state }: Upload): Promise<void> {
  const { session, writer } = lock
  if (!(await saveSealedUpload(db, session.id, { state, writer }))) throw new ClaimLost()
  lock.leftovers = session.leftovers
}

/** For bytes that arrived in another process, or are asked for in another algorithm. */
async function readDigest(
  { blobs }: Registry,
  { signal }: UploadLock,
  upload: Upload,
  algorithm: DigestAlgorithm,
): Promise<Digest> {
  const hash = new NativeHash(algorithm)
  for await (const bytes of blobs.readUpload(upload)) {
    signal.throwIfAborted()
    hash.update(bytes)
  }
  return hash.digest()
}

function verifyDigest(received: Digest | undefined, expected: Digest): void {
  if (received === undefined || received === expected) return
  throw new RegistryError('DIGEST_INVALID', `the content is ${received}`)
}
