/*
 * Which of an upstream's content may go. The first parameter of each statement is the upstream's
 * name.
 */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Queryable, Transaction } from './database.ts'
import type { RepositoryId } from './repositories.ts'

/** What pinned tags name: their manifests, those these list as far as they are here, and all blobs. */
const PINNED = `pinned_manifests as (
    select m.id, m.repository_id
    from repositories r
    join tags t on t.repository_id = r.id and t.pinned
    join manifests m on m.id = t.manifest_id
    where r.upstream = $1
    union
    select child.id, child.repository_id
    from pinned_manifests parent
    join manifest_children e on e.manifest_id = parent.id
    join manifests child
      on child.repository_id = parent.repository_id and child.digest = e.digest
  ), pinned_blobs as (
    select e.digest from pinned_manifests m join manifest_blobs e on e.manifest_id = m.id
    union
    select e.digest from pinned_manifests m join manifest_children e on e.manifest_id = m.id
    union
    select l.digest from repositories r join repository_blobs l on l.repository_id = r.id
    where r.upstream = $1 and r.pinned
  )`

/** What is on its way into some repository, or was and may go on. */
const ARRIVING = `arriving as (
    select f.digest from fetches f
    where f.claimed_until > now() or exists (
      select from upload_sessions s where s.id = f.upload_id and s.expires_at > now())
    union
    select s.digest from upload_sessions s where s.digest is not null and s.expires_at > now()
  )`

/** What was asked for so shortly ago that it may be read right now. */
const IN_USE = `interval '60 seconds'`

/** Of a digest `c` and the time `c.used_at` at which the upstream's repositories last used it. */
const IS_EVICTABLE = `c.used_at < now() - ${IN_USE}
  and c.digest not in (select digest from pinned_blobs)
  and c.digest not in (select digest from arriving)
  and not exists (
    select from repository_blobs h
    join repositories r on r.id = h.repository_id and r.kind = 'hosted'
    where h.digest = c.digest)`

export interface EvictableBlob {
  readonly digest: Digest
  readonly sizeBytes: number
  /** To the microsecond, as only Postgres reads it. */
  readonly usedAt: string
}

/** Where a page of blobs ends. */
export type EvictionCursor = Pick<EvictableBlob, 'digest' | 'usedAt'>

/**
 * One page of blobs that may go, the least recently used first, those after `after`. It reads every
 * link of the upstream: some 0.5 s for 100,000.
 */
export async function listEvictableBlobs(
  db: Queryable,
  upstream: string,
  { after, limit }: { readonly after: EvictionCursor | undefined; readonly limit: number },
): Promise<EvictableBlob[]> {
  const { rows } = await db.query<EvictableBlob>({
    text: `with recursive ${PINNED}, ${ARRIVING}, used as materialized (
             select l.digest, max(coalesce(l.used_at, l.linked_at)) as used_at
             from repositories r
             join repository_blobs l on l.repository_id = r.id
             where r.upstream = $1
             group by l.digest
           )
           select c.digest, b.size_bytes::float8 as "sizeBytes", c.used_at::text as "usedAt"
           from used c
           join blobs b on b.digest = c.digest and b.state = 'live'
           where ${IS_EVICTABLE}
             and ($2::timestamptz is null or (c.used_at, c.digest) > ($2, $3::text collate "C"))
           order by c.used_at, c.digest limit $4`,
    values: [upstream, after?.usedAt, after?.digest, limit],
  })
  return rows
}

/**
 * Looks again at blobs that are locked alone.
 *
 * @returns for each that the upstream's repositories still link, whether it may go
 */
export async function checkEvictable(
  tx: Transaction,
  upstream: string,
  digests: readonly Digest[],
): Promise<Map<Digest, boolean>> {
  const { rows } = await tx.query<{ digest: Digest; evictable: boolean }>({
    text: `with recursive ${PINNED}, ${ARRIVING}
           select c.digest, ${IS_EVICTABLE} as evictable
           from (
             select l.digest, max(coalesce(l.used_at, l.linked_at)) as used_at
             from repository_blobs l
             join repositories r on r.id = l.repository_id and r.upstream = $1
             where l.digest = any($2)
             group by l.digest
           ) c`,
    values: [upstream, digests],
  })
  return new Map(rows.map(({ digest, evictable }) => [digest, evictable]))
}

/** Makes none of the upstream's repositories serve the blobs any longer. @returns what they served */
export async function unlinkFromUpstream(
  tx: Transaction,
  upstream: string,
  digests: readonly Digest[],
): Promise<{ readonly repository: RepositoryName; readonly digest: Digest }[]> {
  const { rows } = await tx.query<{ repository: RepositoryName; digest: Digest }>({
    text: `delete from repository_blobs l using repositories r
           where r.id = l.repository_id and r.upstream = $1 and l.digest = any($2)
           returning r.name as repository, l.digest`,
    values: [upstream, digests],
  })
  return rows
}

const IS_IDLE = `coalesce(m.used_at, m.pushed_at) < now() - make_interval(secs => $2)
  and not r.pinned
  and m.id not in (select id from pinned_manifests)`

export interface IdleManifest {
  readonly repositoryId: RepositoryId
  readonly repository: RepositoryName
  readonly digest: Digest
}

/** Some manifests that nobody asked for since so many seconds and that are not pinned. */
export async function listIdleManifests(
  db: Queryable,
  upstream: string,
  { idleSeconds, limit }: { readonly idleSeconds: number; readonly limit: number },
): Promise<IdleManifest[]> {
  const { rows } = await db.query<IdleManifest>({
    text: `with recursive ${PINNED}
           select r.id as "repositoryId", r.name as repository, m.digest
           from repositories r
           join manifests m on m.repository_id = r.id
           where r.upstream = $1 and ${IS_IDLE}
           order by r.id limit $3`,
    values: [upstream, idleSeconds, limit],
  })
  return rows
}

/** Looks again at manifests of a repository that is locked alone. @returns those still idle */
export async function checkIdle(
  tx: Transaction,
  upstream: string,
  idleSeconds: number,
  { repositoryId, digests }: { repositoryId: RepositoryId; digests: readonly Digest[] },
): Promise<Digest[]> {
  const { rows } = await tx.query<{ digest: Digest }>({
    text: `with recursive ${PINNED}
           select m.digest
           from manifests m
           join repositories r on r.id = m.repository_id and r.upstream = $1
           where m.repository_id = $3 and m.digest = any($4) and ${IS_IDLE}`,
    values: [upstream, idleSeconds, repositoryId, digests],
  })
  return rows.map((row) => row.digest)
}
