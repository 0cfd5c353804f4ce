import path from 'node:path'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { migrate } from '../migrations/migrate.ts'
import { lockDirectory } from '../postgres/directory-lock.ts'
import { startEmbeddedPostgres } from '../postgres/embedded.ts'
import { openPool, type PoolSettings } from '../storage/metadata/database.ts'

export interface Database {
  readonly connection: PoolSettings['connection']
  /** Nobody but this program can reach it. */
  readonly embedded: boolean
  close(): Promise<void>
}

/**
 * The server that `database.url` names, or the embedded one, started. The data folder is this
 * program's alone until `close`.
 *
 * @throws DataDirectoryInUse when another Slipway has the data folder
 */
export async function openDatabase(config: Config, log: Logger): Promise<Database> {
  const url = config['database.url']
  if (url !== undefined) {
    return { connection: { connectionString: url }, embedded: false, close: async () => {} }
  }
  const data = path.resolve(config.data)
  const onLost = () => {
    // Another machine writes to this folder now: every further write of ours would damage it.
    log.fatal({ data }, 'the data folder was taken over')
    process.exit(1)
  }
  const lock = await lockDirectory(data, { log, onLost })
  try {
    const server = await startEmbeddedPostgres({ directory: path.join(data, 'postgres'), log })
    return {
      connection: server.connection,
      embedded: true,
      close: async () => {
        await server.stop()
        await lock.release()
      },
    }
  } catch (error) {
    await lock.release()
    throw error
  }
}

/** @returns the migrations applied */
export async function bringUpToDate({ connection }: Database, log: Logger): Promise<string[]> {
  const onError = (error: Error) => log.warn({ err: error }, 'database connection lost')
  const pool = openPool({ connection, size: 2, onError })
  try {
    return await migrate(pool)
  } finally {
    await pool.end()
  }
}
