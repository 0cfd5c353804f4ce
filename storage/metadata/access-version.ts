import type { Queryable, Transaction } from './database.ts'

/** A number that every change of who may do what makes larger. */
export async function findAccessVersion(db: Queryable): Promise<string> {
  const { rows } = await db.query<{ version: string }>({
    name: 'find_access_version',
    text: 'select version from access_version',
  })
  return rows[0]!.version
}

/** Begins a change of who may do what: others wait until the transaction ends. */
export async function advanceAccessVersion(tx: Transaction): Promise<void> {
  await tx.query({ text: 'update access_version set version = version + 1' })
}
