import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import type { Pool, PoolClient } from 'pg'

const FILE_NAME = /^(\d{4})_[a-z0-9_]+\.sql$/
/** Any number that no other program uses with this database. */
const LOCK = 7_305_001

export interface Migration {
  readonly version: number
  readonly file: string
  readonly sql: string
}

/**
 * Applies every migration the database lacks, oldest first, each in a transaction of its own.
 * Servers may start at the same time: one migrates, the others wait. Only tests give migrations
 * other than those of this folder.
 *
 * @returns the files applied
 * @throws when the database was migrated by a newer program, or by other files of the same number
 */
export async function migrate(pool: Pool, given?: readonly Migration[]): Promise<string[]> {
  const migrations = given ?? (await readMigrations(new URL('.', import.meta.url)))
  const client = await pool.connect()
  try {
    await client.query('select pg_advisory_lock($1)', [LOCK])
    const applied = await readApplied(client)
    check(migrations, applied)
    const pending = migrations.filter(({ version }) => !applied.has(version))
    for (const migration of pending) await apply(client, migration)
    return pending.map(({ file }) => file)
  } finally {
    await client.query('select pg_advisory_unlock($1)', [LOCK]).catch(() => {})
    client.release()
  }
}

/**
 * The files that `migrate` would apply, none of which it applies: for who must leave the database as
 * the servers on it know it.
 *
 * @throws as {@link migrate} does
 */
export async function pendingMigrations(pool: Pool): Promise<string[]> {
  const migrations = await readMigrations(new URL('.', import.meta.url))
  const { rows } = await pool.query<{ found: boolean }>({
    text: `select to_regclass('migrations') is not null as found`,
  })
  const applied = rows[0]?.found ? await readVersions(pool) : new Map<number, string>()
  check(migrations, applied)
  return migrations.filter(({ version }) => !applied.has(version)).map(({ file }) => file)
}

export async function readMigrations(folder: URL): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => FILE_NAME.test(name)).toSorted()
  return Promise.all(
    names.map(async (file) => ({
      version: Number(FILE_NAME.exec(file)?.[1]),
      file,
      sql: await readFile(new URL(file, folder), 'utf8'),
    })),
  )
}

async function readApplied(client: PoolClient): Promise<Map<number, string>> {
  await client.query(`
    create table if not exists migrations (
      version     integer primary key,
      checksum    text not null,
      applied_at  timestamptz not null default now()
    )`)
  return readVersions(client)
}

/** Version to the checksum of the file it was applied from. */
async function readVersions(db: Pool | PoolClient): Promise<Map<number, string>> {
  const { rows } = await db.query<{ version: number; checksum: string }>(
    'select version, checksum from migrations',
  )
  return new Map(rows.map(({ version, checksum }) => [version, checksum]))
}

function check(migrations: readonly Migration[], applied: ReadonlyMap<number, string>): void {
  const newest = migrations.at(-1)?.version ?? 0
  const ahead = Math.max(0, ...applied.keys())
  if (ahead > newest) {
    throw new Error(
      `the database is at migration ${ahead}, this program knows only up to ${newest}: ` +
        'start the newer program, or restore a backup from before its first start',
    )
  }
  const changed = migrations.find((migration) => {
    const checksum = applied.get(migration.version)
    return checksum !== undefined && checksum !== checksumOf(migration)
  })
  if (changed !== undefined) {
    throw new Error(`the database was migrated by another ${changed.file} than this program has`)
  }
}

async function apply(client: PoolClient, migration: Migration): Promise<void> {
  await client.query('begin')
  try {
    await client.query(migration.sql)
    await client.query('insert into migrations (version, checksum) values ($1, $2)', [
      migration.version,
      checksumOf(migration),
    ])
    await client.query('commit')
  } catch (cause) {
    await client.query('rollback').catch(() => {})
    throw new Error(`migrations/${migration.file} failed`, { cause })
  }
}

function checksumOf({ sql }: Migration): string {
  return createHash('sha256').update(sql).digest('hex')
}
