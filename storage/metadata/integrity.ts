/* What the rows say is stored, to be compared with what is; and blobs whose bytes are bad. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { StoredBlob } from './blobs.ts'
import type { Queryable, Transaction } from './database.ts'

/** A blob as it was looked at. Whoever puts other bytes in its place changes `verifiedAt`. */
export interface VerifiableBlob extends StoredBlob {
  /** To the microsecond, as only Postgres reads it. */
  readonly verifiedAt: string
}

const VERIFIABLE = `digest, size_bytes::float8 as "sizeBytes", location,
  verified_at::text as "verifiedAt"`

/** Of a {@link VerifiableBlob} in the first three values: whether it is still the one looked at. */
const IS_SAME = 'digest = $1 and location = $2 and verified_at = $3::timestamptz'

const valuesOf = ({ digest, location, verifiedAt }: VerifiableBlob) => [
  digest,
  location,
  verifiedAt,
]

/** Where a pass through the blobs that are due is. */
export type VerificationCursor = Pick<VerifiableBlob, 'digest' | 'verifiedAt'>

/** The blob that was verified longest ago, of those that were not for so many seconds, after `after`. */
export async function findDueBlob(
  db: Queryable,
  { seconds, after }: { readonly seconds: number; readonly after: VerificationCursor | undefined },
): Promise<VerifiableBlob | undefined> {
  const { rows } = await db.query<VerifiableBlob>({
    text: `select ${VERIFIABLE} from blobs
           where state = 'live' and verified_at < now() - make_interval(secs => $1)
             and (verified_at, digest) > ($2::timestamptz, $3)
           order by verified_at, digest limit 1`,
    values: [seconds, after?.verifiedAt ?? '-infinity', after?.digest ?? ''],
  })
  return rows[0]
}

/** @returns false when the blob is another one by now */
export async function markVerified(db: Queryable, blob: VerifiableBlob): Promise<boolean> {
  const { rowCount } = await db.query({
    text: `update blobs set verified_at = now() where ${IS_SAME} and state = 'live'`,
    values: valuesOf(blob),
  })
  return rowCount === 1
}

/**
 * Makes a live blob absent until somebody brings its bytes again. Its digest is locked.
 *
 * @returns false when the blob is another one by now
 */
export async function quarantineBlob(
  tx: Transaction,
  blob: VerifiableBlob,
  problem: string,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: `update blobs set state = 'quarantined', quarantined_at = now(), problem = $4
           where ${IS_SAME} and state = 'live'`,
    values: [...valuesOf(blob), problem],
  })
  return rowCount === 1
}

/** Makes a quarantined blob live whose bytes were found to be right. Its digest is locked. */
export async function releaseBlob(tx: Transaction, blob: VerifiableBlob): Promise<boolean> {
  const { rowCount } = await tx.query({
    text: `update blobs
           set state = 'live', quarantined_at = null, problem = null, verified_at = now()
           where ${IS_SAME} and state = 'quarantined'`,
    values: valuesOf(blob),
  })
  return rowCount === 1
}

/** Whether the blob is live and still the one that was looked at. */
export async function isUnchanged(db: Queryable, blob: VerifiableBlob): Promise<boolean> {
  const { rowCount } = await db.query({
    text: `select from blobs where ${IS_SAME} and state = 'live'`,
    values: valuesOf(blob),
  })
  return rowCount === 1
}

/** Where some live blobs lie, of those verified last and of those verified longest ago. */
export async function sampleLocations(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ location: string }>({
    text: `(select location from blobs where state = 'live'
            order by verified_at desc, digest desc limit 10)
           union
           (select location from blobs where state = 'live' order by verified_at, digest limit 10)`,
  })
  return rows.map(({ location }) => location)
}

export async function countQuarantinedBlobs(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ count: number }>({
    text: `select count(*)::float8 as count from blobs
           where state <> 'live' and state = 'quarantined'`,
  })
  return rows[0]?.count ?? 0
}

/** One page of a walk along the digests. */
export interface DigestPage {
  readonly after: string
  readonly limit: number
}

export interface BlobRow extends VerifiableBlob {
  readonly state: 'live' | 'deleting' | 'quarantined'
  /** Of a quarantined one. */
  readonly problem: string | null
}

