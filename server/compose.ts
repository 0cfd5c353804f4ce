import { randomUUID } from 'node:crypto'
import type { RequestListener } from 'node:http'
import path from 'node:path'
import type { Logger } from 'pino'
import { isOpen } from '../auth/authenticate.ts'
import type { Config } from '../config/config.ts'
import { Metrics } from '../observability/metrics.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { GarbageCounts } from '../registry/garbage/garbage-counts.ts'
import { ScrubCounts } from '../registry/integrity/scrub-counts.ts'
import { LeftUploads } from '../registry/left-uploads.ts'
import { MetadataCache } from '../registry/metadata-cache.ts'
import { Promises } from '../registry/promises.ts'
import {
  closePullThrough,
  createPullThrough,
  type PullThrough,
} from '../registry/pull-through/pull-through.ts'
import type { FaultPoint, Registry } from '../registry/registry.ts'
import { TagReads } from '../registry/tag-reads.ts'
import { UploadHashes } from '../registry/upload-hashes.ts'
import { UploadLocks } from '../registry/upload-locks.ts'
import { Uses } from '../registry/uses.ts'
import { InstrumentedBlobStore } from '../storage/blob/instrumented.ts'
import { Spool } from '../storage/blob/spool.ts'
import { Changes } from '../storage/metadata/changes.ts'
import { openPool, type Pool, type PoolSettings, ping } from '../storage/metadata/database.ts'
import { releaseAllFetches } from '../storage/metadata/fetches.ts'
import { findOverdueSeconds } from '../storage/metadata/gc-queue.ts'
import { countQuarantinedBlobs } from '../storage/metadata/integrity.ts'
import { releaseAllUploads } from '../storage/metadata/upload-claims.ts'
import { openAccessControl } from './access-control.ts'
import { type AppOptions, type AppSettings, createApp } from './app.ts'
import { type BackgroundSettings, startBackgroundWork } from './background.ts'
import { openBlobStore } from './blob-store.ts'
import { TrustedProxies } from './http/forwarded.ts'
import { keepingOf } from './keeping.ts'
import { openRetention } from './retention.ts'
import { upstreamFigures } from './upstream-figures.ts'
import { followUpstreams } from './upstreams.ts'

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
  /** Whether nobody is asked who it is, as long as there is no account. */
  readonly isOpen: () => Promise<boolean>
  /** Of the user `admin`, when this start made it and made its password up: to be shown once. */
  readonly firstPassword: string | undefined
  /** Ends background work and connections. Requests should have ended before. */
  close(): Promise<void>
}

/** Statements of a request are short: one that is not waits for something that went wrong. */
const STATEMENT_MS = 8000

/** Builds everything from the configuration. */
export async function compose(options: ComposeOptions): Promise<Composition> {
  const { config, connection, ownsDatabase, log } = options
  const db = openRequestPool(options)
  const storage = await openBlobStore(config)
  const id = randomUUID()
  const spool = new Spool(path.join(config.data, 'spool'))
  const pullThrough = createPullThrough({ db, process: id, spool, log })
  // Heard in any case: the command line may change the rules of a server that runs.
  const changes = new Changes({ id, db, connection, log })
  const aliases = (name: RepositoryName) => pullThrough.upstreams.aliases(name)
  const terms = { config, db, changes, shared: !ownsDatabase, aliases, log }
  const access = await openAccessControl(terms)
  const here = { id, db, durable: storage.store.needsDurableSession, changes }
  const shared = ownsDatabase ? alone(here) : besidesOthers(here)
  const counts = { scrubbed: new ScrubCounts(), collected: new GarbageCounts() }
  const metrics = metricsOf(db, { ...shared, pullThrough, ...counts })
  if (ownsDatabase) await Promise.all([releaseAllUploads(db), releaseAllFetches(db)])

  const registry: Registry = {
    db,
    blobs: new InstrumentedBlobStore(storage.store, (...call) => metrics.storageCalled(...call)),
    ...shared,
    pullThrough,
    limits: limitsOf(config),
    ...keptBy(config),
    retention: openRetention(config, access.control),
    tagReads: new TagReads(db),
    uses: new Uses(),
    log,
    faultPoint: options.faultPoint ?? (() => {}),
  }
  const handle = appOf(options, { registry, access: access.control, metrics })
  const background = startBackgroundWork(registry, access.control, backgroundOf(config, counts))
  const close = async () => {
    await closePullThrough(registry)
    storage.close() // ends what the background does there
    await background.stop()
    await access.close()
    await changes.close()
    await db.end()
  }
  const prepare = async () => {
    await followUpstreams(pullThrough.upstreams, { config, db, changes, cache: shared.cache, log })
    return access.prepare()
  }
  const firstPassword = await prepare().catch(async (error: unknown) => {
    await close() // or what is open would keep the program from ending
    throw error
  })
  changes.start()
  return { handle, registry, isOpen: () => isOpen(access.control), firstPassword, close }
}

