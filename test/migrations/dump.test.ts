import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeSchema } from '../../migrations/dump.ts'
import { openTestDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await openTestDatabase()
})
afterAll(() => database.close())

it('migrations/schema.sql is what npm run schema writes', async () => {
  const written = await readFile(new URL('../../migrations/schema.sql', import.meta.url), 'utf8')
  expect(await describeSchema(database.pool)).toBe(written)
})

it.each([
  ['a column', 'alter table tags add column note text'],
  ['a type', 'alter table tags alter column updated_by type varchar(9)'],
  ['a default', `alter table tags alter column updated_by set default 'x'`],
  ['a collation', 'alter table tags alter column updated_by type text collate "C"'],
  ['a not null', 'alter table upload_sessions alter column owner set not null'],
  ['a constraint', 'alter table tags add constraint c check (manifest_id > 0)'],
  ['an index', 'create index i on tags (updated_at)'],
  ['a trigger', 'drop trigger tags_record_event on tags'],
  ['a function', `create function f() returns int language sql as 'select 1'`],
  ['a table', 'create table extra (id int primary key)'],
])('the schema shows %s', async (_, change) => {
  const { pool } = database
  const before = await describeSchema(pool)
  await pool.query(change)
  expect(await describeSchema(pool)).not.toBe(before)
})
