/* What somebody needs for some time, whatever else happens to it. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Queryable, Transaction } from './database.ts'
import type { RepositoryId } from './repositories.ts'

export interface Lease {
  /** Digits. */
  readonly id: string
  readonly repository: RepositoryName
  /** Of a manifest or a blob. */
  readonly digest: Digest
  /** Who needs it, as that one calls itself. */
  readonly holder: string
  readonly expiresAt: Date
  readonly createdAt: Date
  readonly createdBy: string | null
}

const COLUMNS = `l.id, r.name as repository, l.digest, l.holder, l.expires_at as "expiresAt",
  l.created_at as "createdAt", l.created_by as "createdBy"`

/**
 * Keeps what is about to be leased from being collected until the transaction ends: a live blob that
 * the repository serves, or a manifest of it. One that was deleted is there for who has a lease on it.
 *
 * @returns false when it is not there
 */
export async function lockLeased(
  tx: Transaction,
  repositoryId: RepositoryId,
  digest: Digest,
  holder: string,
): Promise<boolean> {
  const blobs = await tx.query({
    text: `select from blobs b
           join repository_blobs l on l.digest = b.digest and l.repository_id = $1
           where b.digest = $2 and b.state = 'live'
           for key share of b, l`,
    values: [repositoryId, digest],
  })
  if (blobs.rowCount === 1) return true
  const manifests = await tx.query({
    text: `select from manifests m
           where m.repository_id = $1 and m.digest = $2 and (m.deleted_at is null or exists (
             select from leases l
             where l.repository_id = $1 and l.digest = $2 and l.holder = $3
               and l.expires_at > now()))
           for key share of m`,
    values: [repositoryId, digest, holder],
  })
  return manifests.rowCount === 1
}

export interface NewLease {
  readonly repositoryId: RepositoryId
  readonly digest: Digest
  readonly holder: string
  readonly seconds: number
  readonly createdBy: string | undefined
}

/** Adds the lease, or lets one of the same holder end at another time, later or earlier. */
export async function upsertLease(tx: Transaction, lease: NewLease): Promise<Lease> {
  const { rows } = await tx.query<Lease>({
    text: `with l as (
             insert into leases (repository_id, digest, holder, expires_at, created_by)
             values ($1, $2, $3, now() + make_interval(secs => $4), $5)
             on conflict (repository_id, digest, holder) do update
               set expires_at = excluded.expires_at
             returning *
           )
           select ${COLUMNS} from l join repositories r on r.id = l.repository_id`,
    values: [lease.repositoryId, lease.digest, lease.holder, lease.seconds, lease.createdBy],
  })
  return rows[0]!
}

/** One page by id, of leases that are not over; of all repositories when none is named. */
export async function listLeases(
  db: Queryable,
  filter: { readonly repository: RepositoryName | undefined },
  page: { readonly after: string; readonly limit: number },
): Promise<Lease[]> {
  // Not a prepared statement: only a plan made for these values sees which index serves them.
  const { rows } = await db.query<Lease>({
    text: `select ${COLUMNS}
           from leases l join repositories r on r.id = l.repository_id
           where l.id > $1 and l.expires_at > now() and r.name is not null
             and ($2::text is null or r.name = $2)
           order by l.id limit $3`,
    values: [page.after === '' ? '0' : page.after, filter.repository, page.limit],
  })
  return rows
}

// What only the lease kept is looked at soon.
const QUEUE_ENDED = `insert into gc_queue (kind, key, reason)
  select 'manifest', m.id::text, 'lease ended'
  from ended l join manifests m on m.repository_id = l.repository_id and m.digest = l.digest
  union all
  select distinct 'blob', b.digest, 'lease ended' from ended l join blobs b on b.digest = l.digest`

/** @returns false when there is no such lease */
export async function deleteLease(
  db: Queryable,
  repositoryId: RepositoryId,
  { digest, holder }: Pick<Lease, 'digest' | 'holder'>,
): Promise<boolean> {
  const { rows } = await db.query<{ count: number }>({
    text: `with ended as (
             delete from leases where repository_id = $1 and digest = $2 and holder = $3
             returning repository_id, digest
           ), queued as (${QUEUE_ENDED})
           select count(*)::float8 as count from ended`,
    values: [repositoryId, digest, holder],
  })
  return rows[0]?.count === 1
}

/** Deletes leases that are over, at most `limit`. @returns how many */
export async function deleteExpiredLeases(db: Queryable, limit: number): Promise<number> {
  const { rows } = await db.query<{ count: number }>({
    text: `with ended as (
             delete from leases where id in (
               select id from leases where expires_at <= now()
               order by expires_at limit $1 for update skip locked)
             returning repository_id, digest
           ), queued as (${QUEUE_ENDED})
           select count(*)::float8 as count from ended`,
    values: [limit],
  })
  return rows[0]?.count ?? 0
}
