import { StorageUnavailable } from '../storage/blob/blob-store.ts'
import { claimExpiredUploads } from '../storage/metadata/upload-claims.ts'
import { deleteUpload } from '../storage/metadata/uploads.ts'
import type { Registry } from './registry.ts'

const BATCH = 100
/** For the removal of a batch. Past it another process may begin to remove the same again. */
const CLAIM_SECONDS = 300

/**
 * Drops sessions that got no byte for too long, a limited number at a time, with whatever the
 * crash of a process may have left of them.
 *
 * @returns how many
 */
export async function dropExpiredUploads(registry: Registry): Promise<number> {
  const { db, blobs, uploadLocks, log } = registry
  const claim = { writer: uploadLocks.writer, seconds: CLAIM_SECONDS }
  const expired = await claimExpiredUploads(db, claim, BATCH)
  let dropped = 0
  for (const { id, state } of expired) {
    try {
      // Bytes first: what a crash leaves is a session that a later sweep drops again.
      await blobs.sweepUpload(state)
      await blobs.abortUpload(state)
      await deleteUpload(db, id)
      dropped++
    } catch (error) {
      // One that cannot be dropped must not keep the others.
      log.warn({ err: error, session: id }, 'idle upload not dropped')
      if (error instanceof StorageUnavailable) break
    }
  }
  return dropped
}
