import path from 'node:path'
import { s3Variables } from '../../support/s3.ts'
import { openS3Store } from '../../support/s3-store.ts'
import { startSeparatePostgres } from '../../support/separate-postgres.ts'
import { type Slipway, startSlipway } from './slipway.ts'
import type { Workspace } from './workspace.ts'

/** One database server and one prefix of the bucket, for any number of replicas. */
export interface Fleet {
  /** Starts a replica; `host` is that of an earlier one that has ended. */
  start(this: void, options?: ReplicaOptions): Promise<Slipway>
}

interface ReplicaOptions {
  readonly host?: string
  /** Settings besides those that all share. */
  readonly environment?: NodeJS.ProcessEnv
}

export async function openFleet(workspace: Workspace): Promise<Fleet> {
  const directory = path.join(workspace.directory, 'database')
  const postgres = await startSeparatePostgres(directory, workspace.onClose)
  const stored = openS3Store()
  workspace.onClose(() => stored.close())

  const { host: socket, port, user, database } = postgres.connection
  const shared = {
    SLIPWAY_DATABASE_URL: `postgres://${user}@localhost:${port}/${database}?host=${socket}`,
    SLIPWAY_TRUSTED_PROXIES: '127.0.0.1',
    SLIPWAY_AUTH: 'none',
    ...s3Variables(stored.settings.prefix),
  }
  let replicas = 0
  return {
    start: ({ host, environment } = {}) => {
      replicas += 1
      return startSlipway(workspace, path.join(workspace.directory, `replica-${replicas}`), {
        ...(host !== undefined && { host }),
        environment: { ...shared, ...environment },
      })
    },
  }
}
