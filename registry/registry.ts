import type { Logger } from 'pino'
import type { BlobStore } from '../storage/blob/blob-store.ts'
import type { Changes } from '../storage/metadata/changes.ts'
import type { Pool } from '../storage/metadata/database.ts'
import type { KeepingTerms } from './keeping.ts'
import type { MetadataCache } from './metadata-cache.ts'
import type { Promises } from './promises.ts'
import type { PullThrough } from './pull-through/pull-through.ts'
import type { Retention } from './retention/retention.ts'
import type { TagReads } from './tag-reads.ts'
import type { UploadHashes } from './upload-hashes.ts'
import type { UploadLocks } from './upload-locks.ts'
import type { Uses } from './uses.ts'

/** Everything the operations in this folder work on. Built once, in `server/compose.ts`. */
export interface Registry {
  readonly db: Pool
  readonly blobs: BlobStore
  readonly cache: MetadataCache
  /** Undefined in a process that is the only one on its database. */
  readonly changes?: Changes | undefined
  readonly uploadLocks: UploadLocks
  readonly uploadHashes: UploadHashes
  /** What other registries are asked for. */
  readonly pullThrough: PullThrough
  readonly tagReads: TagReads
  readonly uses: Uses
  readonly retention: Retention
  readonly limits: Limits
  readonly keeping: KeepingTerms
  readonly promises: Promises
  readonly log: Logger
  /** Called between two steps that must survive a crash. Does nothing, except in tests. */
  readonly faultPoint: (step: FaultPoint) => Promise<void> | void
}

export interface Limits {
  /** Bytes of one blob; Infinity for no limit. */
  readonly uploadBytes: number
  /** Seconds after its last byte until an upload session is dropped. */
  readonly uploadExpirySeconds: number
}

export type FaultPoint =
  | 'upload received'
  | 'upload saved'
  | 'blob locked'
  | 'blob placed'
  | 'blob committed'
  | 'manifest locked'
  | 'manifest committed'
  | 'blob unlinked'
  | 'blob bytes deleted'
  | 'blob removed'
  | 'garbage claimed'
  | 'manifest reviewed'
  | 'manifest collected'
  | 'blob reviewed'
  | 'retention judged'
