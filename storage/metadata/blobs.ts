import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Queryable, Transaction } from './database.ts'
import type { RepositoryId } from './repositories.ts'

export interface StoredBlob {
  readonly digest: Digest
  readonly sizeBytes: number
  /** Where the bytes lie; only the storage driver reads it. */
  readonly location: string
}

// bigint arrives as text; sizes stay below 2^53.
const BLOB_COLUMNS = 'b.digest, b.size_bytes::float8 as "sizeBytes", b.location'

/** The blob, if it is live and linked to the repository. */
export async function findBlob(
  db: Queryable,
  repository: RepositoryName,
  digest: Digest,
): Promise<StoredBlob | undefined> {
  const { rows } = await db.query<StoredBlob>({
    name: 'find_blob',
    text: `select ${BLOB_COLUMNS}
           from repositories r
           join repository_blobs l on l.repository_id = r.id and l.digest = $2
           join blobs b on b.digest = l.digest and b.state = 'live'
           where r.name = $1`,
    values: [repository, digest],
  })
  return rows[0]
}

/**
 * Takes the lock under which the bytes of `digest` are placed or deleted, until the transaction
 * ends, and then looks for a live blob that makes placing them again needless.
 */
export async function lockDigest(tx: Transaction, digest: Digest): Promise<StoredBlob | undefined> {
  const [, { rows }] = await Promise.all([
    tx.query({
      name: 'lock_digest',
      text: 'select pg_advisory_xact_lock(hashtextextended($1, 0))',
      values: [digest],
    }),
    tx.query<StoredBlob>({
      name: 'find_live_blob',
      text: `select ${BLOB_COLUMNS} from blobs b where b.digest = $1 and b.state = 'live'`,
      values: [digest],
    }),
  ])
  return rows[0]
}

/**
 * Takes note that somebody is being told that the repository serves the blob.
 *
 * @returns false when it does not, or no longer
 */
export async function promiseBlob(
  db: Queryable,
  repository: RepositoryName,
  digest: Digest,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'promise_blob',
    // Not locked first and then updated: beside others that share a lock on the row, as pushes of
    // manifests do, whoever waits for the second waits for those who wait for the first.
    text: `update blobs b set promised_at = now()
           from repositories r
           join repository_blobs l on l.repository_id = r.id
           where r.name = $1 and l.digest = $2 and b.digest = $2 and b.state = 'live'`,
    values: [repository, digest],
  })
  return rowCount === 1
}

/** Names of repositories that serve the blob, at most `limit`. */
export async function listRepositoriesOfBlob(
  db: Queryable,
  digest: Digest,
  limit: number,
): Promise<RepositoryName[]> {
  const { rows } = await db.query<{ name: RepositoryName }>({
    text: `select r.name
           from repository_blobs l
           join repositories r on r.id = l.repository_id
           where l.digest = $1 and r.name is not null
           order by l.repository_id limit $2`,
    values: [digest, limit],
  })
  return rows.map((row) => row.name)
}

/**
 * Links a blob that `from` serves to another repository as well. It promises nothing.
 *
 * @returns its size in bytes, or undefined when `from` does not serve it, or the other is gone
 */
export async function linkBlobFrom(
  db: Queryable,
  from: RepositoryName,
  { id, name }: { readonly id: RepositoryId; readonly name: RepositoryName },
  digest: Digest,
): Promise<number | undefined> {
  const { rows } = await db.query<{ sizeBytes: number }>({
    text: `with blob as (
             select b.digest, b.size_bytes
             from repositories r
             join repository_blobs l on l.repository_id = r.id and l.digest = $3
             join blobs b on b.digest = l.digest and b.state = 'live'
             join repositories target on target.id = $2 and target.name = $4
             where r.name = $1
             for key share of b
           ), linked as (
             insert into repository_blobs (repository_id, digest)
             select $2, digest from blob
             on conflict do nothing
           )
           select size_bytes::float8 as "sizeBytes" from blob`,
    values: [from, id, digest, name],
  })
  return rows[0]?.sizeBytes
}

/** Links a live blob, whoever serves it. @returns its size in bytes; undefined when there is none */
export async function linkLiveBlob(
  db: Queryable,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<number | undefined> {
  const { rows } = await db.query<{ sizeBytes: number }>({
    text: `with blob as (
             select digest, size_bytes from blobs where digest = $2 and state = 'live'
             for key share
           ), linked as (
             insert into repository_blobs (repository_id, digest)
             select $1, digest from blob
             on conflict do nothing
           )
           select size_bytes::float8 as "sizeBytes" from blob`,
    values: [repositoryId, digest],
  })
  return rows[0]?.sizeBytes
}

/** A live blob that some cache of the upstream serves, and whether the repository does. */
export async function findBlobOfUpstream(
  db: Queryable,
  { upstream, repository }: { readonly upstream: string; readonly repository: RepositoryName },
  digest: Digest,
): Promise<{ readonly sizeBytes: number; readonly isLinked: boolean } | undefined> {
  const { rows } = await db.query<{ sizeBytes: number; isLinked: boolean }>({
    name: 'find_blob_of_upstream',
    // The first cache that has it will do: there may be a hundred thousand.
    text: `select b.size_bytes::float8 as "sizeBytes", exists (
             select from repositories r
             join repository_blobs l on l.repository_id = r.id and l.digest = b.digest
             where r.name = $2 and r.upstream = $1) as "isLinked"
           from blobs b
           cross join lateral (
             select from repository_blobs l
             cross join lateral (
               select from repositories r
               where r.id = l.repository_id and r.upstream = $1 limit 1
             ) r
             where l.digest = b.digest limit 1
           ) served
           where b.digest = $3 and b.state = 'live'`,
    values: [upstream, repository, digest],
  })
  return rows[0]
}

/** Makes the repository serve the blob no longer. The bytes stay for whoever else serves them. */
export async function unlinkBlob(
  db: Queryable,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<boolean> {
  const { rowCount } = await db.query({
    text: `with unlinked as (
             delete from repository_blobs where repository_id = $1 and digest = $2 returning digest
           ), queued as (
             insert into gc_queue (kind, key, reason) select 'blob', digest, 'unlinked' from unlinked
           )
           select from unlinked`,
    values: [repositoryId, digest],
  })
  return rowCount === 1
}

/** A manifest of the repository that needs the blob, if there is one. */
export async function findManifestOfBlob(
  db: Queryable,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<Digest | undefined> {
  const { rows } = await db.query<{ digest: Digest }>({
    text: `select m.digest
           from manifest_blobs e
           join manifests m on m.id = e.manifest_id
           where e.digest = $2 and e.repository_id = $1 and m.deleted_at is null
           limit 1`,
    values: [repositoryId, digest],
  })
  return rows[0]?.digest
}
