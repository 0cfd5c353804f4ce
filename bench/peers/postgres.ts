import { readFileSync } from 'node:fs'
import path from 'node:path'
import { startEmbeddedPostgres } from '../../postgres/embedded.ts'

export interface Database {
  readonly url: string
  /** Of the postmaster. */
  readonly pid: number
  stop(this: void): Promise<void>
}

/** A Postgres of its own, with its data in a new folder `directory`. */
export async function startDatabase(directory: string): Promise<Database> {
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const postgres = await startEmbeddedPostgres({ directory, log })
  const { host: socket, port, user, database } = postgres.connection
  const file = path.join(directory, 'cluster', 'postmaster.pid')
  return {
    url: `postgres://${user}@localhost:${port}/${database}?host=${socket}`,
    pid: Number.parseInt(readFileSync(file, 'utf8'), 10),
    stop: () => postgres.stop(),
  }
}
