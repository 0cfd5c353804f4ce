import { stat } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { pendingMigrations } from '../migrations/migrate.ts'
import { findServerAccount } from '../postgres/account.ts'
import { DataDirectoryInUse } from '../postgres/directory-lock.ts'
import { findRunningServer } from '../postgres/running.ts'
import { openPool, ping } from '../storage/metadata/database.ts'
import { bringUpToDate, type Database, openDatabase } from './database.ts'
import { remark } from './printing.ts'

export interface JoinedDatabase extends Database {
  /** Servers may be at work on it. */
  readonly isShared: boolean
}

export interface JoinOptions {
  readonly config: Config
  readonly log: Logger
  /** Whether an embedded database is made where there is none. */
  readonly creates: boolean
}

/**
 * The database, for a command that may run beside servers: the one `database.url` names; the
 * embedded one of the Slipway that has the data folder; or, when none has it, the embedded one,
 * started. A database that others use has to be as this program knows it, and is left so.
 *
 * @throws Error that says what to do, when it cannot be reached or is that of another version
 */
export async function joinDatabase(options: JoinOptions): Promise<JoinedDatabase> {
  const url = options.config['database.url']
  if (url !== undefined) {
    const connection = { connectionString: url }
    await requireCurrent(connection, 'run slipway migrate').catch((error: unknown) => {
      if (error instanceof WrongVersion) throw error
      throw new Error('the database does not answer', { cause: error })
    })
    return { connection, embedded: false, isShared: true, close: async () => {} }
  }
  const data = path.resolve(options.config.data)
  const owner = await ownerOf(data, options.creates)
  const running = owner === undefined ? undefined : await joinAsRoot(data, owner)
  if (running !== undefined) return running
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const joined = (await startAlone(options)) ?? (await joinRunning(data, deadline))
    if (joined !== undefined) return joined
    await sleep(POLL_MS)
  }
}

/** Whoever has the data folder may be starting, or stopping, its database. */
const PATIENCE_MS = 15_000
const POLL_MS = 250

/**
 * Somebody in the wrong folder would otherwise get a new database, and wonder where all is gone.
 *
 * @returns the uid the database belongs to; undefined when there is none, or this user may not look
 */
async function ownerOf(data: string, creates: boolean): Promise<number | undefined> {
  try {
    return (await stat(path.join(data, 'postgres', 'cluster'))).uid
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') return undefined
  }
  if (!creates) throw new Error(`there is no database in ${data}: name its folder (--data) or URL`)
  remark(`there was no database in ${data}: making one`)
  return undefined
}

/**
 * Root would start it as another user than the one it belongs to, who could not start it again.
 *
 * @throws Error when nobody runs it at the moment
 */
async function joinAsRoot(data: string, owner: number): Promise<JoinedDatabase | undefined> {
  const account = await findServerAccount().catch(() => undefined)
  if (account === undefined || owner === account.uid || owner === 0) return undefined
  return joinRunning(data, 0).catch((error: unknown) => {
    if (error instanceof WrongVersion) throw error
    const remedy = 'run this as that user, or while the server runs'
    throw new Error(`the database in ${data} belongs to uid ${owner}: ${remedy}`)
  })
}

/** Undefined when another Slipway has the data folder. */
async function startAlone({ config, log }: JoinOptions): Promise<JoinedDatabase | undefined> {
  let database: Database
  try {
    database = await openDatabase(config, log)
  } catch (error) {
    if (error instanceof DataDirectoryInUse) return undefined
    throw error
  }
  try {
    await bringUpToDate(database, log)
  } catch (error) {
    await database.close()
    throw error
  }
  return { ...database, isShared: false }
}

/** Undefined when its database does not take connections yet, or any more. @throws after `deadline` */
async function joinRunning(data: string, deadline: number): Promise<JoinedDatabase | undefined> {
  try {
    const connection = await findRunningServer(path.join(data, 'postgres'))
    if (connection === undefined) throw new Error('its database is not ready')
    await requireCurrent(connection, OTHER_VERSION)
    return { connection, embedded: true, isShared: true, close: async () => {} }
  } catch (error) {
    if (codeOf(error) === 'EACCES' || codeOf(error) === 'EPERM') {
      throw new Error(
        `a Slipway that runs on ${data} belongs to another user: run this as that user, or as root`,
        { cause: error },
      )
    }
    if (error instanceof WrongVersion) throw error
    if (performance.now() < deadline) return undefined
    throw new Error(`the Slipway that runs on ${data} cannot be reached`, { cause: error })
  }
}

const OTHER_VERSION = 'another version of Slipway is running on it; use that one'

class WrongVersion extends Error {
  override readonly name = 'WrongVersion'
}

/** @throws WrongVersion, and what the driver throws when there is no connection */
async function requireCurrent(connection: Database['connection'], remedy: string): Promise<void> {
  const pool = openPool({ connection, size: 1, onError: () => {} })
  try {
    await ping(pool)
    const pending = await pendingMigrations(pool).catch((cause: unknown) => {
      throw new WrongVersion('the database is that of another version of Slipway', { cause })
    })
    if (pending.length > 0) {
      throw new WrongVersion(`the database lacks ${pending.join(', ')}: ${remedy}`)
    }
  } finally {
    await pool.end()
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
