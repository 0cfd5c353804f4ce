import { mkdtemp } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { destination } from 'pino'
import request from 'supertest'
import { inject } from 'vitest'
import type { AccessControl } from '../../auth/access-control.ts'
import { createLog } from '../../observability/log.ts'
import { Metrics } from '../../observability/metrics.ts'
import { MetadataCache } from '../../registry/metadata-cache.ts'
import type { Limits, Registry } from '../../registry/registry.ts'
import { UploadHashes } from '../../registry/upload-hashes.ts'
import { UploadLocks } from '../../registry/upload-locks.ts'
import { type AppSettings, createApp } from '../../server/app.ts'
import { TrustedProxies } from '../../server/http/forwarded.ts'
import type { BlobStore } from '../../storage/blob/blob-store.ts'
import { ping } from '../../storage/metadata/database.ts'
import { openTestAccess, type TestAccessOptions } from './access.ts'
import { openTestDatabase, type TestDatabase } from './database.ts'
import { openTestStorage, type TestStorage } from './storage.ts'

export interface TestRegistryOptions {
  readonly limits?: Partial<Limits>
  /** Who may do what; everybody everything when left out. */
  readonly access?: TestAccessOptions
  readonly cached?: boolean
  /** In place of a store of its own. */
  readonly storage?: TestStorage
  readonly faultPoint?: Registry['faultPoint']
  readonly trustedProxies?: readonly string[]
  readonly settings?: Partial<AppSettings>
}

export interface TestRegistry {
  readonly registry: Registry
  readonly access: AccessControl
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
  const access = await openTestAccess(database.pool, registry.log, options.access)
  const server = await startApp(registry, access, options)
  const { port } = server.address() as AddressInfo
  return {
    registry,
    access,
    database,
    api: request(server),
    host: `127.0.0.1:${port}`,
    root,
    storage,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await access.audit.close()
      await database.close()
      await storage.close()
    },
  }
}

/** One for the whole run: opening a file for each server would leave as many open. */
const runLog = memoized(() => destination({ dest: inject('log'), append: true, sync: true }))

function memoized<T>(make: () => T): () => T {
  let made: T | undefined
  return () => (made ??= make())
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
    log: createLog({ level: 'debug', format: 'json' }, runLog()),
    faultPoint,
  }
}

async function startApp(
  registry: Registry,
  access: AccessControl,
  { trustedProxies = [], settings }: TestRegistryOptions,
): Promise<Server> {
  const { db } = registry
  const app = createApp({
    registry,
    access,
    health: { database: () => ping(db), storage: () => registry.blobs.probe() },
    metrics: new Metrics({
      uploadsInProgress: () => registry.uploadLocks.size,
      pool: () => ({ total: db.totalCount, idle: db.idleCount, waiting: db.waitingCount }),
    }),
    proxies: new TrustedProxies(trustedProxies),
    log: registry.log,
    settings: {
      logsRequests: true,
      realm: undefined,
      tokenRequests: 1_000_000,
      apiRequests: 1_000_000,
      auditsPulls: false,
      ...settings,
    },
  })
  const callback = app.callback()
  const server = createServer((incoming, response) => void callback(incoming, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}
