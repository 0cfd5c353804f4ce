import type { RepositoryName } from '../../oci/reference.ts'
import { type Queryable, type Transaction, WITHOUT_WAIT } from './database.ts'

/** A row id. Postgres counts in 64 bits, so it stays text here. */
export type RepositoryId = string & { readonly __type: 'RepositoryId' }

const DELETE_MS = 600_000

export async function findRepository(
  db: Queryable,
  name: RepositoryName,
): Promise<RepositoryId | undefined> {
  return (await findRepositoryRow(db, name))?.id
}

/** The id of the repository, which is created on first use, as a push expects. */
export async function ensureRepository(db: Queryable, name: RepositoryName): Promise<RepositoryId> {
  const { rows } = await db.query<{ id: RepositoryId }>({
    text: `insert into repositories (name) values ($1)
           on conflict (name) do update set name = excluded.name
           returning id`,
    values: [name],
  })
  return rows[0]!.id
}

/** A repository as it stands: pushed to, or kept of an upstream. */
export interface RepositoryRow {
  readonly id: RepositoryId
  /** The upstream's name; null: hosted. */
  readonly upstream: string | null
}

export async function findRepositoryRow(
  db: Queryable,
  name: RepositoryName,
): Promise<RepositoryRow | undefined> {
  const { rows } = await db.query<RepositoryRow>({
    name: 'find_repository_row',
    text: 'select id, upstream from repositories where name = $1',
    values: [name],
  })
  return rows[0]
}

/** Whether any hosted repository lies below `<component>/`. */
export async function isHostedNamespace(db: Queryable, component: string): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'is_hosted_namespace',
    // '0' follows '/' in byte order.
    text: `select from repositories
           where name > $1 || '/' and name < $1 || '0' and kind = 'hosted' limit 1`,
    values: [component],
  })
  return rowCount === 1
}

/**
 * The repository that keeps what is pulled from an upstream, created on first use.
 *
 * It need not outlive a crash by itself: what is kept in it is committed later, and then it is too.
 *
 * @returns undefined when there is a hosted one of the name
 */
export async function ensureCache(
  db: Queryable,
  name: RepositoryName,
  upstream: string,
): Promise<RepositoryId | undefined> {
  const { rows } = await db.query<{ id: RepositoryId }>({
    text: `insert into repositories as r (name, kind, upstream) values ($1, 'cache', $2)
           on conflict (name) do update set upstream = $2 where r.kind = 'cache'
           returning id, ${WITHOUT_WAIT}`,
    values: [name, upstream],
  })
  return rows[0]?.id
}

/**
 * Keeps the repository from being deleted until the transaction ends. It comes before every other
 * lock: a delete holds the repository first and what it contains afterwards.
 *
 * @param name as which the id was remembered
 * @returns false when it is gone, or was restored under another name
 */
export async function lockRepository(
  tx: Transaction,
  id: RepositoryId,
  name?: RepositoryName,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: 'lock_repository',
    text: `select from repositories
           where id = $1 and name is not null and ($2::text is null or name = $2) for key share`,
    values: [id, name],
  })
  return rowCount === 1
}

/**
 * Keeps pushes out of the repository until the transaction ends: for who takes something out of
 * it, and then sees what is left. It comes before every other lock as well.
 */
export async function lockRepositoryAlone(tx: Transaction, id: RepositoryId): Promise<void> {
  await tx.query({ text: 'select from repositories where id = $1 for update', values: [id] })
}

/** Takes the repository off the catalog when it has no manifest left. */
export async function unlistIfEmpty(tx: Transaction, id: RepositoryId): Promise<void> {
  await tx.query({
    text: `update repositories set listed = false
           -- In the order of an index: one of few large repositories is looked for from end to end otherwise.
           where id = $1 and listed and (
             select id from manifests where repository_id = $1 and deleted_at is null
             order by digest limit 1) is null`,
    values: [id],
  })
}

/**
 * Takes its name from a hosted repository that is locked alone. Nobody finds it any more, with all it
 * holds; it stays until it cannot be restored any more.
 *
 * @returns false when there is no hosted one of the name
 */
export async function retireRepository(
  tx: Transaction,
  name: RepositoryName,
  actor: string | undefined,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: `with retired as (
             update repositories
             set name = null, deleted_name = name, deleted_at = now(), deleted_by = $2, listed = false
             where name = $1 and kind = 'hosted'
             returning id
           )
           insert into gc_queue (kind, key, reason) select 'repository', id, 'deleted' from retired`,
    values: [name, actor],
  })
  return rowCount === 1
}

/** Deletes the repository at once, with its manifests, tags, history and links. */
export async function deleteRepository(tx: Transaction, name: RepositoryName): Promise<boolean> {
  // As long as it takes: it grows with what the repository holds.
  await tx.query({ text: `select set_config('statement_timeout', '0', true)` })
  const { rowCount } = await tx.query({
    text: 'delete from repositories where name = $1',
    values: [name],
    query_timeout: DELETE_MS,
  })
  return rowCount === 1
}

/** Regular expressions of Postgres: a name has to match all of `all` and none of `none`. */
export interface NamePatterns {
  readonly all: readonly string[]
  readonly none: readonly string[]
  /**
   * What all such names begin with, so that others need not be looked at: beginnings, of which none
   * begins with another; anything when left out.
   */
  readonly prefixes?: readonly string[] | undefined
}

/** One page of names in byte order, those after `after`, of repositories that hold a manifest. */
export async function listRepositories(
  db: Queryable,
  page: { readonly after: string; readonly limit: number },
  { all, none, prefixes = [''] }: NamePatterns,
): Promise<RepositoryName[]> {
  const values = [page.after, page.limit, all, none]
  // One row with an array: a hundred rows cost twice as much on both sides.
  const { rows } = await db.query<{ names: RepositoryName[] }>(
    prefixes.includes('')
      ? { name: 'list_repositories', text: LIST_ALL, values }
      : { name: 'list_repositories_of', text: LIST_BY_PREFIX, values: [...values, prefixes] },
  )
  return rows[0]?.names ?? []
}

// A statement of its own: where a name has two bounds that the planner does not know, it takes those
// between them for few, and sorts them all.
const LIST_ALL = `select array(
    select name from repositories
    where listed and name > $1 and name ~ all ($3) and name !~ all ($4)
    order by name limit $2
  ) as names`

const LIST_BY_PREFIX = `select array(
    select found.name
    from unnest($5::text[]) as beginning
    cross join lateral (
      select name from repositories
      -- Names are ASCII: '~' follows all that may be in one.
      where listed and name > $1 and name >= beginning and name < beginning || '~'
        and name ~ all ($3) and name !~ all ($4)
      order by name limit $2
    ) found
    order by found.name limit $2
  ) as names`
