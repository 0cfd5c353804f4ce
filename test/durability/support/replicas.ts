import path from 'node:path'
import type { SettingKey } from '../../../config/settings.ts'
import { openPool, type Pool } from '../../../storage/metadata/database.ts'
import { startSeparatePostgres } from '../../support/separate-postgres.ts'
import { type DatabaseProxy, openDatabaseProxy } from './database-proxy.ts'
import { type ServerProcess, startProgram } from './server.ts'
import type { Workspace } from './workspace.ts'

export interface Replica {
  /** Of its connections, in `pg_stat_activity`. */
  readonly name: string
  readonly server: ServerProcess
  /** Between it and the database. */
  readonly proxy: DatabaseProxy
}

export interface SharedDatabase {
  readonly replicas: readonly Replica[]
  /** To the same database, past the proxies. */
  readonly pool: Pool
}

/** Servers on one database of their own, with the same settings. The workspace ends all of it. */
export async function startReplicas(
  workspace: Workspace,
  names: readonly string[],
  settings: Readonly<Partial<Record<SettingKey, string>>> = {},
): Promise<SharedDatabase> {
  const directory = path.join(workspace.folder, 'external')
  const { connection } = await startSeparatePostgres(directory, workspace.onClose)
  const pool = openPool({ connection, size: 1, onError: () => {} })
  workspace.onClose(() => pool.end())
  const replicas: Replica[] = []
  for (const name of names) {
    const proxy = await openDatabaseProxy(path.join(connection.host, `.s.PGSQL.${connection.port}`))
    workspace.onClose(() => proxy.close())
    const address = `${connection.user}@127.0.0.1:${proxy.port}/${connection.database}`
    const url = `postgres://${address}?application_name=${name}`
    const server = await startProgram(workspace, { settings: { ...settings, 'database.url': url } })
    replicas.push({ name, proxy, server })
  }
  return { replicas, pool }
}
