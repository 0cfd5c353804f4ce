import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Pool } from 'pg'
import { startEmbeddedPostgres } from '../postgres/embedded.ts'
import { migrate } from './migrate.ts'

// Writes migrations/schema.sql, which shows what all migrations together make, for people to
// read; with --check only says whether it is current. It is made from the catalogs, because
// pg_dump does not come with the embedded server.

const FILE = new URL('schema.sql', import.meta.url)

const COLUMNS = `
  select c.relname as "table",
         quote_ident(a.attname) as name,
         format_type(a.atttypid, a.atttypmod) as type,
         case when a.attcollation not in (0, t.typcollation) then quote_ident(l.collname) end as collation,
         case a.attidentity when 'a' then 'always' when 'd' then 'by default' end as identity,
         pg_get_expr(d.adbin, d.adrelid) as "default",
         case when a.attstorage <> t.typstorage then
           case a.attstorage when 'p' then 'plain' when 'e' then 'external'
             when 'x' then 'extended' when 'm' then 'main' end
         end as storage,
         a.attnotnull as "notNull"
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_type t on t.oid = a.atttypid
  left join pg_collation l on l.oid = a.attcollation
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
  order by c.relname collate "C", a.attnum`

// Not null is shown with its column.
const CONSTRAINTS = `
  select c.relname as "table", n.conname as name, pg_get_constraintdef(n.oid) as definition
  from pg_constraint n
  join pg_class c on c.oid = n.conrelid
  where c.relnamespace = 'public'::regnamespace and n.contype not in ('n', 't')
  order by c.relname collate "C", position(n.contype in 'pufcx'), n.conname collate "C"`

// Those of constraints are shown as constraints.
const INDEXES = `
  select c.relname as "table", pg_get_indexdef(i.indexrelid) as definition
  from pg_index i
  join pg_class c on c.oid = i.indrelid
  join pg_class x on x.oid = i.indexrelid
  where c.relnamespace = 'public'::regnamespace
    and not exists (select from pg_constraint n where n.conindid = i.indexrelid and n.contype in ('p', 'u', 'x'))
  order by c.relname collate "C", x.relname collate "C"`

const TRIGGERS = `
  select c.relname as "table", pg_get_triggerdef(t.oid) as definition
  from pg_trigger t
  join pg_class c on c.oid = t.tgrelid
  where c.relnamespace = 'public'::regnamespace and not t.tgisinternal
  order by c.relname collate "C", t.tgname collate "C"`

const FUNCTIONS = `
  select pg_get_functiondef(p.oid) as definition
  from pg_proc p
  where p.pronamespace = 'public'::regnamespace and p.prokind in ('f', 'p')
  order by p.proname collate "C", pg_get_function_identity_arguments(p.oid) collate "C"`

interface Column {
  readonly table: string
  readonly name: string
  readonly type: string
  readonly collation: string | null
  readonly identity: string | null
  readonly default: string | null
  readonly storage: string | null
  readonly notNull: boolean
}

interface Definition {
  readonly table: string
  readonly name: string
  readonly definition: string
}

/** The tables, indexes, functions and triggers of a database, as SQL in an order that stays. */
export async function describeSchema(db: Pool): Promise<string> {
  const columns = await rowsOf<Column>(db, COLUMNS)
  const constraints = await rowsOf<Definition>(db, CONSTRAINTS)
  const indexes = await rowsOf<Definition>(db, INDEXES)
  const triggers = await rowsOf<Definition>(db, TRIGGERS)
  const functions = await rowsOf<Definition>(db, FUNCTIONS)
  const tables = [...new Set(columns.map(({ table }) => table))].map((table) => {
    const ofTable = (item: { readonly table: string }) => item.table === table
    const lines = [
      ...columns.filter(ofTable).map(describeColumn),
      ...constraints.filter(ofTable).map((item) => `constraint ${item.name} ${item.definition}`),
    ]
    const others = [...indexes.filter(ofTable), ...triggers.filter(ofTable)]
    const statements = others.map(({ definition }) => `${definition};\n`)
    return `create table ${table} (\n  ${lines.join(',\n  ')}\n);\n${statements.join('')}`
  })
  const bodies = functions.map(({ definition }) => `${definition.trimEnd()};\n`)
  return `-- What the migrations make, in full. Written by npm run schema.\n\n${[...bodies, ...tables].join('\n')}`
}

function describeColumn(column: Column): string {
  return [
    `${column.name} ${column.type}`,
    column.storage === null ? '' : `storage ${column.storage}`,
    column.collation === null ? '' : `collate ${column.collation}`,
    column.identity === null ? '' : `generated ${column.identity} as identity`,
    column.default === null ? '' : `default ${column.default}`,
    column.notNull ? 'not null' : '',
  ]
    .filter(Boolean)
    .join(' ')
}

async function rowsOf<Row extends object>(db: Pool, query: string): Promise<Row[]> {
  return (await db.query<Row>(query)).rows
}

/** Starts a server for the purpose, and removes it. */
async function describeMigrations(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'slipway-schema-'))
  await chmod(folder, 0o755) // as root the server runs as another user, who must get in
  const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
  const server = await startEmbeddedPostgres({ directory: path.join(folder, 'db'), log: silent })
  const pool = new Pool({ ...server.connection, max: 1 })
  try {
    await migrate(pool)
    return await describeSchema(pool)
  } finally {
    await pool.end()
    await server.stop()
    await rm(folder, { recursive: true })
  }
}

async function main(): Promise<void> {
  const current = await describeMigrations()
  if (!process.argv.includes('--check')) return writeFile(FILE, current)
  if ((await readFile(FILE, 'utf8').catch(() => '')) === current) return
  process.stderr.write('migrations/schema.sql is stale: npm run schema\n')
  process.exitCode = 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
