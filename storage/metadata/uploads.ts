import type { Digest, DigestAlgorithm } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { type Queryable, type Transaction, WITHOUT_WAIT } from './database.ts'
import type { RepositoryId } from './repositories.ts'

/** What the storage driver asked to remember; it means nothing here. */
type UploadState = Readonly<Record<string, unknown>>

/** An upload in progress. The bytes are in the blob store, which finds them by `state`. */
export interface UploadSession {
  readonly id: string
  readonly repositoryId: RepositoryId
  readonly algorithm: DigestAlgorithm
  /** Bytes received so far. */
  readonly offset: number
  readonly state: UploadState
  /** The last of the bytes, where the storage could not place them yet. */
  readonly tail: Uint8Array | undefined
  /** Of the bytes so far, in `algorithm`; undefined when they have to be read to know it. */
  readonly digest: Digest | undefined
  /** From which any process can go on hashing; undefined when there is none. */
  readonly hashState: Buffer | undefined
  /** A process that was thought dead may have written to the same bytes: only reading them tells. */
  readonly contested: boolean
  /** Something may be left in the storage that `state` does not name. */
  readonly leftovers: boolean
}

export type UploadRow = Omit<UploadSession, 'digest' | 'tail' | 'hashState'> & {
  readonly digest: Digest | null
  readonly tail: Buffer | null
  readonly hashState: Buffer | null
}

export const SESSION_COLUMNS = `s.id, s.repository_id as "repositoryId", s.algorithm,
  s.offset_bytes::float8 as "offset", s.driver_state as state, s.tail, s.digest,
  s.hash_state as "hashState", s.contested, s.leftovers`

// Who begins or claims a session need not wait for the disk: when the database loses its last
// moments, the client meets an unknown session and starts again. Bytes that were acknowledged, and
// what a 201 promises, are committed in the usual way.

export interface NewUpload {
  readonly id: string
  /** As which the id of its repository was remembered. */
  readonly repository?: RepositoryName
  readonly owner: string | undefined
  readonly algorithm: DigestAlgorithm
  readonly state: UploadState
  readonly ttlSeconds: number
  /** Whether the session outlives a crash of the database right after. */
  readonly durable: boolean
}

/** @returns false when the repository was deleted, or has another name by now */
export async function insertUpload(
  db: Queryable,
  repositoryId: RepositoryId,
  upload: NewUpload,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'insert_upload',
    text: `insert into upload_sessions
             (id, repository_id, owner, algorithm, driver_state, expires_at)
           select $1, r.id, $3, $4, $5, now() + make_interval(secs => $6)
           from repositories r
           where r.id = $2 and r.name is not null and ($8::text is null or r.name = $8)
           returning case when not $7 then ${WITHOUT_WAIT} end`,
    values: [
      upload.id,
      repositoryId,
      upload.owner,
      upload.algorithm,
      upload.state,
      upload.ttlSeconds,
      upload.durable,
      upload.repository,
    ],
  })
  return rowCount === 1
}

export interface UploadKey {
  readonly repository: RepositoryName
  readonly id: string
  /** Undefined for anonymous; a session is found only by who started it. */
  readonly owner: string | undefined
}

/**
 * How far the session is, if it belongs to this repository and owner: an id is no permission
 * elsewhere.
 */
export async function findUpload(
  db: Queryable,
  { repository, id, owner }: UploadKey,
): Promise<Pick<UploadSession, 'offset'> | undefined> {
  const { rows } = await db.query<Pick<UploadSession, 'offset'>>({
    name: 'find_upload',
    text: `select s.offset_bytes::float8 as "offset"
           from upload_sessions s
           join repositories r on r.id = s.repository_id and r.name = $2
           where s.id = $1 and s.owner is not distinct from $3 and s.expires_at > now()`,
    values: [id, repository, owner],
  })
  return rows[0]
}

/**
 * The process whose claim the row names; undefined when it names none, because no other process could
 * claim it.
 */
export type Writer = string | undefined

export interface UploadProgress
  extends Pick<UploadSession, 'offset' | 'state' | 'digest' | 'hashState'> {
  readonly tail?: Uint8Array | undefined
  readonly leftovers?: boolean
  readonly writer: Writer
  readonly ttlSeconds: number
}

