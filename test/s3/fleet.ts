import path from 'node:path'
import { expect } from 'vitest'
import type { SettingKey } from '../../config/settings.ts'
import { variableOf } from '../../config/settings.ts'
import type { EmbeddedPostgres } from '../../postgres/embedded.ts'
import { dropExpiredUploads } from '../../registry/expired-uploads.ts'
import { openPool, type Pool } from '../../storage/metadata/database.ts'
import { type DatabaseProxy, openDatabaseProxy } from '../durability/support/database-proxy.ts'
import type { Target } from '../durability/support/pushes.ts'
import {
  type ServerProcess,
  startCrashingServer,
  startProgram,
} from '../durability/support/server.ts'
import { openWorkspace, type Workspace } from '../durability/support/workspace.ts'
import { openTestRegistry } from '../support/registry.ts'
import { s3Backend, s3Variables } from '../support/s3.ts'
import { S3Proxy } from '../support/s3-proxy.ts'
import { type OpenedS3Store, openS3Store } from '../support/s3-store.ts'
import { startSeparatePostgres } from '../support/separate-postgres.ts'
import { storageOf } from '../support/storage.ts'

type Settings = Readonly<Partial<Record<SettingKey, string>>>

/** One database server and one bucket, for any number of replicas. */
export interface Fleet {
  readonly workspace: Workspace
  /** Between the replicas and the database. */
  readonly database: DatabaseProxy
  /** Between the replicas and the object storage. */
  readonly s3: S3Proxy
  /** To the database itself. */
  readonly db: Pool
  readonly postgres: EmbeddedPostgres
  readonly stored: OpenedS3Store
  /** A replica as people run it. */
  start(this: void, settings?: Settings, environment?: NodeJS.ProcessEnv): Promise<ServerProcess>
  /** One that can be told where to die. */
  startCrashing(this: void, settings?: Settings): Promise<ServerProcess>
  /** Lets every session expire, drops them, and asserts that the bucket has what rows name. */
  expectNothingLeftOver(this: void): Promise<void>
}

export async function openFleet(): Promise<Fleet> {
  const workspace = await openWorkspace()
  const directory = path.join(workspace.folder, 'database')
  const postgres = await startSeparatePostgres(directory, workspace.onClose)
  const { host, port, user, database: name } = postgres.connection
  const database = await openDatabaseProxy(path.join(host, `.s.PGSQL.${port}`))
  workspace.onClose(() => database.close())
  const db = openPool({ connection: postgres.connection, size: 2, onError: () => {} })
  workspace.onClose(() => db.end())
  const s3 = await S3Proxy.start(s3Backend()?.endpoint ?? '')
  workspace.onClose(() => s3.stop())
  const stored = openS3Store()
  workspace.onClose(() => stored.close())

  const options = (settings: Settings, environment: NodeJS.ProcessEnv = {}) => ({
    settings: {
      'database.url': `postgres://${user}@127.0.0.1:${database.port}/${name}`,
      'database.connections': '5',
      ...settings,
    },
    environment: {
      ...s3Variables(stored.settings.prefix),
      [variableOf('storage.s3.endpoint')]: s3.endpoint,
      ...environment,
    },
  })
  return {
    workspace,
    database,
    s3,
    db,
    postgres,
    stored,
    start: (settings = {}, environment = {}) =>
      startProgram(workspace, options(settings, environment)),
    startCrashing: (settings = {}) => startCrashingServer(workspace, options(settings)),
    expectNothingLeftOver: () => expectNothingLeftOver(db, stored),
  }
}

export function to(server: ServerProcess, repository: string): Target {
  return { host: () => server.host, repository }
}

async function expectNothingLeftOver(db: Pool, stored: OpenedS3Store): Promise<void> {
  const { registry, close } = await openTestRegistry({
    storage: { ...storageOf(stored), close: async () => {} },
  })
  try {
    await db.query(
      `update upload_sessions set expires_at = '-infinity', writer_until = '-infinity'`,
    )
    await dropExpiredUploads({ ...registry, db })
  } finally {
    await close()
  }
  const { rows } = await db.query<{ location: string }>('select location from blobs')
  const { objects, multiparts } = await stored.contents()
  expect(multiparts).toEqual([])
  expect(objects.toSorted()).toEqual(rows.map(({ location }) => location).toSorted())
}
