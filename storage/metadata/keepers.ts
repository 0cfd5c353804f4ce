/* Everything that keeps something, one by one, for who wants to know why it is still there. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Queryable } from './database.ts'
import { UNNAMED } from './gc-queue.ts'
import type { BlobDelays, Delays, ManifestId } from './liveness.ts'
import type { RepositoryId } from './repositories.ts'

/**
 * `tag` names it, `policy` keeps what nothing names, `pinned` is a cache that stays: for good. Until a time:
 * `history`: a tag named it, `deleted`: it can be restored, `lease`: somebody needs it, `recent`: it was
 * pushed, or somebody was told that it is here, `unnamed`: its last manifest went a short while ago.
 */
type KeeperKind =
  | 'tag'
  | 'policy'
  | 'pinned'
  | 'history'
  | 'deleted'
  | 'lease'
  | 'recent'
  | 'unnamed'

export interface Keeper {
  readonly kind: KeeperKind
  /** The tag, the holder of the lease, the repository. */
  readonly detail: string | null
  /** Null: for good. */
  readonly until: Date | null
}

/** The repository of this name, or the one that was deleted last under it. */
export async function findRepositoryOrDeleted(
  db: Queryable,
  name: RepositoryName,
): Promise<{ readonly id: RepositoryId; readonly deletedAt: Date | null } | undefined> {
  const { rows } = await db.query<{ id: RepositoryId; deletedAt: Date | null }>({
    text: `(select id, deleted_at as "deletedAt" from repositories where name = $1)
           union all
           (select id, deleted_at from repositories
            where deleted_name = $1 and deleted_at is not null
            order by deleted_at desc limit 1)
           limit 1`,
    values: [name],
  })
  return rows[0]
}

export interface ManifestToExplain {
  readonly id: ManifestId
  readonly digest: Digest
  readonly isDeleted: boolean
}

