import type { Queryable, Transaction } from './database.ts'

export interface Group {
  readonly name: string
  readonly description: string
  readonly createdAt: Date
  readonly createdBy: string | undefined
  /** Names of accounts, in byte order. */
  readonly members: readonly string[]
}

const COLUMNS = `g.name, g.description, g.created_at as "createdAt", g.created_by as "createdBy",
  array(select a.name from group_members m join accounts a on a.id = m.account_id
        where m.group_id = g.id order by a.name) as members`

/** One page of groups in the byte order of their names, those after `after`. */
export async function listGroups(
  db: Queryable,
  page: { readonly after: string; readonly limit: number },
): Promise<Group[]> {
  const { rows } = await db.query<Group>({
    text: `select ${COLUMNS} from groups g where g.name > $1 order by g.name limit $2`,
    values: [page.after, page.limit],
  })
  return rows
}

export async function findGroup(db: Queryable, name: string): Promise<Group | undefined> {
  const { rows } = await db.query<Group>({
    text: `select ${COLUMNS} from groups g where g.name = $1`,
    values: [name],
  })
  return rows[0]
}

export interface NewGroup {
  readonly name: string
  readonly description: string
  readonly createdBy: string | undefined
}

/** @returns false when the name is taken */
export async function insertGroup(tx: Transaction, group: NewGroup): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: `insert into groups (name, description, created_by) values ($1, $2, $3)
           on conflict (name) do nothing`,
    values: [group.name, group.description, group.createdBy],
  })
  return rowCount === 1
}

/** @returns false when there is no such group */
export async function updateGroup(
  tx: Transaction,
  name: string,
  description: string,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: 'update groups set description = $2 where name = $1',
    values: [name, description],
  })
  return rowCount === 1
}

/** Deletes the group with the grants that name it; its members stay. */
export async function deleteGroup(tx: Transaction, name: string): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: 'delete from groups where name = $1',
    values: [name],
  })
  if (rowCount !== 1) return false
  await tx.query({ text: 'delete from grants where subject = $1', values: [`group:${name}`] })
  return true
}

export interface Membership {
  readonly group: string
  readonly account: string
}

/** @returns false when the group or the account does not exist; true also when it was a member */
export async function insertGroupMember(
  tx: Transaction,
  { group, account }: Membership,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: `insert into group_members (group_id, account_id)
           select g.id, a.id from groups g, accounts a where g.name = $1 and a.name = $2
           on conflict (group_id, account_id) do update set account_id = excluded.account_id`,
    values: [group, account],
  })
  return rowCount === 1
}

/** @returns false when it was no member */
export async function deleteGroupMember(
  tx: Transaction,
  { group, account }: Membership,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: `delete from group_members m using groups g, accounts a
           where m.group_id = g.id and m.account_id = a.id and g.name = $1 and a.name = $2`,
    values: [group, account],
  })
  return rowCount === 1
}
