import type { Queryable } from './database.ts'

export interface UsedAssertion {
  /** sha256 of what was signed: signatures of the same content may differ. */
  readonly hash: Uint8Array
  readonly expiresAt: Date
}

/** Of any number of calls with the same hash, on any number of replicas, one returns true. */
export async function insertUsedAssertion(
  db: Queryable,
  { hash, expiresAt }: UsedAssertion,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'insert_used_assertion',
    text: `insert into used_assertions (hash, expires_at) values ($1, $2)
           on conflict do nothing`,
    values: [hash, expiresAt],
  })
  return rowCount === 1
}

/**
 * Forgets those that expired an hour ago or longer. Whether a token is expired is judged by the
 * clock of a replica, with leeway; the hour is for clocks that differ from the database's.
 *
 * @returns how many
 */
export async function pruneUsedAssertions(db: Queryable): Promise<number> {
  const { rowCount } = await db.query({
    text: "delete from used_assertions where expires_at < now() - interval '1 hour'",
  })
  return rowCount ?? 0
}
