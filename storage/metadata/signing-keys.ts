import type { Queryable, Transaction } from './database.ts'

/** A key that tokens are signed with, as a JSON Web Key with its private part. */
export interface SigningKeyRecord {
  readonly id: string
  readonly privateJwk: Readonly<Record<string, unknown>>
  readonly createdAt: Date
}

/** Newest first: that one signs, the others are kept for the tokens they have signed. */
export async function readSigningKeys(db: Queryable): Promise<SigningKeyRecord[]> {
  const { rows } = await db.query<SigningKeyRecord>({
    name: 'read_signing_keys',
    text: `select id, private_jwk as "privateJwk", created_at as "createdAt"
           from signing_keys order by created_at desc, id`,
  })
  return rows
}

export async function insertSigningKey(
  tx: Transaction,
  { id, privateJwk }: Omit<SigningKeyRecord, 'createdAt'>,
): Promise<void> {
  await tx.query({
    // Not now(): two in one transaction would be equally new.
    text: 'insert into signing_keys (id, private_jwk, created_at) values ($1, $2, clock_timestamp())',
    values: [id, JSON.stringify(privateJwk)],
  })
}

/** Deletes keys that were followed by another so long ago that no token of theirs is good. */
export async function deleteRetiredKeys(tx: Transaction, seconds: number): Promise<number> {
  const { rowCount } = await tx.query({
    text: `delete from signing_keys k
           where exists (select from signing_keys newer
                         where newer.created_at > k.created_at
                           and newer.created_at < now() - make_interval(secs => $1))`,
    values: [seconds],
  })
  return rowCount ?? 0
}
