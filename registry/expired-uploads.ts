import { StorageUnavailable } from '../storage/blob/blob-store.ts'
import { claimExpiredUploads } from '../storage/metadata/upload-claims.ts'
import { deleteUpload } from '../storage/metadata/uploads.ts'
import type { Registry } from './registry.ts'

const BATCH = 100
/** For the removal of a batch. Past it another process may begin to remove the same again. */
const CLAIM_SECONDS = 300

/**
 * Drops sessions that got no byte for too long, with whatever the crash of a process may have left
 * of them, until there are no more or the signal is aborted.
 *
 * @returns how many
 */
export async function dropExpiredUploads(
  registry: Registry,
  ending?: AbortSignal,
): Promise<number> {
  for (let dropped = 0; ; ) {
    const inBatch = await dropBatch(registry)
    dropped += inBatch
    // Fewer: those are all, or some could not be dropped, which a later run tries again.
    if (inBatch < BATCH || ending?.aborted) return dropped
  }
}

async function dropBatch(registry: Registry): Promise<number> {
  const { db, blobs, uploadLocks, log } = registry
  const claim = { writer: uploadLocks.writer, seconds: CLAIM_SECONDS }
  const except = uploadLocks.written()
  const expired = await claimExpiredUploads(db, claim, { limit: BATCH, except })
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
