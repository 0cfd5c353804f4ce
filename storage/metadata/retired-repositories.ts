/* How a deleted repository goes, when it can no longer be restored. */
import type { Queryable, Transaction } from './database.ts'
import type { RepositoryId } from './repositories.ts'

/** What is to be done for a repository: nothing, unless it is 'deleted', or 'empty' and listed. */
export async function findRepositoryState(
  db: Queryable,
  id: RepositoryId,
): Promise<'gone' | 'deleted' | 'empty' | 'in use'> {
  const { rows } = await db.query<{ isDeleted: boolean; isInUse: boolean }>({
    text: `select r.deleted_at is not null as "isDeleted",
             not r.listed or (
               select id from manifests m where m.repository_id = r.id and m.deleted_at is null
               order by m.digest limit 1) is not null as "isInUse"
           from repositories r where r.id = $1`,
    values: [id],
  })
  const [row] = rows
  if (row === undefined) return 'gone'
  if (row.isDeleted) return 'deleted'
  return row.isInUse ? 'in use' : 'empty'
}

/** Of a deleted repository: how many more seconds it can be restored; undefined when there is none. */
export async function judgeRepository(
  db: Queryable,
  id: RepositoryId,
  undoSeconds: number,
): Promise<{ readonly keptSeconds: number } | undefined> {
  const { rows } = await db.query<{ keptSeconds: number }>({
    text: `select greatest(0, extract(epoch from greatest(
               case when r.deleted_at > coalesce(r.forgotten_before, '-infinity')
                 then r.deleted_at + make_interval(secs => $2) end,
               (select max(l.expires_at) from leases l where l.repository_id = r.id)
             ) - now()))::float8 as "keptSeconds"
           from repositories r where r.id = $1 and r.deleted_at is not null`,
    values: [id, undoSeconds],
  })
  return rows[0]
}

/** For a deleted repository of which something is about to go: from then on it cannot be restored. */
export async function forgetRepository(tx: Transaction, id: RepositoryId): Promise<void> {
  await tx.query({
    text: 'update repositories set forgotten_before = now() where id = $1',
    values: [id],
  })
}

/**
 * Deletes some of what a deleted repository holds, that is locked alone.
 *
 * @returns how many rows; 0: none is left
 */
export async function emptyRepository(
  tx: Transaction,
  id: RepositoryId,
  limit: number,
): Promise<number> {
  for (const text of [TAGS, MANIFESTS, LINKS, HISTORY]) {
    const { rowCount } = await tx.query({ text, values: [id, limit] })
    if (rowCount !== null && rowCount > 0) return rowCount
  }
  return 0
}

const TAGS = `delete from tags where repository_id = $1 and name in (
    select name from tags where repository_id = $1 order by name limit $2)`

const MANIFESTS = `delete from manifests where id in (
    select id from manifests where repository_id = $1 order by digest limit $2)`

// What no manifest named is queued here, the rest was by its manifests.
const LINKS = `with gone as (
    delete from repository_blobs where repository_id = $1 and digest in (
      select digest from repository_blobs where repository_id = $1 order by digest limit $2)
    returning digest
  )
  insert into gc_queue (kind, key, reason) select 'blob', digest, 'unlinked' from gone`

const HISTORY = `delete from tag_events where id in (
    select id from tag_events where repository_id = $1 order by repository_id, id limit $2)`

/** Deletes the row of a deleted repository that holds nothing any more. */
export async function deleteRetiredRepository(tx: Transaction, id: RepositoryId): Promise<void> {
  await tx.query({
    text: 'delete from repositories where id = $1 and deleted_at is not null',
    values: [id],
  })
}
