import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { type Queryable, WITHOUT_WAIT } from './database.ts'
import type { RepositoryId } from './repositories.ts'

// What the database forgets in a crash is fetched again: nobody waits for its disk.

/** What is fetched. Upstreams are apart: one may be slow, or may claim to have what it has not. */
export interface FetchKey {
  readonly upstream: string
  readonly kind: 'blob' | 'manifest'
  readonly digest: Digest
}

const IS_KEY = 'digest = $1 and kind = $2 and upstream = $3'

function valuesOf({ digest, kind, upstream }: FetchKey): string[] {
  return [digest, kind, upstream]
}

/** The right of a process to fetch something. */
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
    text: `insert into fetches as f (digest, kind, upstream, process, claimed_until)
           values ($1, $2, $3, $4, now() + make_interval(secs => $5))
           on conflict (digest, kind, upstream) do update
             set process = $4, claimed_until = excluded.claimed_until, growing = false
             where f.process = $4 or f.claimed_until < now()
           returning ${RECORD}, ${WITHOUT_WAIT}`,
    values: [...valuesOf(key), process, seconds],
  })
  return rows[0]
}

/** A fetch under way. */
export interface ClaimedFetch extends FetchRecord {
  readonly process: string
  /** Whether `process` writes to the upload: before that it has what an earlier fetch left. */
  readonly growing: boolean
}

/** A fetch that some process has claimed; undefined when none is under way. */
export async function findFetch(db: Queryable, key: FetchKey): Promise<ClaimedFetch | undefined> {
  const { rows } = await db.query<ClaimedFetch>({
    name: 'find_fetch',
    text: `select ${RECORD}, f.process, f.growing
           from fetches f where ${IS_KEY} and f.claimed_until > now()`,
    values: valuesOf(key),
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
  key: FetchKey,
  { process, repositoryId, uploadId, sizeBytes }: FetchProgress,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'record_fetch',
    text: `update fetches
           set repository_id = $5, upload_id = $6, size_bytes = $7, growing = true
           where ${IS_KEY} and process = $4
           returning ${WITHOUT_WAIT}`,
    values: [...valuesOf(key), process, repositoryId, uploadId, sizeBytes],
  })
  return rowCount === 1
}

/** Keeps a process's claims on blobs from running out. @returns those that it still has */
export async function renewFetches(
  db: Queryable,
  { process, seconds }: FetchClaim,
): Promise<Pick<FetchKey, 'upstream' | 'digest'>[]> {
  const { rows } = await db.query<Pick<FetchKey, 'upstream' | 'digest'>>({
    text: `update fetches set claimed_until = now() + make_interval(secs => $2)
           where process = $1 and kind = 'blob' and claimed_until > '-infinity'
           returning upstream, digest`,
    values: [process, seconds],
  })
  return rows
}

/** For a fetch that broke off: what it has so far is kept for whoever fetches the same next. */
export async function releaseFetch(db: Queryable, key: FetchKey, process: string): Promise<void> {
  await db.query({
    text: `update fetches set claimed_until = '-infinity' where ${IS_KEY} and process = $4`,
    values: [...valuesOf(key), process],
  })
}

/** For a fetch that is done, or of which nothing is worth to be kept. */
export async function endFetch(db: Queryable, key: FetchKey, process: string): Promise<void> {
  await db.query({
    name: 'end_fetch',
    text: `delete from fetches where ${IS_KEY} and process = $4 returning ${WITHOUT_WAIT}`,
    values: [...valuesOf(key), process],
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
