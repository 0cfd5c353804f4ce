/*
 * What keeps a manifest or a blob. Everything that asks this asks here: the collector before it locks
 * and once more after, a preview, and whoever wants to know why something is still there.
 */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Queryable } from './database.ts'
import { UNNAMED } from './gc-queue.ts'
import type { RepositoryId } from './repositories.ts'

/** Row id of a manifest; text, as Postgres counts in 64 bits. */
export type ManifestId = string

export interface ReviewedManifest {
  readonly id: ManifestId
  readonly digest: Digest
  readonly sizeBytes: number
  readonly repositoryId: RepositoryId
  /** Its name, or the one it had before it was deleted. */
  readonly repository: RepositoryName
  readonly isHosted: boolean
  /** It was deleted by its digest. */
  readonly isDeleted: boolean
  readonly isRepositoryDeleted: boolean
}

/** Those of the manifests that are still there. */
export async function findManifests(
  db: Queryable,
  ids: readonly ManifestId[],
): Promise<ReviewedManifest[]> {
  const { rows } = await db.query<ReviewedManifest>({
    text: `select m.id, m.digest, m.size_bytes as "sizeBytes", r.id as "repositoryId",
             coalesce(r.name, r.deleted_name) as repository,
             r.kind = 'hosted' as "isHosted", m.deleted_at is not null as "isDeleted",
             r.deleted_at is not null as "isRepositoryDeleted"
           from manifests m join repositories r on r.id = m.repository_id
           where m.id = any($1)`,
    values: [ids],
  })
  return rows
}

/** Seconds for which things stay that nothing names. */
export interface Delays {
  readonly graceSeconds: number
  readonly undoSeconds: number
  /** Of blobs, after the last manifest that named one. */
  readonly blobSeconds: number
}

/** A manifest to be judged, and how long those of its repository stay that nothing names. */
export interface ManifestInQuestion {
  readonly id: ManifestId
  readonly repositoryId: RepositoryId
  readonly untaggedSeconds: number | 'always'
}

/** Tags that are treated as gone. */
export interface IgnoredTags {
  readonly repositoryIds: readonly RepositoryId[]
  readonly names: readonly string[]
}

const NO_TAGS: IgnoredTags = { repositoryIds: [], names: [] }

/** How long something stays: 'named' as long as something names it, else seconds; 0: it may go. */
export type Keeping = 'named' | number

// Each manifest above is looked at once, however many of those in question lead to it.
const JUDGE_MANIFESTS = `with recursive up as (
    select m.id, m.repository_id, m.digest, m.subject_digest, m.deleted_at, m.promised_at
    from manifests m where m.id = any($1)
    union
    select k.id, k.repository_id, k.digest, k.subject_digest, k.deleted_at, k.promised_at
    from up u
    cross join lateral (
      select i.* from manifest_children e join manifests i on i.id = e.manifest_id
      where e.repository_id = u.repository_id and e.digest = u.digest
      union all
      select s.* from manifests s
      where s.repository_id = u.repository_id and s.digest = u.subject_digest
    ) k
    where u.deleted_at is null
  )
  select u.id,
    u.deleted_at is null and (w.untagged_seconds is null or exists (
      select from tags t where t.manifest_id = u.id and not exists (
        select from unnest($6::bigint[], $7::text[]) as i (repository_id, name)
        where i.repository_id = t.repository_id and i.name = t.name))) as named,
    extract(epoch from greatest(
      case when u.deleted_at is null
        then u.promised_at + make_interval(secs => greatest($4, w.untagged_seconds)) end,
      case when u.deleted_at > coalesce(r.forgotten_before, '-infinity')
        then u.deleted_at + make_interval(secs => $5) end,
      (select max(e.at) + make_interval(secs => $5) from tag_events e
       where e.repository_id = u.repository_id and e.from_digest = u.digest
         and e.cause is distinct from 'garbage'
         and e.at > coalesce(r.forgotten_before, '-infinity')),
      (select max(l.expires_at) from leases l
       where l.digest = u.digest and l.repository_id = u.repository_id)
    ) - now())::float8 as seconds,
    case when u.deleted_at is null then array(
      select e.manifest_id from manifest_children e
      where e.repository_id = u.repository_id and e.digest = u.digest
      union all
      select s.id from manifests s
      where s.repository_id = u.repository_id and s.digest = u.subject_digest
    ) else '{}' end as above
  from up u
  join repositories r on r.id = u.repository_id
  join unnest($2::bigint[], $3::float8[]) as w (id, untagged_seconds) on w.id = r.id`

