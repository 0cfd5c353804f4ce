import type { Queryable, Transaction } from './database.ts'

/** A row id. Postgres counts in 64 bits, so it stays text here. */
export type AccountId = string & { readonly __type: 'AccountId' }

export type AccountKind = 'user' | 'robot'

export interface Account {
  readonly id: AccountId
  readonly kind: AccountKind
  readonly name: string
  readonly description: string
  readonly admin: boolean
  readonly disabled: boolean
  /** Tokens made for an earlier one are not good any more. */
  readonly generation: number
  readonly expiresAt: Date | undefined
  readonly lastUsedAt: Date | undefined
  readonly createdAt: Date
  readonly createdBy: string | undefined
  readonly groups: readonly string[]
}

interface AccountRow extends Omit<Account, 'expiresAt' | 'lastUsedAt' | 'createdBy'> {
  readonly expiresAt: Date | null
  readonly lastUsedAt: Date | null
  readonly createdBy: string | null
}

const COLUMNS = `a.id, a.kind, a.name, a.description, a.admin, a.disabled, a.generation,
  a.expires_at as "expiresAt", a.last_used_at as "lastUsedAt",
  a.created_at as "createdAt", a.created_by as "createdBy",
  array(select g.name from group_members m join groups g on g.id = m.group_id
        where m.account_id = a.id order by g.name) as groups`

export async function findAccount(db: Queryable, id: AccountId): Promise<Account | undefined> {
  const { rows } = await db.query<AccountRow>({
    name: 'find_account',
    text: `select ${COLUMNS} from accounts a where a.id = $1`,
    values: [id],
  })
  return toAccount(rows[0])
}

export async function findAccountByName(
  db: Queryable,
  name: string,
): Promise<(Account & { readonly passwordHash: string | undefined }) | undefined> {
  const { rows } = await db.query<AccountRow & { passwordHash: string | null }>({
    name: 'find_account_by_name',
    text: `select ${COLUMNS}, a.password_hash as "passwordHash" from accounts a where a.name = $1`,
    values: [name],
  })
  const account = toAccount(rows[0])
  return account && { ...account, passwordHash: rows[0]?.passwordHash ?? undefined }
}

export async function findRobotBySecret(
  db: Queryable,
  secretHash: Buffer,
): Promise<Account | undefined> {
  const { rows } = await db.query<AccountRow>({
    name: 'find_robot_by_secret',
    text: `select ${COLUMNS} from accounts a where a.secret_hash = $1`,
    values: [secretHash],
  })
  return toAccount(rows[0])
}

/** One page of accounts in the byte order of their names, those after `after`. */
export async function listAccounts(
  db: Queryable,
  kind: AccountKind,
  page: { readonly after: string; readonly limit: number },
): Promise<Account[]> {
  const { rows } = await db.query<AccountRow>({
    text: `select ${COLUMNS} from accounts a
           where a.kind = $1 and a.name > $2
           order by a.name limit $3`,
    values: [kind, page.after, page.limit],
  })
  return rows.map((row) => toAccount(row)!)
}

export async function hasAccounts(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ exists: boolean }>({
    text: 'select exists (select from accounts) as exists',
  })
  return rows[0]!.exists
}

/** How many accounts can administer, and will be able to. */
export async function countAdmins(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ count: number }>({
    text: `select count(*)::int as count from accounts
           where admin and not disabled and expires_at is null
             and (kind = 'robot' or password_hash is not null)`,
  })
  return rows[0]!.count
}

export interface NewAccount {
  readonly kind: AccountKind
  readonly name: string
  readonly description: string
  readonly passwordHash: string | undefined
  readonly secretHash: Buffer | undefined
  readonly admin: boolean
  readonly expiresAt: Date | undefined
  readonly createdBy: string | undefined
}

/** @returns false when the name is taken, by a user or a robot */
export async function insertAccount(tx: Transaction, account: NewAccount): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: `insert into accounts
             (kind, name, description, password_hash, secret_hash, admin, expires_at, created_by)
           values ($1, $2, $3, $4, $5, $6, $7, $8)
           on conflict (name) do nothing`,
    values: [
      account.kind,
      account.name,
      account.description,
      account.passwordHash,
      account.secretHash,
      account.admin,
      account.expiresAt,
      account.createdBy,
    ],
  })
  return rowCount === 1
}

/** What is left out stays as it is. */
export interface AccountChange {
  readonly description?: string | undefined
  readonly passwordHash?: string | undefined
  readonly secretHash?: Buffer | undefined
  readonly admin?: boolean | undefined
  readonly disabled?: boolean | undefined
  /** null: never. */
  readonly expiresAt?: Date | null | undefined
  /** Whether tokens that the account has are refused from now on. */
  readonly revokesTokens: boolean
}

/** @returns the account as it is now, undefined when there is none */
export async function updateAccount(
  tx: Transaction,
  key: { readonly kind: AccountKind; readonly name: string },
  change: AccountChange,
): Promise<Account | undefined> {
  const { rows } = await tx.query<{ id: AccountId }>({
    text: `update accounts set
             description = coalesce($3, description),
             password_hash = coalesce($4, password_hash),
             secret_hash = coalesce($5, secret_hash),
             admin = coalesce($6, admin),
             disabled = coalesce($7, disabled),
             expires_at = case when $8 then $9::timestamptz else expires_at end,
             generation = generation + $10::int
           where kind = $1 and name = $2
           returning id`,
    values: [
      key.kind,
      key.name,
      change.description,
      change.passwordHash,
      change.secretHash,
      change.admin,
      change.disabled,
      change.expiresAt !== undefined,
      change.expiresAt,
      change.revokesTokens ? 1 : 0,
    ],
  })
  const id = rows[0]?.id
  return id === undefined ? undefined : findAccount(tx, id)
}

/** Deletes the account with its credentials and with the grants that name it. */
export async function deleteAccount(
  tx: Transaction,
  { kind, name }: { readonly kind: AccountKind; readonly name: string },
): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: 'delete from accounts where kind = $1 and name = $2',
    values: [kind, name],
  })
  if (rowCount !== 1) return false
  await tx.query({ text: 'delete from grants where subject = $1', values: [`${kind}:${name}`] })
  return true
}

/** Nothing goes by it, so it need not outlive a crash, and is written once a minute at most. */
export async function touchAccount(db: Queryable, id: AccountId): Promise<void> {
  await db.query({
    name: 'touch_account',
    text: `update accounts set last_used_at = now()
           where id = $1 and (last_used_at is null or last_used_at < now() - interval '1 minute')`,
    values: [id],
  })
}

function toAccount(row: AccountRow | undefined): Account | undefined {
  if (row === undefined) return undefined
  return {
    ...row,
    expiresAt: row.expiresAt ?? undefined,
    lastUsedAt: row.lastUsedAt ?? undefined,
    createdBy: row.createdBy ?? undefined,
  }
}
