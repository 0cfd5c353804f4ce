import type { AccountId } from './accounts.ts'
import type { Queryable, Transaction } from './database.ts'

export type CredentialKind = 'personal' | 'identity' | 'keyless'

/** A secret besides the password of an account; of the secret itself only a hash is kept. */
export interface Credential {
  readonly id: string
  readonly kind: CredentialKind
  /** Undefined: keyless, it speaks for nobody who has an account. */
  readonly accountId: AccountId | undefined
  /** What it was obtained with: it ends with that one. */
  readonly parentId: string | undefined
  readonly subject: string
  readonly name: string
  /** The most it may do, as `auth/rules/grant.ts` has it; undefined: as much as the account. */
  readonly coverage: unknown
  /** Of the account when it was made. */
  readonly generation: number | undefined
  /** Keyless: of the rules that let it in, separated by spaces. */
  readonly revision: string | undefined
  readonly createdAt: Date
  readonly expiresAt: Date | undefined
  readonly lastUsedAt: Date | undefined
}

type Always = 'id' | 'kind' | 'subject' | 'name' | 'createdAt'

type CredentialRow = Pick<Credential, Always> & {
  readonly [Key in keyof Omit<Credential, Always>]: Credential[Key] | null
}

const COLUMNS = `id, kind, account_id as "accountId", parent_id as "parentId", subject, name,
  coverage, generation, revision, created_at as "createdAt", expires_at as "expiresAt",
  last_used_at as "lastUsedAt"`

export async function findCredential(db: Queryable, id: string): Promise<Credential | undefined> {
  const { rows } = await db.query<CredentialRow>({
    name: 'find_credential',
    text: `select ${COLUMNS} from credentials where id = $1`,
    values: [id],
  })
  return toCredential(rows[0])
}

export async function findCredentialBySecret(
  db: Queryable,
  secretHash: Buffer,
): Promise<Credential | undefined> {
  const { rows } = await db.query<CredentialRow>({
    name: 'find_credential_by_secret',
    text: `select ${COLUMNS} from credentials
           where secret_hash = $1 and (expires_at is null or expires_at > now())`,
    values: [secretHash],
  })
  return toCredential(rows[0])
}

/** The personal tokens of an account, or what its clients keep of a login, oldest first. */
export async function listCredentials(
  db: Queryable,
  accountId: AccountId,
  kind: CredentialKind,
): Promise<Credential[]> {
  const { rows } = await db.query<CredentialRow>({
    text: `select ${COLUMNS} from credentials
           where account_id = $1 and kind = $2 order by created_at, id limit 1000`,
    values: [accountId, kind],
  })
  return rows.map((row) => toCredential(row)!)
}

export async function countIdentityTokens(db: Queryable, accountId: AccountId): Promise<number> {
  const { rows } = await db.query<{ count: number }>({
    text: `select count(*)::int as count from credentials
           where account_id = $1 and kind = 'identity' and expires_at > now()`,
    values: [accountId],
  })
  return rows[0]!.count
}

export interface NewCredential
  extends Omit<Credential, 'createdAt' | 'expiresAt' | 'lastUsedAt' | 'coverage'> {
  readonly secretHash: Buffer
  readonly coverage: readonly object[] | undefined
  /** Seconds from now; undefined: never. */
  readonly seconds: number | undefined
}

/** @returns false when the account has a personal token of that name */
export async function insertCredential(db: Queryable, credential: NewCredential): Promise<boolean> {
  const { coverage } = credential
  const { rowCount } = await db.query({
    text: `insert into credentials (id, kind, account_id, parent_id, subject, name, secret_hash,
             coverage, generation, revision, expires_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + make_interval(secs => $11))
           on conflict (account_id, name) where kind = 'personal' do nothing`,
    values: [
      credential.id,
      credential.kind,
      credential.accountId,
      credential.parentId,
      credential.subject,
      credential.name,
      credential.secretHash,
      coverage === undefined ? null : JSON.stringify(coverage),
      credential.generation,
      credential.revision,
      credential.seconds,
    ],
  })
  return rowCount === 1
}

/** Whether this call is the first to say that a token's client is given the next one. */
export async function markFollowed(db: Queryable, id: string): Promise<boolean> {
  const { rowCount } = await db.query({
    text: 'update credentials set followed = true where id = $1 and not followed',
    values: [id],
  })
  return rowCount === 1
}

/** Revokes it, with all that was obtained with it. @returns false when it was not there */
export async function deleteCredential(
  tx: Transaction,
  { id, accountId }: { readonly id: string; readonly accountId: AccountId | undefined },
): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: `delete from credentials where id = $1 and ($2::bigint is null or account_id = $2)`,
    values: [id, accountId],
  })
  return rowCount === 1
}

/** Revokes the personal tokens of the account, and all that clients keep of its logins. */
export async function deleteCredentials(tx: Transaction, accountId: AccountId): Promise<void> {
  await tx.query({ text: 'delete from credentials where account_id = $1', values: [accountId] })
}

/** Once a minute at most. */
export async function touchCredential(db: Queryable, id: string): Promise<void> {
  await db.query({
    name: 'touch_credential',
    text: `update credentials set last_used_at = now()
           where id = $1 and (last_used_at is null or last_used_at < now() - interval '1 minute')`,
    values: [id],
  })
}

/** What has expired, but personal tokens for a month more, so that their owners see why. */
export async function pruneCredentials(db: Queryable): Promise<number> {
  const { rowCount } = await db.query({
    text: `delete from credentials
           where expires_at < now() - case kind when 'personal' then interval '30 days'
                                                else interval '1 hour' end`,
  })
  return rowCount ?? 0
}

function toCredential(row: CredentialRow | undefined): Credential | undefined {
  if (row === undefined) return undefined
  return {
    ...row,
    accountId: row.accountId ?? undefined,
    parentId: row.parentId ?? undefined,
    coverage: row.coverage ?? undefined,
    generation: row.generation ?? undefined,
    revision: row.revision ?? undefined,
    expiresAt: row.expiresAt ?? undefined,
    lastUsedAt: row.lastUsedAt ?? undefined,
  }
}