/** Records bytes received and gives the claim back. @returns false when the claim was lost */
export async function saveUpload(
  db: Queryable,
  id: string,
  progress: UploadProgress,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'save_upload',
    text: `update upload_sessions
           set offset_bytes = $3, driver_state = $4, digest = $5, writer = null,
               expires_at = now() + make_interval(secs => $6),
               tail = $7, hash_state = $8, leftovers = leftovers or $9
           where id = $1 and writer is not distinct from $2 and expires_at > '-infinity'`,
    values: [
      id,
      progress.writer,
      progress.offset,
      progress.state,
      progress.digest,
      progress.ttlSeconds,
      progress.tail,
      progress.hashState,
      progress.leftovers ?? false,
    ],
  })
  return rowCount === 1
}

/** Records how the storage finds the bytes now. The claim stays. @returns false when it was lost */
export async function saveSealedUpload(
  db: Queryable,
  id: string,
  { state, writer }: Pick<UploadProgress, 'state' | 'writer'>,
): Promise<boolean> {
  const { rowCount } = await db.query({
    text: `update upload_sessions set driver_state = $3, tail = null
           where id = $1 and writer is not distinct from $2 and expires_at > '-infinity'`,
    values: [id, writer, state],
  })
  return rowCount === 1
}

export interface FinishedUpload {
  readonly session: UploadSession
  readonly writer: Writer
  readonly digest: Digest
  readonly sizeBytes: number
  readonly location: string
  /** The blob lies elsewhere: the session stays, expired, until the bytes it names are removed. */
  readonly superfluous: boolean
  /** When to look whether a manifest names the blob by then. */
  readonly reviewSeconds: number
}

/**
 * Records the blob, links it to the session's repository, ends the session, and commits.
 *
 * @returns false, and nothing is done, when the claim was lost: others may use the bytes then
 */
export async function commitUpload(
  tx: Transaction,
  { session, writer, digest, sizeBytes, location, superfluous, reviewSeconds }: FinishedUpload,
): Promise<boolean> {
  const { rowCount } = await tx.commitWith({
    name: 'commit_upload',
    text: `with deleted as (
             delete from upload_sessions
             where id = $5 and writer is not distinct from $6 and expires_at > '-infinity' and not $7
             returning id
           ), expired as (
             update upload_sessions set expires_at = '-infinity', writer = null
             where id = $5 and writer is not distinct from $6 and expires_at > '-infinity' and $7
             returning id
           ), ended as (
             select id from deleted union all select id from expired
           ), blob as (
             insert into blobs (digest, size_bytes, location) select $1, $2, $3 from ended
             on conflict (digest) do update
               set size_bytes = $2, location = $3, state = 'live', promised_at = now(),
                   verified_at = case when $7 then blobs.verified_at else now() end,
                   quarantined_at = null, problem = null
           ), queued as (
             insert into gc_queue (kind, key, reason, due_at)
             select 'blob', $1, 'uploaded', now() + make_interval(secs => $8) from ended
           ), linked as (
             insert into repository_blobs (repository_id, digest) select $4, $1 from ended
             on conflict do nothing
           )
           select id from ended`,
    values: [
      digest,
      sizeBytes,
      location,
      session.repositoryId,
      session.id,
      writer,
      superfluous,
      reviewSeconds,
    ],
  })
  return rowCount === 1
}

/**
 * Takes care that nobody goes on with the session, so that its bytes can be removed.
 *
 * @returns false when the claim was lost: somebody else goes on
 */
export async function expireUpload(db: Queryable, id: string, writer: Writer): Promise<boolean> {
  const { rowCount } = await db.query({
    text: `update upload_sessions set expires_at = '-infinity'
           where id = $1 and writer is not distinct from $2`,
    values: [id, writer],
  })
  return rowCount === 1
}

/** For a session whose bytes are removed. One that comes back with a crash is swept. */
export async function deleteUpload(db: Queryable, id: string): Promise<void> {
  await db.query({
    text: `delete from upload_sessions where id = $1 returning ${WITHOUT_WAIT}`,
    values: [id],
  })
}

export function toSession(row: UploadRow | undefined): UploadSession | undefined {
  if (row === undefined) return undefined
  const { digest, tail, hashState } = row
  return {
    ...row,
    digest: digest ?? undefined,
    tail: tail ?? undefined,
    hashState: hashState ?? undefined,
  }
}
