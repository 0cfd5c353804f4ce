/* How what may be garbage is found by going through everything, a page at a time. */
import type { Queryable } from './database.ts'

/** One page of a sweep: where it ended (null: nothing was left), and how many rows it added. */
export interface SweptPage {
  readonly last: string | null
  readonly queued: number
}

/**
 * Queues manifests that nothing seems to name and that are not queued: those with ids after `after`, of
 * `limit` that are looked at.
 */
export async function sweepManifests(
  db: Queryable,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<SweptPage> {
  const { rows } = await db.query<SweptPage>({
    text: `with page as (
             select m.id, m.repository_id, m.digest, m.deleted_at from manifests m
             where m.id > $1 order by m.id limit $2
           ), unnamed as (
             insert into gc_queue (kind, key, reason)
             select 'manifest', p.id, 'swept'
             from page p
             -- Each by itself, in its index: joined, or hashed, whole tables would be read for a page.
             cross join lateral (
               select r.kind from repositories r
               where r.id = p.repository_id and r.name is not null limit 1
             ) r
             left join lateral (
               select true as found from tags t where t.manifest_id = p.id limit 1
             ) tag on true
             left join lateral (
               select true as found from manifest_children e
               where e.repository_id = p.repository_id and e.digest = p.digest limit 1
             ) parent on true
             where not exists (
                 select from gc_queue q where q.kind = 'manifest' and q.key = p.id::text)
               and (p.deleted_at is not null
                 or r.kind = 'hosted' and tag.found is null and parent.found is null)
             returning 1
           )
           select max(id)::text as last, (select count(*)::int from unnamed) as queued from page`,
    values: [after, limit],
  })
  return rows[0]!
}

/** The same for blobs that no manifest names, in the order of their digests. */
export async function sweepBlobs(
  db: Queryable,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<SweptPage> {
  const { rows } = await db.query<SweptPage>({
    text: `with page as (
             select digest, state from blobs where digest > $1 order by digest limit $2
           ), unnamed as (
             insert into gc_queue (kind, key, reason)
             select 'blob', p.digest, 'swept'
             from page p
             where p.state <> 'deleting'
               and not exists (select from manifest_blobs e where e.digest = p.digest)
               and not exists (select from gc_queue q where q.kind = 'blob' and q.key = p.digest)
             returning 1
           )
           select max(digest collate "C") as last, (select count(*)::int from unnamed) as queued
           from page`,
    values: [after, limit],
  })
  return rows[0]!
}

/** The same for repositories that were deleted, or are listed and hold nothing. @returns how many rows were added */
export async function sweepRepositories(db: Queryable): Promise<number> {
  const { rowCount } = await db.query({
    text: `insert into gc_queue (kind, key, reason)
           select 'repository', r.id, 'swept' from repositories r
           where (r.deleted_at is not null or r.listed and (
               select id from manifests m where m.repository_id = r.id and m.deleted_at is null
               order by m.digest limit 1) is null)
             and not exists (
             select from gc_queue q where q.kind = 'repository' and q.key = r.id::text)`,
  })
  return rowCount ?? 0
}
