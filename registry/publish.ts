import type { Digest } from '../oci/digest.ts'
import { type Upload, UploadLost } from '../storage/blob/blob-store.ts'
import { lockDigest } from '../storage/metadata/blobs.ts'
import { transaction } from '../storage/metadata/database.ts'
import { lockRepository } from '../storage/metadata/repositories.ts'
import { commitUpload, type UploadSession } from '../storage/metadata/uploads.ts'
import type { Registry } from './registry.ts'

export interface Publication {
  readonly session: UploadSession
  readonly upload: Upload
  /** Of all bytes of `upload`: verified. */
  readonly digest: Digest
  /** Aborted when somebody else may be writing to the upload. */
  readonly signal: AbortSignal
}

/**
 * Makes a verified upload a blob of its repository. Bytes first, rows second: a crash in between
 * leaves bytes for the next push of the digest to replace, never a row that names bytes we do not
 * have. The digest's lock keeps a collector of the same digest out from the look to the commit.
 *
 * @throws UploadLost when the repository was deleted meanwhile, or the signal's reason
 */
export async function publishUpload(
  { db, blobs, faultPoint, log }: Registry,
  { session, upload, digest, signal }: Publication,
): Promise<void> {
  const known = await transaction(db, async (tx) => {
    const [there, live] = await Promise.all([
      lockRepository(tx, session.repositoryId),
      lockDigest(tx, digest),
    ])
    if (!there) throw new UploadLost()
    await faultPoint('blob locked')
    signal.throwIfAborted()
    // A blob whose bytes were lost or cut short is healed by whoever pushes it again.
    const whole = live !== undefined && (await blobs.size(live.location)) === upload.offset
    const location = whole ? live.location : await blobs.commitUpload(upload, digest)
    await faultPoint('blob placed')
    await commitUpload(tx, { session, digest, sizeBytes: upload.offset, location })
    return whole
  })
  if (!known) return
  // The store had the bytes already. What this upload brought is not needed any more, and losing
  // it is no failure of the push.
  await blobs.abortUpload(upload.state).catch((error: unknown) => {
    log.warn({ err: error, session: session.id }, 'upload not removed')
  })
}
