import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Pool } from 'pg'
import { pino } from 'pino'
import type { TestProject } from 'vitest/node'
import { migrate } from '../../migrations/migrate.ts'
import { startEmbeddedPostgres } from '../../postgres/embedded.ts'
import { compilePrograms } from './runnable.ts'
import { secretsIn } from './secrets.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Where every test database is made; any database of the server. */
    database: { host: string; port: number; user: string; database: string }
    /** File of what all servers of the run log, searched for secrets when it ends. */
    log: string
  }
}

export const TEMPLATE = 'slipway_template'

/** Compiles the programs, and starts the embedded Postgres once for the whole run and migrates one database to clone. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const compiled = compilePrograms()
  const folder = await mkdtemp(path.join(tmpdir(), 'slipway-test-'))
  await chmod(folder, 0o755) // as root the server runs as another user, who must get in
  const log = pino({ level: 'warn' })
  const server = await startEmbeddedPostgres({ directory: path.join(folder, 'postgres'), log })
  const admin = new Pool({ ...server.connection, max: 1 })
  // Nothing here has to outlive a power cut. What has to is tested with servers of its own.
  await admin.query('alter system set fsync = off')
  await admin.query('select pg_reload_conf()')
  await admin.query(`create database ${TEMPLATE}`)
  await admin.end()

  const pool = new Pool({ ...server.connection, database: TEMPLATE })
  await migrate(pool)
  await pool.end()

  project.provide('database', server.connection)
  const logFile = path.join(folder, 'servers.log')
  await writeFile(logFile, '')
  project.provide('log', logFile)
  return async () => {
    await server.stop()
    const found = secretsIn(await readFile(logFile, 'utf8'))
    await rm(folder, { recursive: true, force: true })
    await rm(compiled, { recursive: true, force: true })
    if (found.length === 0) return
    // What is thrown here is reported, but the run would count as passed.
    process.exitCode = 1
    throw new Error(`the servers logged secrets:\n${found.join('\n')}`)
  }
}
