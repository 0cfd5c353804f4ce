import path from 'node:path'
import { Client } from 'pg'
import { findRunningServer } from '../../postgres/running.ts'
import { SERVER_DATABASE } from '../../postgres/settings.ts'
import type { Setup } from '../peers/peer.ts'
import { startDatabase } from '../peers/postgres.ts'

/** What the database did from `begin` to `end`, by its own account. */
export interface DatabaseWork {
  /** Statements of clients, `begin` and `commit` among them; not those within functions. */
  readonly statements: number
  readonly walBytes: number
  /** Copies of whole pages in it, of each page the first time after a checkpoint. */
  readonly walPageBytes: number
}

export interface DatabaseCounter {
  begin(): Promise<void>
  end(): Promise<DatabaseWork>
  close(): Promise<void>
}

/** Not that of Slipway, so that what is counted is told apart from the counting. */
const OWN_DATABASE = 'template1'
const PAGE_BYTES = 8192

/** Makes the cluster that a server will find, and has it count statements from its start. */
export async function prepareDatabase(directory: string, setup: Setup): Promise<void> {
  const folder = clusterFolder(directory, setup)
  const database = await startDatabase(folder)
  try {
    const client = await connect(folder)
    await client.query(`alter system set shared_preload_libraries = 'pg_stat_statements'`)
    await client.query(`create extension pg_stat_statements`)
    await client.end()
  } finally {
    await database.stop()
  }
}

export async function openDatabaseCounter(
  directory: string,
  setup: Setup,
): Promise<DatabaseCounter> {
  const client = await connect(clusterFolder(directory, setup))
  let from = ''
  return {
    begin: async () => {
      await client.query('select pg_stat_statements_reset()')
      from = await insertPosition(client)
    },
    end: async () => {
      const { rows } = await client.query<DatabaseWork>(
        `select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1)::float8 as "walBytes",
           coalesce(sum(calls), 0)::float8 as statements,
           coalesce(sum(wal_fpi), 0)::float8 * ${PAGE_BYTES} as "walPageBytes"
         from pg_stat_statements s
         where toplevel and dbid = (select oid from pg_database where datname = $2)`,
        [from, SERVER_DATABASE],
      )
      return rows[0]!
    },
    close: () => client.end(),
  }
}

async function insertPosition(client: Client): Promise<string> {
  const { rows } = await client.query<{ position: string }>(
    'select pg_current_wal_insert_lsn() as position',
  )
  return rows[0]!.position
}

async function connect(folder: string): Promise<Client> {
  const connection = await findRunningServer(folder)
  if (connection === undefined) throw new Error(`no Postgres runs in ${folder}`)
  const client = new Client({ ...connection, database: OWN_DATABASE })
  await client.connect()
  return client
}

/** Where bench/peers/slipway.ts has the database of a server in `directory`. */
function clusterFolder(directory: string, { database }: Setup): string {
  return database === 'embedded'
    ? path.join(directory, 'data', 'postgres')
    : path.join(directory, 'database')
}
