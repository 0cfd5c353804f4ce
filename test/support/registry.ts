import { mkdtemp } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pino } from 'pino'
import request from 'supertest'
import { type Access, unrestricted } from '../../auth/access.ts'
import { Metrics } from '../../observability/metrics.ts'
import { MetadataCache } from '../../registry/metadata-cache.ts'
import type { Limits, Registry } from '../../registry/registry.ts'
import { UploadHashes } from '../../registry/upload-hashes.ts'
import { UploadLocks } from '../../registry/upload-locks.ts'
import { createApp } from '../../server/app.ts'
import { TrustedProxies } from '../../server/http/forwarded.ts'
import type { RequestContext } from '../../server/state.ts'
import type { BlobStore } from '../../storage/blob/blob-store.ts'
import { ping } from '../../storage/metadata/database.ts'
import { openTestDatabase, type TestDatabase } from './database.ts'
import { openTestStorage, type TestStorage } from './storage.ts'

export interface TestRegistryOptions {
  readonly limits?: Partial<Limits>
  /** What the bearer of a request may do; everything when left out. */
  readonly authenticate?: (ctx: RequestContext) => Access
  readonly cached?: boolean
  /** In place of a store of its own. */
  readonly storage?: TestStorage
  readonly faultPoint?: Registry['faultPoint']
  readonly trustedProxies?: readonly string[]
}

export interface TestRegistry {
  readonly registry: Registry
  readonly database: TestDatabase
  /** supertest on the app. */
  readonly api: ReturnType<typeof request>
  /** `127.0.0.1:port` of the same app, for sockets. */
  readonly host: string
  /** Folder of the blobs, where they are files. */
  readonly root: string
  readonly storage: TestStorage
  close(this: void): Promise<void>
}

/** The whole app over a database and a folder of its own, listening on a free port. */
export async function openTestRegistry(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const database = await openTestDatabase()
  const root = await mkdtemp(path.join(tmpdir(), 'slipway-blobs-'))
  const storage = options.storage ?? (await openTestStorage(root))
  const registry = await createRegistry(database, storage.blobs, options)
  const server = await startApp(registry, options)
  const { port } = server.address() as AddressInfo
  return {
    registry,
    database,
    api: request(server),
    host: `127.0.0.1:${port}`,
    root,
    storage,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await database.close()
      await storage.close()
    },
  }
}

async function createRegistry(
  { pool }: TestDatabase,
  blobs: BlobStore,
  { limits, cached = true, faultPoint = () => {} }: TestRegistryOptions,
): Promise<Registry> {
  return {
    db: pool,
    blobs,
    cache: new MetadataCache(cached),
    uploadLocks: new UploadLocks(pool),
    uploadHashes: new UploadHashes(),
    limits: { uploadBytes: Number.POSITIVE_INFINITY, uploadExpirySeconds: 3600, ...limits },
    log: pino({ level: 'silent' }),
    faultPoint,
  }
}

async function startApp(registry: Registry, options: TestRegistryOptions): Promise<Server> {
  const { authenticate = () => unrestricted, trustedProxies = [] } = options
  const { db } = registry
  const app = createApp({
    registry,
    authenticate,
    health: { database: () => ping(db), storage: () => registry.blobs.probe() },
    metrics: new Metrics({
      uploadsInProgress: () => registry.uploadLocks.size,
      pool: () => ({ total: db.totalCount, idle: db.idleCount, waiting: db.waitingCount }),
    }),
    proxies: new TrustedProxies(trustedProxies),
    log: registry.log,
    logsRequests: true,
  })
  const callback = app.callback()
  const server = createServer((incoming, response) => void callback(incoming, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}
