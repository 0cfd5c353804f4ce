import type { Queryable, Transaction } from './database.ts'

/** An upstream that was added by command. */
export interface StoredUpstream {
  readonly name: string
  /** As it was written, and checked by the version of the program that did. */
  readonly definition: unknown
  readonly createdAt: Date
}

/** All of them, in the byte order of their names. */
export async function listUpstreams(db: Queryable): Promise<StoredUpstream[]> {
  const { rows } = await db.query<StoredUpstream>({
    text: `select name, definition, created_at as "createdAt" from upstreams order by name`,
  })
  return rows
}

/** Until the transaction ends nobody else changes any of them; they can be read. */
export async function lockUpstreams(tx: Transaction): Promise<void> {
  await tx.query({ text: 'lock table upstreams in share row exclusive mode' })
}

/** @returns false when there is one of that name */
export async function insertUpstream(
  tx: Transaction,
  { name, definition }: Pick<StoredUpstream, 'name' | 'definition'>,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: `insert into upstreams (name, definition) values ($1, $2)
           on conflict (name) do nothing`,
    values: [name, JSON.stringify(definition)],
  })
  return rowCount === 1
}

/** @returns false when there is no such upstream */
export async function updateUpstream(
  tx: Transaction,
  { name, definition }: Pick<StoredUpstream, 'name' | 'definition'>,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: 'update upstreams set definition = $2 where name = $1',
    values: [name, JSON.stringify(definition)],
  })
  return rowCount === 1
}

/** What was cached of it stays. @returns false when there is no such upstream */
export async function deleteUpstream(tx: Transaction, name: string): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: 'delete from upstreams where name = $1',
    values: [name],
  })
  return rowCount === 1
}