/** All blobs by their digests, whatever their state. */
export async function listBlobRows(
  db: Queryable,
  { after, limit }: DigestPage,
): Promise<BlobRow[]> {
  const { rows } = await db.query<BlobRow>({
    text: `select ${VERIFIABLE}, state, problem from blobs
           where digest > $1 order by digest limit $2`,
    values: [after, limit],
  })
  return rows
}

/** How much the live blobs of a page are. `last`: where the next begins; undefined behind the last. */
export async function measureBlobs(
  db: Queryable,
  { after, limit }: DigestPage,
): Promise<{ readonly last: string | undefined; readonly blobs: number; readonly bytes: number }> {
  const { rows } = await db.query<{ last: string | null; blobs: number; bytes: number }>({
    text: `select max(digest) as last, count(*) filter (where state = 'live')::float8 as blobs,
             coalesce(sum(size_bytes) filter (where state = 'live'), 0)::float8 as bytes
           from (select digest, state, size_bytes from blobs
                 where digest > $1 order by digest limit $2) page`,
    values: [after, limit],
  })
  const { last, blobs = 0, bytes = 0 } = rows[0] ?? {}
  return { last: last ?? undefined, blobs, bytes }
}

/** Where the blobs of these digests lie, those that have a row. */
export async function findLocations(
  db: Queryable,
  digests: readonly Digest[],
): Promise<Map<Digest, string>> {
  const { rows } = await db.query<{ digest: Digest; location: string }>({
    text: 'select digest, location from blobs where digest = any($1)',
    values: [digests],
  })
  return new Map(rows.map(({ digest, location }) => [digest, location]))
}

/** Bytes that are found by the upload that brought them. */
export interface BroughtBytes {
  readonly location: string
  readonly session: string
}

/**
 * Those that the row of a blob names, or whose upload goes on. The commit of an upload makes the
 * one of the other, so both are asked at once: what is neither is nobody's for good.
 */
export async function findNamedLocations(
  db: Queryable,
  brought: readonly BroughtBytes[],
): Promise<Set<string>> {
  const { rows } = await db.query<{ location: string }>({
    text: `select location from blobs where location = any($1::text[])
           union all
           select b.location
           from unnest($1::text[], $2::text[]) as b (location, session)
           join upload_sessions s on s.id::text = b.session`,
    values: [brought.map(({ location }) => location), brought.map(({ session }) => session)],
  })
  return new Set(rows.map(({ location }) => location))
}

/** Those of the upload sessions that are there. */
export async function findSessions(
  db: Queryable,
  sessions: readonly string[],
): Promise<Set<string>> {
  const { rows } = await db.query<{ id: string }>({
    text: 'select id::text from upload_sessions where id::text = any($1)',
    values: [sessions],
  })
  return new Set(rows.map(({ id }) => id))
}

/** What was stored before is of another database. */
export async function findDatabaseBirth(db: Queryable): Promise<Date> {
  const { rows } = await db.query<{ at: Date }>({
    text: 'select min(applied_at) as at from migrations',
  })
  return rows[0]!.at
}

export interface CheckedManifest {
  readonly id: string
  /** Null when the repository was deleted. */
  readonly repository: RepositoryName | null
  readonly digest: Digest
  readonly sizeBytes: number
  /** Whether the bytes have the digest. */
  readonly isWhole: boolean
}

/** One page of manifests by their ids, each hashed by the database. */
export async function checkManifests(
  db: Queryable,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<CheckedManifest[]> {
  const { rows } = await db.query<CheckedManifest>({
    text: `select m.id, coalesce(r.name, r.deleted_name) as repository, m.digest,
             octet_length(m.bytes)::float8 as "sizeBytes",
             m.digest = split_part(m.digest, ':', 1) || ':' || encode(
               case when m.digest like 'sha512:%' then sha512(m.bytes) else sha256(m.bytes) end,
               'hex') as "isWhole"
           from (select * from manifests where id > $1 order by id limit $2) m
           join repositories r on r.id = m.repository_id
           order by m.id`,
    values: [after, limit],
  })
  return rows
}
