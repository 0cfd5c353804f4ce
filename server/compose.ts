import { randomUUID } from 'node:crypto'
import type { RequestListener } from 'node:http'
import type { Logger } from 'pino'
import { unrestricted } from '../auth/access.ts'
import type { Config } from '../config/config.ts'
import { Metrics } from '../observability/metrics.ts'
import { MetadataCache } from '../registry/metadata-cache.ts'
import type { FaultPoint, Registry } from '../registry/registry.ts'
import { UploadHashes } from '../registry/upload-hashes.ts'
import { UploadLocks } from '../registry/upload-locks.ts'
import { InstrumentedBlobStore } from '../storage/blob/instrumented.ts'
import { Changes } from '../storage/metadata/changes.ts'
import { openPool, type Pool, type PoolSettings, ping } from '../storage/metadata/database.ts'
import { releaseAllUploads } from '../storage/metadata/upload-claims.ts'
import { createApp } from './app.ts'
import { startBackgroundWork } from './background.ts'
import { openBlobStore } from './blob-store.ts'
import { TrustedProxies } from './http/forwarded.ts'

export interface ComposeOptions {
  readonly config: Config
  readonly connection: PoolSettings['connection']
  /** This process is the only one that writes to the database: what it read stays true. */
  readonly ownsDatabase: boolean
  readonly log: Logger
  /** Only tests give one. */
  readonly faultPoint?: (step: FaultPoint) => Promise<void> | void
}

export interface Composition {
  /** For a node:http server. */
  readonly handle: RequestListener
  readonly registry: Registry
  /** Ends background work and connections. Requests should have ended before. */
  close(): Promise<void>
}

/** Statements of a request are short: one that is not waits for something that went wrong. */
const STATEMENT_MS = 8000

/** Builds everything from the configuration. */
export async function compose(options: ComposeOptions): Promise<Composition> {
  const { config, connection, ownsDatabase, log } = options
  const db = openPool({
    connection,
    size: config['database.connections'],
    statementMs: STATEMENT_MS,
    onError: (error) => log.warn({ err: error }, 'database connection lost'),
  })
  const storage = await openBlobStore(config)
  const shared = besidesOthers(options, { db, durable: storage.store.needsDurableSession })
  const metrics = new Metrics({
    uploadsInProgress: () => shared.uploadLocks.size,
    pool: () => ({ total: db.totalCount, idle: db.idleCount, waiting: db.waitingCount }),
  })
  if (ownsDatabase) await releaseAllUploads(db)

  const registry: Registry = {
    db,
    blobs: new InstrumentedBlobStore(storage.store, (...call) => metrics.storageCalled(...call)),
    ...shared,
    limits: {
      uploadBytes: config['limits.uploadBytes'] || Number.POSITIVE_INFINITY,
      uploadExpirySeconds: config['limits.uploadExpirySeconds'],
    },
    log,
    faultPoint: options.faultPoint ?? (() => {}),
  }
  const app = createApp({
    registry,
    authenticate: () => unrestricted,
    health: { database: () => ping(db), storage: () => registry.blobs.probe() },
    metrics,
    proxies: new TrustedProxies(config.trustedProxies),
    log,
    logsRequests: config['log.access'],
  })
  registry.changes?.start()
  const background = startBackgroundWork(registry)
  const callback = app.callback()
  return {
    handle: (request, response) => void callback(request, response),
    registry,
    close: async () => {
      storage.close() // ends what the background does there
      await background.stop()
      await registry.changes?.close()
      await db.end()
    },
  }
}

/** What differs in a process that shares the database with others. */
function besidesOthers(
  { connection, ownsDatabase, log }: ComposeOptions,
  { db, durable }: { db: Pool; durable: boolean },
) {
  if (ownsDatabase) {
    const uploadLocks = new UploadLocks(db, { alone: true, durable })
    return { cache: new MetadataCache(true), uploadLocks, uploadHashes: new UploadHashes() }
  }
  const id = randomUUID()
  const changes = new Changes({ id, db, connection, log })
  // Answers are remembered only while it is heard what the others delete.
  const cache = new MetadataCache(changes)
  changes.on('revoked', (revoked) => cache.revoke(revoked))
  const uploadLocks = new UploadLocks(db, { writer: id, others: changes, durable })
  return { cache, changes, uploadLocks, uploadHashes: new UploadHashes({ shared: true }) }
}
