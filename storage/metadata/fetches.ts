import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Queryable } from './database.ts'
import type { RepositoryId } from './repositories.ts'
import { WITHOUT_WAIT } from './uploads.ts'

// What the database forgets in a crash is fetched again: nobody waits for its disk.

/** What is fetched: a blob by its digest, or a manifest. The same digest may be that of both. */
export type FetchKey = Digest | `manifest ${Digest}`

export function manifestKey(digest: Digest): FetchKey {
  return `manifest ${digest}`
}

/** The right of a process to fetch a digest from its upstream. */
export interface FetchClaim {
  /** A UUID. */
  readonly process: string
  readonly seconds: number
}

/** What an earlier fetch of the digest left, which a later one may go on with. */
export interface FetchRecord {
  readonly repository: RepositoryName | null
  /** Of the upload session that takes the bytes. */
  readonly uploadId: string | null
  readonly sizeBytes: number | null
}

const RECORD = `(select r.name from repositories r where r.id = f.repository_id) as repository,
  f.upload_id as "uploadId", f.size_bytes::float8 as "sizeBytes"`

/**
 * Claims a fetch.
 *
 * @returns what an earlier one left; undefined while another process has the claim
 */
export async function claimFetch(
  db: Queryable,
  key: FetchKey,
  { process, seconds }: FetchClaim,
): Promise<FetchRecord | undefined> {
  const { rows } = await db.query<FetchRecord>({
    name: 'claim_fetch',
    text: `insert into fetches as f (digest, process, claimed_until)
           values ($1, $2, now() + make_interval(secs => $3))
           on conflict (digest) do update
             set process = $2, claimed_until = excluded.claimed_until, growing = false
             where f.process = $2 or f.claimed_until < now()
           returning ${RECORD}, ${WITHOUT_WAIT}`,
    values: [key, process, seconds],
  })
  return rows[0]
}

/** A fetch under way. */
export interface ClaimedFetch extends FetchRecord {
  readonly process: string
  /** Whether `process` writes to the upload: before that it has what an earlier fetch left. */
  readonly growing: boolean
}

/** The fetch of a digest that some process has claimed; undefined when none is under way. */
export async function findFetch(db: Queryable, digest: Digest): Promise<ClaimedFetch | undefined> {
  const { rows } = await db.query<ClaimedFetch>({
    name: 'find_fetch',
    text: `select ${RECORD}, f.process, f.growing
           from fetches f where f.digest = $1 and f.claimed_until > now()`,
    values: [digest],
  })
  return rows[0]
}

export interface FetchProgress {
  readonly process: string
  readonly repositoryId: RepositoryId
  readonly uploadId: string
  readonly sizeBytes: number
}

/** Tells the other processes where the bytes arrive. @returns false when the claim was lost */
export async function recordFetch(
  db: Queryable,
  digest: Digest,
  { process, repositoryId, uploadId, sizeBytes }: FetchProgress,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'record_fetch',
    text: `update fetches
           set repository_id = $3, upload_id = $4, size_bytes = $5, growing = true
           where digest = $1 and process = $2
           returning ${WITHOUT_WAIT}`,
    values: [digest, process, repositoryId, uploadId, sizeBytes],
  })
  return rowCount === 1
}

/** Keeps claims from running out. @returns the digests that are still claimed by the process */
export async function renewFetches(
  db: Queryable,
  digests: readonly Digest[],
  { process, seconds }: FetchClaim,
): Promise<Digest[]> {
  const { rows } = await db.query<{ digest: Digest }>({
    text: `update fetches set claimed_until = now() + make_interval(secs => $3)
           where digest = any($1) and process = $2 and claimed_until > '-infinity'
           returning digest`,
    values: [digests, process, seconds],
  })
  return rows.map((row) => row.digest)
}

/** For a fetch that broke off: what it has so far is kept for whoever fetches the digest next. */
export async function releaseFetch(db: Queryable, digest: Digest, process: string): Promise<void> {
  await db.query({
    text: `update fetches set claimed_until = '-infinity' where digest = $1 and process = $2`,
    values: [digest, process],
  })
}

/** For a fetch that is done, or of which nothing is worth to be kept. */
export async function endFetch(db: Queryable, key: FetchKey, process: string): Promise<void> {
  await db.query({
    name: 'end_fetch',
    text: `delete from fetches where digest = $1 and process = $2 returning ${WITHOUT_WAIT}`,
    values: [key, process],
  })
}

/** Frees every claim: for a process that knows it is the only one on this database. */
export async function releaseAllFetches(db: Queryable): Promise<void> {
  await db.query({ text: `update fetches set claimed_until = '-infinity'` })
}

/** Forgets fetches that broke off and whose upload session is gone. */
export async function pruneFetches(db: Queryable): Promise<void> {
  await db.query({
    text: `delete from fetches f
           where f.claimed_until < now() - interval '1 minute'
             and not exists (select from upload_sessions s where s.id = f.upload_id)`,
  })
}
