/* What is kept of upstreams: how much of each, what of it was used, and what a command takes out. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable, Transaction } from './database.ts'
import type { RepositoryId } from './repositories.ts'

/** A repository that keeps what was pulled from an upstream. */
export interface CacheRepository {
  readonly id: RepositoryId
  readonly name: RepositoryName
}

/** One page of an upstream's repositories here, by id. */
export async function listCaches(
  db: Queryable,
  upstream: string,
  page: { readonly after: RepositoryId | undefined; readonly limit: number },
): Promise<CacheRepository[]> {
  const { rows } = await db.query<CacheRepository>({
    text: `select id, name from repositories
           where upstream = $1 and id > coalesce($2, 0)
           order by id limit $3`,
    values: [upstream, page.after, page.limit],
  })
  return rows
}

/** Every upstream of which something is kept or known, in byte order; also some that are gone. */
export async function listKnownUpstreams(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>({
    text: `select distinct upstream as name from repositories where upstream is not null
           union select name from upstreams
           union select name from upstream_activity
           order by name`,
  })
  return rows.map((row) => row.name)
}

export interface UpstreamUsage {
  readonly repositories: number
  readonly manifests: number
  /** Distinct, without those that a hosted repository serves as well. */
  readonly blobs: number
  /** Of these blobs, and of the manifests. */
  readonly bytes: number
}

/** Reads every link of the upstream: some 0.3 s for 100,000. */
export async function findUsage(db: Queryable, upstream: string): Promise<UpstreamUsage> {
  const { rows } = await db.query<UpstreamUsage>({
    text: `with mine as materialized (
             select id from repositories where upstream = $1
           ), manifest as (
             select count(*)::int as count, coalesce(sum(m.size_bytes), 0) as bytes
             from mine join manifests m on m.repository_id = mine.id
           ), blob as (
             select count(*)::int as count, coalesce(sum(b.size_bytes), 0) as bytes
             from (select distinct l.digest
                   from mine join repository_blobs l on l.repository_id = mine.id) l
             join blobs b on b.digest = l.digest
             where not exists (
               select from repository_blobs h
               join repositories r on r.id = h.repository_id and r.kind = 'hosted'
               where h.digest = l.digest)
           )
           select (select count(*)::int from mine) as repositories,
             manifest.count as manifests, blob.count as blobs,
             (manifest.bytes + blob.bytes)::float8 as bytes
           from manifest, blob`,
    values: [upstream],
  })
  return rows[0]!
}

/** The repository's manifests, or some of them; {@link deleteManifests} takes them out. */
export async function listManifestsOf(
  tx: Transaction,
  repositoryId: RepositoryId,
  limit: number,
): Promise<Digest[]> {
  const { rows } = await tx.query<{ digest: Digest }>({
    text: 'select digest from manifests where repository_id = $1 order by digest limit $2',
    values: [repositoryId, limit],
  })
  return rows.map((row) => row.digest)
}

/**
 * Deletes manifests of a repository that is locked alone, with their edges and tags.
 *
 * @returns the tags
 */
export async function deleteManifests(
  tx: Transaction,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<Tag[]> {
  const [tags] = await Promise.all([
    tx.query<{ name: Tag }>({
      text: `delete from tags t using manifests m
             where m.repository_id = $1 and m.digest = any($2) and t.manifest_id = m.id
             returning t.name`,
      values: [repositoryId, digests],
    }),
    tx.query({
      text: 'delete from manifests where repository_id = $1 and digest = any($2)',
      values: [repositoryId, digests],
    }),
  ])
  return tags.rows.map((row) => row.name)
}

/** Some of the blobs that the repository links. */
export async function listLinksOf(
  db: Queryable,
  repositoryId: RepositoryId,
  limit: number,
): Promise<Digest[]> {
  const { rows } = await db.query<{ digest: Digest }>({
    text: 'select digest from repository_blobs where repository_id = $1 order by digest limit $2',
    values: [repositoryId, limit],
  })
  return rows.map((row) => row.digest)
}

/** Makes one repository serve the blobs no longer. */
export async function unlinkBlobs(
  tx: Transaction,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<number> {
  const { rowCount } = await tx.query({
    text: 'delete from repository_blobs where repository_id = $1 and digest = any($2)',
    values: [repositoryId, digests],
  })
  return rowCount ?? 0
}

/** Whether a repository is left empty and alone: no content, and nothing on its way into it. */
const IS_EMPTY = `not exists (select from manifests where repository_id = r.id)
  and not exists (select from repository_blobs where repository_id = r.id)
  and not exists (select from fetches where repository_id = r.id and claimed_until > now())
  and not exists (select from upload_sessions where repository_id = r.id and expires_at > now())`

/** Repositories of an upstream that were made a while ago, hold nothing, and are not pinned. */
export async function listEmptyCaches(
  db: Queryable,
  upstream: string,
  limit: number,
): Promise<CacheRepository[]> {
  const { rows } = await db.query<CacheRepository>({
    text: `select r.id, r.name from repositories r
           where r.upstream = $1 and not r.pinned and r.created_at < now() - interval '1 minute'
             and ${IS_EMPTY}
           limit $2`,
    values: [upstream, limit],
  })
  return rows
}

/** Deletes a cache that is locked alone, if it holds nothing. */
export async function deleteEmptyCache(
  tx: Transaction,
  id: RepositoryId,
  { evenPinned }: { readonly evenPinned: boolean },
): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: `delete from repositories r
           where r.id = $1 and r.kind = 'cache' and (not r.pinned or $2) and ${IS_EMPTY}`,
    values: [id, evenPinned],
  })
  return rowCount === 1
}
