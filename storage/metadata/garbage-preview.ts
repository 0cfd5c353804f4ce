/* What collecting would free, without a lock and without a write. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Queryable } from './database.ts'
import { type GarbageKind, UNNAMED } from './gc-queue.ts'
import type { BlobDelays, ManifestId } from './liveness.ts'
import type { RepositoryId } from './repositories.ts'

/** One page of rows; those that are due, or all; of what was in a repository, or all. */
export async function listQueued(
  db: Queryable,
  kind: GarbageKind,
  page: {
    readonly after: string
    readonly limit: number
    readonly evenWaiting: boolean
    readonly repository: RepositoryName | undefined
  },
): Promise<{ readonly id: string; readonly key: string }[]> {
  const { rows } = await db.query<{ id: string; key: string }>({
    text: `select q.id, q.key from gc_queue q
           where q.kind = $1 and q.id > $2 and ($4 or q.due_at <= now())
             and ($5::text is null
               or q.kind = 'repository' and exists (
                 select from repositories r where r.id = q.key::bigint and r.deleted_name = $5)
               or q.kind = 'manifest' and exists (
                 select from manifests m join repositories r on r.id = m.repository_id
                 where m.id = q.key::bigint and r.name = $5))
           order by q.id limit $3`,
    values: [kind, page.after, page.limit, page.evenWaiting, page.repository],
  })
  return rows
}

/** What is looked at when manifests have gone: what they list, and what refers to them. */
export async function listBelow(db: Queryable, ids: readonly ManifestId[]): Promise<ManifestId[]> {
  const { rows } = await db.query<{ id: ManifestId }>({
    text: `select child.id
           from manifest_children e
           join manifests child on child.repository_id = e.repository_id and child.digest = e.digest
           where e.manifest_id = any($1)
           union
           select referrer.id
           from manifests m
           join manifests referrer
             on referrer.repository_id = m.repository_id and referrer.subject_digest = m.digest
           where m.id = any($1)`,
    values: [ids],
  })
  return rows.map((row) => row.id)
}

/** The manifests that tags name. */
export async function listManifestsOfTags(
  db: Queryable,
  repositoryId: RepositoryId,
  tags: readonly string[],
): Promise<ManifestId[]> {
  const { rows } = await db.query<{ id: ManifestId }>({
    text: `select distinct manifest_id as id from tags where repository_id = $1 and name = any($2)`,
    values: [repositoryId, tags],
  })
  return rows.map((row) => row.id)
}

export async function listManifestIds(
  db: Queryable,
  repositoryId: RepositoryId,
): Promise<ManifestId[]> {
  const { rows } = await db.query<{ id: ManifestId }>({
    text: 'select id from manifests where repository_id = $1',
    values: [repositoryId],
  })
  return rows.map((row) => row.id)
}

/** Of the blobs that some manifests name, and some others: those that may go when `gone` have gone. */
export async function sumUnnamedBlobs(
  db: Queryable,
  {
    gone,
    named,
    others,
  }: {
    readonly gone: readonly ManifestId[]
    readonly named: readonly ManifestId[]
    readonly others: readonly Digest[]
  },
  { graceSeconds, blobSeconds }: BlobDelays,
): Promise<{ readonly blobs: number; readonly bytes: number }> {
  const { rows } = await db.query<{ blobs: number; bytes: number }>({
    text: `with candidate as materialized (
             select digest from manifest_blobs where manifest_id = any($4)
             union
             select unnest($2::text[])
           )
           select count(*)::int as blobs, coalesce(sum(b.size_bytes), 0)::float8 as bytes
           from candidate c
           join blobs b on b.digest = c.digest and b.state <> 'deleting'
           -- Up to the first one: a blob that stays may be named a million times.
           left join lateral (
             select true as found from manifest_blobs e
             where e.digest = c.digest and e.manifest_id <> all ($1) limit 1
           ) named on true
           left join lateral (
             select true as found from repository_blobs l
             join repositories r on r.id = l.repository_id and r.pinned
             where named.found is null and l.digest = c.digest limit 1
           ) pinned on true
           where named.found is null and pinned.found is null
             and b.promised_at + make_interval(secs => $3) <= now()
             and not exists (
               select from gc_queue q
               where q.kind = 'blob' and q.key = c.digest and q.reason = '${UNNAMED}'
                 and q.queued_at + make_interval(secs => $5) > now())
             and not exists (
               select from leases l where l.digest = c.digest and l.expires_at > now())`,
    values: [gone, others, graceSeconds, named, blobSeconds],
  })
  return rows[0]!
}
