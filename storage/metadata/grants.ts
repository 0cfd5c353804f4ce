import type { Queryable, Transaction } from './database.ts'

/** What the database knows of a grant; `auth/rules/grant.ts` tells what it means. */
export interface GrantRecord {
  readonly id: string
  readonly effect: 'allow' | 'deny'
  readonly subject: string
  readonly repositories: readonly string[]
  /** null: the grant is not about tags. */
  readonly tags: readonly string[] | null
  readonly actions: readonly string[]
  readonly description: string
  readonly createdAt: Date
  readonly createdBy: string | null
}

export type NewGrantRecord = Omit<GrantRecord, 'id' | 'createdAt'>

const COLUMNS = `id, effect, subject, repositories, tags, actions, description,
  created_at as "createdAt", created_by as "createdBy"`

export async function readAllGrants(db: Queryable): Promise<GrantRecord[]> {
  const { rows } = await db.query<GrantRecord>({
    name: 'read_all_grants',
    text: `select ${COLUMNS} from grants order by id`,
  })
  return rows
}

export async function findGrant(db: Queryable, id: string): Promise<GrantRecord | undefined> {
  const { rows } = await db.query<GrantRecord>({
    text: `select ${COLUMNS} from grants where id = $1`,
    values: [id],
  })
  return rows[0]
}

/** One page of grants in the order they were made, those after the id `after`, '' to begin. */
export async function listGrants(
  db: Queryable,
  filter: { readonly subject: string | undefined },
  page: { readonly after: string; readonly limit: number },
): Promise<GrantRecord[]> {
  const { rows } = await db.query<GrantRecord>({
    text: `select ${COLUMNS} from grants
           where id > $1 and ($2::text is null or subject = $2)
           order by id limit $3`,
    values: [page.after === '' ? '0' : page.after, filter.subject, page.limit],
  })
  return rows
}

/** @returns the id of the new grant */
export async function insertGrant(tx: Transaction, grant: NewGrantRecord): Promise<string> {
  const { rows } = await tx.query<{ id: string }>({
    text: `insert into grants
             (effect, subject, repositories, tags, actions, description, created_by)
           values ($1, $2, $3, $4, $5, $6, $7)
           returning id`,
    values: [
      grant.effect,
      grant.subject,
      grant.repositories,
      grant.tags,
      grant.actions,
      grant.description,
      grant.createdBy,
    ],
  })
  return rows[0]!.id
}

/** @returns false when there is no such grant */
export async function updateGrant(
  tx: Transaction,
  id: string,
  grant: Omit<NewGrantRecord, 'createdBy'>,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: `update grants set effect = $2, subject = $3, repositories = $4, tags = $5,
             actions = $6, description = $7
           where id = $1`,
    values: [
      id,
      grant.effect,
      grant.subject,
      grant.repositories,
      grant.tags,
      grant.actions,
      grant.description,
    ],
  })
  return rowCount === 1
}

/** @returns false when there is no such grant */
export async function deleteGrant(tx: Transaction, id: string): Promise<boolean> {
  const { rowCount } = await tx.query({ text: 'delete from grants where id = $1', values: [id] })
  return rowCount === 1
}