/** Also one that was deleted, as long as its row is there. */
export async function findManifestToExplain(
  db: Queryable,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<ManifestToExplain | undefined> {
  const { rows } = await db.query<ManifestToExplain>({
    text: `select id, digest, deleted_at is not null as "isDeleted" from manifests
           where repository_id = $1 and digest = $2`,
    values: [repositoryId, digest],
  })
  return rows[0]
}

/** What keeps a manifest by itself, whatever names it: what lasts longest first. */
export async function listManifestKeepers(
  db: Queryable,
  id: ManifestId,
  {
    graceSeconds,
    undoSeconds,
    untaggedSeconds,
  }: Omit<Delays, 'blobSeconds'> & { readonly untaggedSeconds: number | 'always' },
): Promise<Keeper[]> {
  const { rows } = await db.query<Keeper>({
    text: `with manifest as (
             select m.*, r.kind as repository_kind, r.deleted_at as repository_deleted_at,
               coalesce(r.forgotten_before, '-infinity') as forgotten_before
             from manifests m join repositories r on r.id = m.repository_id where m.id = $1
           ), keeper as (
             (select 'tag' as kind, t.name as detail, null::timestamptz as until
              from tags t where t.manifest_id = $1 order by t.name limit 1)
             union all
             select 'policy', null, null from manifest
             where deleted_at is null and ($4::float8 is null or repository_kind = 'cache')
             union all
             (select 'history', e.name, e.at + make_interval(secs => $3)
              from manifest m
              join tag_events e on e.repository_id = m.repository_id and e.from_digest = m.digest
                and e.cause is distinct from 'garbage' and e.at > m.forgotten_before
              order by e.at desc limit 1)
             union all
             select 'deleted', null, deleted_at + make_interval(secs => $3)
             from manifest where deleted_at > forgotten_before
             union all
             select 'deleted', 'repository', repository_deleted_at + make_interval(secs => $3)
             from manifest where repository_deleted_at > forgotten_before
             union all
             select 'lease', l.holder, l.expires_at
             from manifest m join leases l on l.repository_id = m.repository_id and l.digest = m.digest
             union all
             select 'recent', null, promised_at + make_interval(secs => greatest($2, $4))
             from manifest where deleted_at is null
           )
           select kind, detail, until from keeper
           where until is null or until > now()
           order by until desc nulls first, kind desc`,
    values: [id, graceSeconds, undoSeconds, untaggedSeconds === 'always' ? null : untaggedSeconds],
  })
  return rows
}

/** An index that lists a manifest, or its subject: what keeps that keeps this. */
export interface Above {
  readonly id: ManifestId
  readonly digest: Digest
  readonly via: 'index' | 'subject'
}

const MOST_ABOVE = 100

/** Some of the indexes that list the manifest, and its subject; none of a deleted manifest. */
export async function listAbove(db: Queryable, id: ManifestId): Promise<Above[]> {
  const { rows } = await db.query<Above>({
    text: `select i.id, i.digest, 'index' as via
           from manifests m
           join manifest_children e on e.repository_id = m.repository_id and e.digest = m.digest
           join manifests i on i.id = e.manifest_id
           where m.id = $1 and m.deleted_at is null
           union all
           select s.id, s.digest, 'subject'
           from manifests m
           join manifests s on s.repository_id = m.repository_id and s.digest = m.subject_digest
           where m.id = $1 and m.deleted_at is null
           limit ${MOST_ABOVE}`,
    values: [id],
  })
  return rows
}

export interface BlobToExplain {
  readonly sizeBytes: number
  readonly state: 'live' | 'deleting' | 'quarantined'
  readonly problem: string | null
}

export async function findBlobToExplain(
  db: Queryable,
  digest: Digest,
): Promise<BlobToExplain | undefined> {
  const { rows } = await db.query<BlobToExplain>({
    text: `select size_bytes::float8 as "sizeBytes", state, problem from blobs where digest = $1`,
    values: [digest],
  })
  return rows[0]
}

/** A manifest that names a blob, and where it is. */
export interface Namer {
  readonly id: ManifestId
  readonly digest: Digest
  readonly repository: RepositoryName
}

const MOST_NAMERS = 20

/** Some of the manifests that name a blob, those of the repository first. */
export async function listNamers(
  db: Queryable,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<Namer[]> {
  const { rows } = await db.query<Namer>({
    text: `with namer as (
             (select manifest_id from manifest_blobs
              where digest = $2 and repository_id = $1 limit ${MOST_NAMERS})
             union all
             -- Not one scan for all others: it would go through all of this repository's.
             (select manifest_id from (
                (select manifest_id from manifest_blobs
                 where digest = $2 and repository_id < $1 limit ${MOST_NAMERS})
                union all
                (select manifest_id from manifest_blobs
                 where digest = $2 and repository_id > $1 limit ${MOST_NAMERS})
              ) other limit ${MOST_NAMERS})
           )
           select m.id, m.digest, coalesce(r.name, r.deleted_name) as repository
           from namer n
           join manifests m on m.id = n.manifest_id
           join repositories r on r.id = m.repository_id
           order by (r.id = $1) desc`,
    values: [repositoryId, digest],
  })
  return rows
}

/** What keeps a blob besides manifests: what lasts longest first. */
export async function listBlobKeepers(
  db: Queryable,
  digest: Digest,
  { graceSeconds, blobSeconds }: BlobDelays,
): Promise<Keeper[]> {
  const { rows } = await db.query<Keeper>({
    text: `with keeper as (
             (select 'pinned' as kind, r.name as detail, null::timestamptz as until
              from repository_blobs l join repositories r on r.id = l.repository_id and r.pinned
              where l.digest = $1 limit 1)
             union all
             select 'lease', l.holder, l.expires_at from leases l where l.digest = $1
             union all
             select 'recent', null, b.promised_at + make_interval(secs => $2)
             from blobs b where b.digest = $1
             union all
             select 'unnamed', null, q.queued_at + make_interval(secs => $3)
             from gc_queue q
             where q.kind = 'blob' and q.key = $1 and q.reason = '${UNNAMED}'
           )
           select kind, detail, until from keeper
           where until is null or until > now()
           order by until desc nulls first, kind desc`,
    values: [digest, graceSeconds, blobSeconds],
  })
  return rows
}

/** When something is looked at next, and what went wrong last; undefined: it is not queued. */
export async function findNextReview(
  db: Queryable,
  kind: 'manifest' | 'blob' | 'repository',
  key: string,
): Promise<{ readonly dueAt: Date; readonly lastError: string | null } | undefined> {
  const { rows } = await db.query<{ dueAt: Date; lastError: string | null }>({
    text: `select due_at as "dueAt", last_error as "lastError" from gc_queue
           where kind = $1 and key = $2 order by due_at limit 1`,
    values: [kind, key],
  })
  return rows[0]
}