type Served = Pick<AppOptions, 'registry' | 'access' | 'metrics'>

function appOf({ config, log }: ComposeOptions, served: Served): RequestListener {
  const { db, blobs } = served.registry
  const app = createApp({
    ...served,
    health: { database: () => ping(db), storage: () => blobs.probe() },
    proxies: new TrustedProxies(config.trustedProxies),
    log,
    settings: appSettingsOf(config),
  })
  const handle = app.callback()
  return (request, response) => void handle(request, response)
}

function openRequestPool({ config, connection, log }: ComposeOptions): Pool {
  return openPool({
    connection,
    size: config['database.connections'],
    statementMs: STATEMENT_MS,
    onError: (error) => log.warn({ err: error }, 'database connection lost'),
  })
}

/** What background work has done. */
interface Counts {
  readonly scrubbed: ScrubCounts
  readonly collected: GarbageCounts
}

interface Measured extends Counts {
  readonly uploadLocks: UploadLocks
  readonly pullThrough: PullThrough
}

function metricsOf(db: Pool, measured: Measured): Metrics {
  const { uploadLocks, pullThrough, scrubbed, collected } = measured
  return new Metrics({
    uploadsInProgress: () => uploadLocks.size,
    fetchesInProgress: () => pullThrough.fetches.size,
    upstreams: () => upstreamFigures(pullThrough),
    scrub: { totals: () => scrubbed.totals(), waiting: () => countQuarantinedBlobs(db) },
    garbage: { totals: () => collected.totals(), overdueSeconds: () => findOverdueSeconds(db) },
    pool: () => ({ total: db.totalCount, idle: db.idleCount, waiting: db.waitingCount }),
  })
}

function limitsOf(config: Config): Registry['limits'] {
  return {
    uploadBytes: config['limits.uploadBytes'] || Number.POSITIVE_INFINITY,
    uploadExpirySeconds: config['limits.uploadExpirySeconds'],
  }
}

function keptBy(config: Config): Pick<Registry, 'keeping' | 'promises'> {
  const keeping = keepingOf(config)
  return { keeping, promises: new Promises(keeping) }
}

function backgroundOf(config: Config, { scrubbed, collected }: Counts): BackgroundSettings {
  const { 'scrub.days': days, 'scrub.bytesPerSecond': bytesPerSecond } = config
  return {
    keyDays: config['tokens.keyDays'],
    auditDays: config['audit.keepDays'],
    gcSeconds: config['gc.intervalSeconds'],
    sweepSeconds: config['gc.sweepSeconds'],
    collected,
    scrub: { days, bytesPerSecond, counts: scrubbed },
    retentionSeconds: config['retention.everySeconds'],
  }
}

function appSettingsOf(config: Config): AppSettings {
  return {
    logsRequests: config['log.access'],
    realm: config['tokens.realm'],
    tokenRequests: config['limits.tokenRequestsPerMinute'],
    apiRequests: config['limits.apiRequestsPerMinute'],
    auditsPulls: config['audit.pulls'],
    accelPath: config['storage.accelPath'],
  }
}

interface Process {
  readonly db: Pool
  readonly durable: boolean
  readonly changes: Changes
}

/** What a process has that is the only one to write to its database. */
function alone({ db, durable, changes }: Process) {
  const cache = new MetadataCache(true)
  // Commands take things away as well.
  changes.on('revoked', (revoked) => cache.revoke(revoked))
  // What a durable store leaves behind is known by claims in rows.
  const left = new LeftUploads((name) => cache.repositoryId(name))
  const uploadLocks = new UploadLocks(db, { alone: true, durable, ...(!durable && { left }) })
  return { cache, uploadLocks, uploadHashes: new UploadHashes() }
}

/** What a process has instead that shares the database with others. */
function besidesOthers({ id, db, durable, changes }: Process & { readonly id: string }) {
  // Answers are remembered only while it is heard what the others delete.
  const cache = new MetadataCache(changes)
  changes.on('revoked', (revoked) => cache.revoke(revoked))
  const uploadLocks = new UploadLocks(db, { writer: id, others: changes, durable })
  return { cache, changes, uploadLocks, uploadHashes: new UploadHashes({ shared: true }) }
}
