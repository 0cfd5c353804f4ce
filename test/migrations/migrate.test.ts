import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { Pool } from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
import { migrate, readMigrations } from '../../migrations/migrate.ts'
import { openTestDatabase } from '../support/database.ts'

/** A database with nothing in it, and two pools as two starting programs have them. */
async function openEmptyDatabase() {
  const database = await openTestDatabase()
  const { connection, pool } = database
  await pool.query('drop schema public cascade')
  await pool.query('create schema public')
  const other = new Pool(connection)
  onTestFinished(async () => {
    await other.end()
    await database.close()
  })
  return { pool, other }
}

const FOLDER = new URL('../../migrations/', import.meta.url)

const files = async () => {
  const migrations = await readMigrations(FOLDER)
  return migrations.map(({ file }) => file)
}

describe('a migration', () => {
  it('applies everything once, in order', async () => {
    const { pool } = await openEmptyDatabase()
    expect(await migrate(pool)).toEqual(await files())
    expect(await migrate(pool)).toEqual([])
  })

  it('is done by one of several programs that start at once', async () => {
    const { pool, other } = await openEmptyDatabase()
    const applied = await Promise.all([migrate(pool), migrate(other), migrate(pool)])
    expect(applied.filter((list) => list.length > 0)).toEqual([await files()])
  })

  it('goes on where an older program ended', async () => {
    const { pool } = await openEmptyDatabase()
    const migrations = await readMigrations(FOLDER)
    await migrate(pool, migrations.slice(0, 2))
    await pool.query(
      `insert into upload_sessions (id, driver_state, expires_at)
       values (gen_random_uuid(), '{"file":"x"}', now())`,
    )
    expect(await migrate(pool)).toEqual((await files()).slice(2))
    const { rows } = await pool.query('select driver_state, leftovers from upload_sessions')
    expect(rows).toEqual([{ driver_state: { file: 'x' }, leftovers: false }])
  })

  it('leaves nothing of a file that failed, and names it', async () => {
    const { pool } = await openEmptyDatabase()
    await pool.query('create table tags (x int)') // in the way of the first file
    const [first] = await files()
    await expect(migrate(pool)).rejects.toThrow(`migrations/${first} failed`)
    const { rows } = await pool.query(
      `select tablename from pg_tables where schemaname = 'public' order by 1`,
    )
    expect(rows.map(({ tablename }) => tablename)).toEqual(['migrations', 'tags'])
    await pool.query('drop table tags')
    expect(await migrate(pool)).toEqual(await files())
  })

  it('refuses a database that a newer program has migrated', async () => {
    const { pool } = await openEmptyDatabase()
    await migrate(pool)
    await pool.query(`insert into migrations (version, checksum) values (9999, 'x')`)
    await expect(migrate(pool)).rejects.toThrow('the database is at migration 9999')
  })

  it('refuses a database that was migrated by another file of the same number', async () => {
    const { pool } = await openEmptyDatabase()
    await migrate(pool)
    await pool.query(`update migrations set checksum = 'other' where version = 1`)
    const [first] = await files()
    await expect(migrate(pool)).rejects.toThrow(`another ${first}`)
  })

  it('frees its lock when it refuses', async () => {
    const { pool, other } = await openEmptyDatabase()
    await migrate(pool)
    await pool.query(`insert into migrations (version, checksum) values (9999, 'x')`)
    await expect(migrate(pool)).rejects.toThrow('9999')
    await pool.query('delete from migrations where version = 9999')
    expect(await migrate(other)).toEqual([])
  })
})

describe('the files', () => {
  it('are numbered without a gap', async () => {
    const numbers = (await files()).map((file) => Number(file.slice(0, 4)))
    expect(numbers).toEqual(numbers.map((_, index) => index + 1))
  })

  it('are those with a number and a name, in order', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'slipway-migrations-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const names = ['0002_b.sql', '0001_a.sql', 'schema.sql', '3_c.sql', '0003_c.sql.bak', 'x.ts']
    for (const name of names) await writeFile(path.join(folder, name), `-- ${name}`)
    expect(await readMigrations(pathToFileURL(`${folder}/`))).toEqual([
      { version: 1, file: '0001_a.sql', sql: '-- 0001_a.sql' },
      { version: 2, file: '0002_b.sql', sql: '-- 0002_b.sql' },
    ])
  })
})
