import type { Digest } from '../oci/digest.ts'
import { type Location, type Upload, UploadLost } from '../storage/blob/blob-store.ts'
import { lockDigest, type StoredBlob } from '../storage/metadata/blobs.ts'
import { lockRepository } from '../storage/metadata/repositories.ts'
import { commitUpload, deleteUpload } from '../storage/metadata/uploads.ts'
import type { Registry } from './registry.ts'
import { revoking } from './revocation.ts'
import { ClaimLost, type UploadLock } from './upload-locks.ts'

export interface Publication {
  /** Of the session that the upload belongs to. */
  readonly lock: UploadLock
  /** Sealed. */
  readonly upload: Upload
  /** Of all bytes of `upload`: verified. */
  readonly digest: Digest
}

/** A blob of the digest is there already, and whether its bytes are. */
interface Known {
  readonly location: Location
  readonly whole: boolean
}

/**
 * Makes a verified upload a blob of its repository. Bytes first, rows second: a crash in between
 * leaves bytes for the next push of the digest to replace, or for a sweep, never a row that names
 * bytes we do not have. The digest's lock keeps a collector of the same digest out from the look
 * to the commit.
 *
 * @returns the blob
 * @throws UploadLost when the repository was deleted meanwhile, ClaimLost, or the signal's reason
 */
export async function publishUpload(
  registry: Registry,
  publication: Publication,
): Promise<StoredBlob> {
  const { blobs, log } = registry
  const { lock, upload } = publication
  let known: Known | undefined
  let outcome = await publishUnlessKnown(registry, publication, known)
  while (outcome.kind === 'found') {
    const { location } = outcome
    // Asked without a transaction open, as a storage far away may take its time.
    known = { location, whole: (await blobs.size(location)) === upload.offset }
    outcome = await publishUnlessKnown(registry, publication, known)
  }
  try {
    // Bytes that were there already make those of this upload superfluous.
    if (outcome.kind === 'superfluous') {
      await blobs.abortUpload(upload.state)
      await deleteUpload(registry.db, lock.session.id)
    }
    if (lock.session.leftovers || upload.leftovers) await blobs.sweepUpload(upload.state)
  } catch (error) {
    // The push has succeeded all the same; a session that is still there is swept.
    log.warn({ err: error, session: lock.session.id }, 'upload not removed')
  }
  const { location } = outcome
  return { digest: publication.digest, sizeBytes: upload.offset, location }
}

/**
 * Whether the upload's bytes are the blob's, or superfluous; `found` is a live blob of the digest of
 * which nothing is known yet: then nothing was done.
 */
interface Outcome {
  readonly kind: 'placed' | 'superfluous' | 'found'
  /** Of the blob. */
  readonly location: Location
}

async function publishUnlessKnown(
  registry: Registry,
  { lock, upload, digest }: Publication,
  known: Known | undefined,
): Promise<Outcome> {
  const { blobs, faultPoint } = registry
  const { session, signal, writer } = lock
  return revoking(registry, async (tx, revoke) => {
    const [there, live] = await Promise.all([
      lockRepository(tx, session.repositoryId),
      lockDigest(tx, digest),
    ])
    if (!there) throw new UploadLost()
    if (live !== undefined && live.location !== known?.location) {
      await tx.rollback() // which waits for no disk, unlike the commit of mere locks
      return { kind: 'found', location: live.location }
    }
    await faultPoint('blob locked')
    signal.throwIfAborted()
    // A blob whose bytes were lost or cut short is healed by whoever pushes it again.
    const kept = live !== undefined && known?.whole === true
    if (live !== undefined && !kept) await revoke({ digest })
    const location = kept ? live.location : await blobs.commitUpload(upload, digest)
    await faultPoint('blob placed')
    const committed = await commitUpload(tx, {
      session,
      writer,
      digest,
      sizeBytes: upload.offset,
      location,
      superfluous: kept,
      reviewSeconds: registry.keeping.graceSeconds,
    })
    if (!committed) throw new ClaimLost()
    return { kind: kept ? 'superfluous' : 'placed', location }
  })
}
