import { rm } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findServerAccount } from './account.ts'
import { findBinaries } from './binaries.ts'
import { clusterMajor, ensureCluster, type Installation } from './cluster.ts'
import { prepareFolders, SOCKET_PORT } from './folders.ts'
import { clearOrphan } from './orphan.ts'
import { withPassage } from './passage.ts'
import { launchPostmaster, type Postmaster, StartFailed, untilReady } from './postmaster.ts'
import type { EmbeddedLog } from './server-log.ts'
import { SERVER_DATABASE, SERVER_USER } from './settings.ts'
import { shutDownServer } from './shutdown.ts'
import { EmbeddedPostgresUnavailable } from './unavailable.ts'

export type { EmbeddedLog } from './server-log.ts'

export interface EmbeddedPostgres {
  /** For pg's Pool: host is the folder of the unix socket. Stays the same over restarts of the server. */
  readonly connection: {
    readonly host: string
    readonly port: number
    readonly user: string
    readonly database: string
  }
  /** Stops the server cleanly (fast shutdown: sessions are cut) and frees the data directory. Safe to repeat. */
  stop(): Promise<void>
}

export interface EmbeddedPostgresOptions {
  /** Folder for the cluster; created when missing. Everything of ours lies below it. */
  readonly directory: string
  readonly log: EmbeddedLog
}

const FIRST_DELAY_MS = 200
const LONGEST_DELAY_MS = 5_000
/** A server that ran for this long was well: the next restart is immediate again. */
const SOUND_RUN_MS = 10_000
const START_ATTEMPTS = 6

/**
 * Starts a Postgres server of our own in `directory`, making its cluster the first time, and restarts it
 * whenever it dies until `stop`. Resolves when it takes connections. It outlives a killed parent; the next
 * start on the directory stops it first.
 *
 * The caller holds the lock of the directory (directory-lock.ts): a server that runs there is taken for an orphan.
 *
 * @throws EmbeddedPostgresUnavailable when it cannot run here; the message says why and what to do
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const { directory, log } = options
  const installation = await install(directory, log)
  const server = new SupervisedServer(installation, log)
  await server.start()
  return server
}

async function install(directory: string, log: EmbeddedLog): Promise<Installation> {
  const owner = await findServerAccount()
  const folders = await prepareFolders(directory, owner)
  const account = owner && (await withPassage(owner, folders.root, log))
  const binaries = await findBinaries({
    account,
    nativeFolder: folders.native,
    clusterMajor: await clusterMajor(folders.cluster),
  })
  const installation = { folders, binaries, account }
  await clearOrphan(folders, log)
  await ensureCluster(installation)
  return installation
}

class SupervisedServer implements EmbeddedPostgres {
  readonly connection
  readonly #installation: Installation
  readonly #log: EmbeddedLog
  readonly #stopping = new AbortController()
  #postmaster: Postmaster | undefined
  #supervision: Promise<void> = Promise.resolve()
  #stopped: Promise<void> | undefined

  constructor(installation: Installation, log: EmbeddedLog) {
    this.#installation = installation
    this.#log = log
    this.connection = {
      host: installation.folders.socket,
      port: SOCKET_PORT,
      user: SERVER_USER,
      database: SERVER_DATABASE,
    }
  }

  async start(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        this.#supervision = this.#supervise(await this.#launch())
        return
      } catch (error) {
        if (!(error instanceof StartFailed)) throw error
        if (!error.passing || attempt === START_ATTEMPTS) {
          throw new EmbeddedPostgresUnavailable(`${error.message}.`, { cause: error })
        }
        await sleep(FIRST_DELAY_MS * attempt)
      }
    }
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    this.#stopping.abort()
    const postmaster = this.#postmaster
    if (postmaster?.pid !== undefined) {
      await shutDownServer(postmaster.pid, () => postmaster.hasEnded(), this.#log)
    }
    await this.#supervision
    const { root, socket } = this.#installation.folders
    if (!socket.startsWith(root + path.sep)) await rm(socket, { recursive: true, force: true })
  }

  /** Follows one run after another, until `stop`. */
  async #supervise(first: Postmaster): Promise<void> {
    let postmaster: Postmaster | undefined = first
    let delayMs = 0
    while (postmaster !== undefined) {
      const started = performance.now()
      const end: string = await postmaster.ended
      if (this.#isStopping) return
      this.#log.error({ pid: postmaster.pid, end }, 'the database died, starting it again')
      if (performance.now() - started >= SOUND_RUN_MS) delayMs = 0
      postmaster = await this.#relaunch(delayMs)
      delayMs = nextDelay(delayMs)
    }
  }

  /** Tries until the server runs again; undefined when `stop` came first. */
  async #relaunch(firstDelayMs: number): Promise<Postmaster | undefined> {
    let delayMs = firstDelayMs
    while (!this.#isStopping) {
      try {
        await sleep(delayMs, undefined, { signal: this.#stopping.signal })
        const postmaster = await this.#launch()
        this.#log.info({ pid: postmaster.pid }, 'the database is back')
        return postmaster
      } catch (error) {
        if (this.#isStopping) return undefined
        delayMs = nextDelay(delayMs)
        this.#log.error({ err: error, delayMs }, 'the database did not start, trying again')
      }
    }
    return undefined
  }

  async #launch(): Promise<Postmaster> {
    const { folders } = this.#installation
    await clearOrphan(folders, this.#log)
    // `stop` has looked for a server to stop already; from here to its assignment nothing else runs.
    this.#stopping.signal.throwIfAborted()
    const postmaster = launchPostmaster(this.#installation, this.#log)
    this.#postmaster = postmaster
    await untilReady(postmaster, folders.cluster)
    return postmaster
  }

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted
  }
}

function nextDelay(delayMs: number): number {
  return delayMs === 0 ? FIRST_DELAY_MS : Math.min(delayMs * 2, LONGEST_DELAY_MS)
}
