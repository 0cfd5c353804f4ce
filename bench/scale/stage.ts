/** What operations work on: the real ones of the registry, on a generated database. */
import { randomUUID } from 'node:crypto'
import { createLog } from '../../observability/log.ts'
import { MetadataCache } from '../../registry/metadata-cache.ts'
import { Promises } from '../../registry/promises.ts'
import { createPullThrough } from '../../registry/pull-through/pull-through.ts'
import type { Registry } from '../../registry/registry.ts'
import { NO_RETENTION } from '../../registry/retention/retention.ts'
import { TagReads } from '../../registry/tag-reads.ts'
import { UploadHashes } from '../../registry/upload-hashes.ts'
import { UploadLocks } from '../../registry/upload-locks.ts'
import { Uses } from '../../registry/uses.ts'
import type { BlobStore } from '../../storage/blob/blob-store.ts'
import { Spool } from '../../storage/blob/spool.ts'
import type { Pool } from '../../storage/metadata/database.ts'

/** Nothing is remembered: every answer is read. */
export function createRegistry(db: Pool, blobs: BlobStore, spool: string): Registry {
  const log = createLog({ level: 'silent', format: 'json' })
  return {
    db,
    blobs,
    cache: new MetadataCache(false),
    uploadLocks: new UploadLocks(db),
    uploadHashes: new UploadHashes(),
    pullThrough: createPullThrough({ db, process: randomUUID(), spool: new Spool(spool), log }),
    tagReads: new TagReads(db),
    uses: new Uses(),
    retention: NO_RETENTION,
    limits: { uploadBytes: Number.POSITIVE_INFINITY, uploadExpirySeconds: 3600 },
    keeping: {
      graceSeconds: 86_400,
      undoSeconds: 7 * 86_400,
      untagged: () => 86_400,
      blobSeconds: 900,
    },
    // Each promise is written.
    promises: new Promises({ graceSeconds: 0 }),
    log,
    faultPoint: () => {},
  }
}