interface Judged {
  readonly id: ManifestId
  /** Whether itself is named, and for how long itself is kept. */
  readonly named: boolean
  readonly seconds: number | null
  /** What keeps it by being kept. */
  readonly above: readonly ManifestId[]
}

/**
 * How long each of some manifests of hosted repositories stays. Each is kept by what keeps itself and
 * what keeps the indexes that list it, and its subject, and so on: these are followed up to their ends.
 */
export async function judgeManifests(
  db: Queryable,
  manifests: readonly ManifestInQuestion[],
  { graceSeconds, undoSeconds }: Delays,
  ignored: IgnoredTags = NO_TAGS,
): Promise<Map<ManifestId, Keeping>> {
  const policies = new Map(manifests.map((each) => [each.repositoryId, each.untaggedSeconds]))
  const { rows } = await db.query<Judged>({
    name: 'judge_manifests',
    text: JUDGE_MANIFESTS,
    values: [
      manifests.map(({ id }) => id),
      [...policies.keys()],
      [...policies.values()].map((seconds) => (seconds === 'always' ? null : seconds)),
      graceSeconds,
      undoSeconds,
      ignored.repositoryIds,
      ignored.names,
    ],
  })
  const judged = new Map(rows.map((row) => [row.id, row]))
  const found = manifests.filter(({ id }) => judged.has(id))
  return new Map(found.map(({ id }) => [id, keepingAbove(judged, id)]))
}

/** What keeps a manifest longest, of itself and all above it. */
function keepingAbove(judged: ReadonlyMap<ManifestId, Judged>, first: ManifestId): Keeping {
  const seen = new Set([first])
  let longest = 0
  for (const id of seen) {
    const { named = false, seconds = 0, above = [] } = judged.get(id) ?? {}
    if (named) return 'named'
    longest = Math.max(longest, seconds ?? 0)
    for (const each of above) seen.add(each) // and comes to it later
  }
  return longest
}

export type BlobDelays = Pick<Delays, 'graceSeconds' | 'blobSeconds'>

export interface JudgedBlob {
  readonly digest: Digest
  readonly sizeBytes: number
  readonly keeping: Keeping
}

/** How long each of some blobs stays. Those that are being deleted already are left out. */
export async function judgeBlobs(
  db: Queryable,
  digests: readonly Digest[],
  { graceSeconds, blobSeconds }: BlobDelays,
): Promise<JudgedBlob[]> {
  const { rows } = await db.query<{
    digest: Digest
    sizeBytes: number
    named: boolean
    seconds: number | null
  }>({
    name: 'judge_blobs',
    text: `select b.digest, b.size_bytes::float8 as "sizeBytes",
             exists (select from manifest_blobs e where e.digest = b.digest) or exists (
               select from repositories r where r.pinned and exists (
                 select from repository_blobs l
                 where l.repository_id = r.id and l.digest = b.digest)) as named,
             extract(epoch from greatest(
               b.promised_at + make_interval(secs => $2),
               (select max(q.queued_at) + make_interval(secs => $3) from gc_queue q
                where q.kind = 'blob' and q.key = b.digest and q.reason = '${UNNAMED}'),
               (select max(l.expires_at) from leases l where l.digest = b.digest)
             ) - now())::float8 as seconds
           from blobs b where b.digest = any($1) and b.state <> 'deleting'`,
    values: [digests, graceSeconds, blobSeconds],
  })
  return rows.map(({ digest, sizeBytes, named, seconds }) => ({
    digest,
    sizeBytes,
    keeping: keepingOf(named, seconds),
  }))
}

function keepingOf(named: boolean, seconds: number | null): Keeping {
  return named ? 'named' : Math.max(0, seconds ?? 0)
}
