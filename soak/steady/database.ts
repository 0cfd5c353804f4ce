import path from 'node:path'
import { findRunningServer } from '../../postgres/running.ts'
import { openPool, type Pool } from '../../storage/metadata/database.ts'
import type { Workspace } from '../../test/durability/support/workspace.ts'

/** One connection to the embedded database of a server that runs. */
export async function openDatabase({ data, onClose }: Workspace): Promise<Pool> {
  const connection = await findRunningServer(path.join(data, 'postgres'))
  if (connection === undefined) throw new Error('there is no embedded database')
  const pool = openPool({ connection, size: 1, onError: () => {} })
  onClose(() => pool.end())
  return pool
}

export async function readDatabase(
  pool: Pool,
): Promise<{ readonly databaseBytes: number; readonly sessions: number }> {
  const { rows } = await pool.query<{ bytes: number; sessions: number }>(
    `select pg_database_size(current_database())::float8 as bytes,
       (select count(*) from upload_sessions)::int as sessions`,
  )
  return { databaseBytes: rows[0]?.bytes ?? 0, sessions: rows[0]?.sessions ?? 0 }
}
