/** Makes a database with a generated registry in it. */
import { migrate } from '../../migrations/migrate.ts'
import { openPool, type Pool } from '../../storage/metadata/database.ts'
import type { Size } from './content.ts'
import { fillingOf } from './generate.ts'

export type Connection = Parameters<typeof openPool>[0]['connection']

/** Creates the database, migrates it, and fills it. */
export async function buildDatabase(
  connection: Connection,
  database: string,
  size: Size,
): Promise<Connection> {
  const server = openPool({ connection, size: 1, onError: () => {} })
  await server.query(`create database ${database}`)
  await server.end()
  const made = { ...connection, database }
  // One connection: what is set for the session has to stay set.
  const db = openPool({ connection: made, size: 1, onError: () => {} })
  try {
    await migrate(db)
    await fill(db, size)
  } finally {
    await db.end()
  }
  return made
}

async function fill(db: Pool, size: Size): Promise<void> {
  await db.query(`set maintenance_work_mem = '512MB'`)
  await db.query(`set work_mem = '256MB'`)
  // Neither triggers nor the checks of foreign keys: these are made for all at once in the end.
  await db.query(`set session_replication_role = replica`)
  const filling = fillingOf(size)
  const tables = filling.map(({ table }) => table)
  const { drop, create } = await readDefinitions(db, tables)
  for (const statement of drop) await db.query(statement)
  for (const { table, statements } of filling) {
    // Nothing of a table that was emptied in the same transaction goes to the log.
    await db.query('begin')
    await db.query(`truncate ${table}`)
    for (const statement of statements) await db.query(statement)
    await db.query('commit')
    await db.query(`analyze ${table}`)
    for (const statement of create.get(table)?.indexes ?? []) await db.query(statement)
  }
  await db.query(`set session_replication_role = origin`)
  for (const { foreignKeys } of create.values()) {
    for (const statement of foreignKeys) await db.query(statement)
  }
  await resetIdentities(db, tables)
  await db.query(`vacuum (analyze) ${tables.join(', ')}`)
}

interface Definitions {
  readonly drop: readonly string[]
  /** By table. Indexes and what is made of them come first. */
  readonly create: ReadonlyMap<
    string,
    { readonly indexes: readonly string[]; readonly foreignKeys: readonly string[] }
  >
}

/** What slows filling down, as the migrations made it. */
async function readDefinitions(db: Pool, tables: readonly string[]): Promise<Definitions> {
  const { rows: constraints } = await db.query<Record<'table' | 'name' | 'type' | 'def', string>>({
    // Those that refer to these tables go as well: `leases` and `tags` are among them, others are empty.
    text: `select conrelid::regclass::text as "table", conname as name, contype as type,
             pg_get_constraintdef(oid) as def
           from pg_constraint
           where contype in ('p', 'u', 'f')
             and (conrelid::regclass::text = any($1) or confrelid::regclass::text = any($1))
           order by contype = 'f' desc, oid`,
    values: [tables],
  })
  const { rows: indexes } = await db.query<Record<'table' | 'name' | 'def', string>>({
    text: `select indrelid::regclass::text as "table", indexrelid::regclass::text as name,
             pg_get_indexdef(indexrelid) as def
           from pg_index
           where indrelid::regclass::text = any($1)
             and not exists (select from pg_constraint where conindid = indexrelid)`,
    values: [tables],
  })
  const drop = [
    ...constraints.map(({ table, name }) => `alter table ${table} drop constraint ${name}`),
    ...indexes.map(({ name }) => `drop index ${name}`),
  ]
  const add = ({ table, name, def }: (typeof constraints)[number]) =>
    `alter table ${table} add constraint ${name} ${def}`
  const all = [...new Set([...tables, ...constraints.map(({ table }) => table)])]
  const create = new Map(
    all.map((table) => {
      const own = constraints.filter((each) => each.table === table)
      const isForeign = (each: (typeof own)[number]) => each.type === 'f'
      return [
        table,
        {
          indexes: [
            ...own.filter((each) => !isForeign(each)).map(add),
            ...indexes.filter((each) => each.table === table).map(({ def }) => def),
          ],
          foreignKeys: own.filter(isForeign).map(add),
        },
      ]
    }),
  )
  return { drop, create }
}

/** Rows were given ids; those to come go on after them. */
async function resetIdentities(db: Pool, tables: readonly string[]): Promise<void> {
  const { rows } = await db.query<{ table: string; column: string }>({
    text: `select table_name as "table", column_name as "column" from information_schema.columns
           where table_schema = 'public' and is_identity = 'YES' and table_name = any($1)`,
    values: [tables],
  })
  for (const { table, column } of rows) {
    await db.query(
      `select setval(pg_get_serial_sequence('${table}', '${column}'), max(${column})) from ${table}`,
    )
  }
}
