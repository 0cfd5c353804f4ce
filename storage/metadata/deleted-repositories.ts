/* Repositories that lost their name and can have it back. */
import { DatabaseError } from 'pg'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable, Transaction } from './database.ts'
import type { NamePatterns, RepositoryId } from './repositories.ts'

export interface DeletedRepository {
  /** The one it had. */
  readonly name: RepositoryName
  readonly deletedAt: Date
  readonly deletedBy: string | null
  /** When it cannot be restored any more. */
  readonly until: Date
}

/** A lease keeps all of the repository, and none can be added: what it kept until now is whole. */
const LEASED_UNTIL = `(select max(l.expires_at) from leases l where l.repository_id = r.id)`

const RESTORABLE = `deleted_at is not null and (
  deleted_at > now() - make_interval(secs => $2)
    and deleted_at > coalesce(forgotten_before, '-infinity')
  or ${LEASED_UNTIL} > now())`

/** One page by name, those after `after`; of several of one name the one that was deleted last. */
export async function listDeletedRepositories(
  db: Queryable,
  page: { readonly after: string; readonly limit: number },
  undoSeconds: number,
  { all, none }: NamePatterns,
): Promise<DeletedRepository[]> {
  const { rows } = await db.query<DeletedRepository>({
    text: `select distinct on (deleted_name) deleted_name as name, deleted_at as "deletedAt",
             deleted_by as "deletedBy",
             greatest(
               case when deleted_at > coalesce(forgotten_before, '-infinity')
                 then deleted_at + make_interval(secs => $2) end,
               ${LEASED_UNTIL}) as until
           from repositories r
           where ${RESTORABLE} and deleted_name > $1
             and deleted_name ~ all ($4) and deleted_name !~ all ($5)
           order by deleted_name, deleted_at desc limit $3`,
    values: [page.after, undoSeconds, page.limit, all, none],
  })
  return rows
}

/**
 * Locks the repository of the name that was deleted last, so that it is not collected meanwhile.
 *
 * @returns undefined when there is none that can be restored
 */
export async function lockDeletedRepository(
  tx: Transaction,
  name: RepositoryName,
  undoSeconds: number,
): Promise<RepositoryId | undefined> {
  const { rows } = await tx.query<{ id: RepositoryId }>({
    text: `select id from repositories r where deleted_name = $1 and ${RESTORABLE}
           order by deleted_at desc limit 1 for update`,
    values: [name, undoSeconds],
  })
  return rows[0]?.id
}

/** Whether there is still a trace of a deleted repository of the name. */
export async function wasDeleted(db: Queryable, name: RepositoryName): Promise<boolean> {
  const { rowCount } = await db.query({
    text: 'select from repositories where deleted_name = $1 and deleted_at is not null limit 1',
    values: [name],
  })
  return rowCount === 1
}

/** Every tag of a repository that is locked. */
export async function listEveryTag(tx: Transaction, id: RepositoryId): Promise<Tag[]> {
  const { rows } = await tx.query<{ name: Tag }>({
    text: 'select name from tags where repository_id = $1 order by name',
    values: [id],
  })
  return rows.map((row) => row.name)
}

const UNIQUE_VIOLATION = '23505'

/**
 * Gives a deleted repository that is locked a name, and shows it in the catalog if it holds anything.
 *
 * @returns false when another one has the name: the transaction has failed then
 */
export async function nameRepository(
  tx: Transaction,
  id: RepositoryId,
  name: RepositoryName,
): Promise<boolean> {
  try {
    await tx.query({
      text: `update repositories
             set name = $2, deleted_name = null, deleted_at = null, deleted_by = null,
                 listed = (
                   select id from manifests where repository_id = $1 and deleted_at is null
                   order by digest limit 1) is not null
             where id = $1`,
      values: [id, name],
    })
    return true
  } catch (error) {
    // Also of one that was being made while this waited for it.
    if (error instanceof DatabaseError && error.code === UNIQUE_VIOLATION) return false
    throw error
  }
}
