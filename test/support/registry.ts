import { randomUUID } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { destination } from 'pino'
import request from 'supertest'
import { inject } from 'vitest'
import type { AccessControl } from '../../auth/access-control.ts'
import { parseUpstream } from '../../config/upstream-settings.ts'
import { createLog } from '../../observability/log.ts'
import { Metrics } from '../../observability/metrics.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { KeepingTerms } from '../../registry/keeping.ts'
import { MetadataCache } from '../../registry/metadata-cache.ts'
import { Promises } from '../../registry/promises.ts'
import {
  closePullThrough,
  createPullThrough,
  type Patience,
} from '../../registry/pull-through/pull-through.ts'
import type { Limits, Registry } from '../../registry/registry.ts'
import { NO_RETENTION } from '../../registry/retention/retention.ts'
import { TagReads } from '../../registry/tag-reads.ts'
import { UploadHashes } from '../../registry/upload-hashes.ts'
import { UploadLocks } from '../../registry/upload-locks.ts'
import { Uses } from '../../registry/uses.ts'
import { type AppSettings, createApp } from '../../server/app.ts'
import { TrustedProxies } from '../../server/http/forwarded.ts'
import { upstreamFigures } from '../../server/upstream-figures.ts'
import { openUpstream } from '../../server/upstreams.ts'
import type { BlobStore } from '../../storage/blob/blob-store.ts'
import { Spool } from '../../storage/blob/spool.ts'
import { ping } from '../../storage/metadata/database.ts'
import { openTestAccess, type TestAccessOptions } from './access.ts'
import { openTestDatabase, type TestDatabase } from './database.ts'
import { openTestStorage, type TestStorage } from './storage.ts'

export interface TestRegistryOptions {
  readonly limits?: Partial<Limits>
  /** How long garbage stays; as long as by default when left out. */
  readonly keeping?: Partial<KeepingTerms>
  /** No rules when left out. */
  readonly retention?: Partial<Registry['retention']>
  /** Who may do what; everybody everything when left out. */
  readonly access?: TestAccessOptions
  readonly cached?: boolean
  /** In place of a store of its own. */
  readonly storage?: TestStorage
  readonly faultPoint?: Registry['faultPoint']
  readonly trustedProxies?: readonly string[]
  readonly settings?: Partial<AppSettings>
  /** Upstreams by name, with their fields as the configuration has them. */
  readonly upstreams?: Readonly<Record<string, object>>
  readonly patience?: Partial<Patience>
  /** By which promises to clients grow old. */
  readonly now?: () => number
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
  const registry = await createRegistry(database, storage.blobs, { ...options, root })
  const { upstreams } = registry.pullThrough
  const definitions = Object.entries(options.upstreams ?? {})
  upstreams.replace(
    await Promise.all(
      definitions.map(([name, fields]) => openUpstream(parseUpstream(name, fields))),
    ),
  )
  const access = {
    ...(await openTestAccess(database.pool, registry.log, options.access)),
    aliases: (name: RepositoryName) => upstreams.aliases(name),
  }
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
      await closePullThrough(registry)
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

/** As long as by default. */
const KEEPING: KeepingTerms = {
  graceSeconds: 86_400,
  undoSeconds: 7 * 86_400,
  untagged: () => 86_400,
  blobSeconds: 900,
}

async function createRegistry(
  { pool }: TestDatabase,
  blobs: BlobStore,
  {
    limits,
    keeping,
    cached = true,
    faultPoint = () => {},
    root,
    patience = {},
    retention,
    now,
  }: TestRegistryOptions & { root: string },
): Promise<Registry> {
  const log = createLog({ level: 'debug', format: 'json' }, runLog())
  const spool = new Spool(path.join(root, 'spool'))
  const terms = { ...KEEPING, ...keeping }
  return {
    pullThrough: createPullThrough({ db: pool, process: randomUUID(), spool, log, patience }),
    db: pool,
    blobs,
    cache: new MetadataCache(cached),
    uploadLocks: new UploadLocks(pool),
    uploadHashes: new UploadHashes(),
    limits: { uploadBytes: Number.POSITIVE_INFINITY, uploadExpirySeconds: 3600, ...limits },
    keeping: terms,
    promises: new Promises(terms, now),
    tagReads: new TagReads(pool),
    uses: new Uses(),
    retention: { ...NO_RETENTION, ...retention },
    log,
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
      fetchesInProgress: () => registry.pullThrough.fetches.size,
      upstreams: () => upstreamFigures(registry.pullThrough),
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
      accelPath: undefined,
      ...settings,
    },
  })
  const callback = app.callback()
  const server = createServer((incoming, response) => void callback(incoming, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}
