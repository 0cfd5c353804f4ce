import type { Digest, DigestAlgorithm } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Queryable, Transaction } from './database.ts'
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
  /** Of the bytes so far, in `algorithm`; undefined when they have to be read to know it. */
  readonly digest: Digest | undefined
  /** A process that was thought dead may have written to the same bytes: only reading them tells. */
  readonly contested: boolean
}

interface UploadRow extends Omit<UploadSession, 'digest'> {
  readonly digest: Digest | null
}

const SESSION_COLUMNS = `s.id, s.repository_id as "repositoryId", s.algorithm,
  s.offset_bytes::float8 as "offset", s.driver_state as state, s.digest, s.contested`

// Who begins or claims a session need not wait for the disk: when the database loses its last
// moments, the client meets an unknown session and starts again. Bytes that were acknowledged, and
// what a 201 promises, are committed in the usual way.
const WITHOUT_WAIT = `set_config('synchronous_commit', 'off', true)`

export interface NewUpload {
  readonly id: string
  readonly owner: string | undefined
  readonly algorithm: DigestAlgorithm
  readonly state: UploadState
  readonly ttlSeconds: number
}

export async function insertUpload(
  db: Queryable,
  repositoryId: RepositoryId,
  upload: NewUpload,
): Promise<void> {
  await db.query({
    name: 'insert_upload',
    text: `insert into upload_sessions
             (id, repository_id, owner, algorithm, driver_state, expires_at)
           values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))
           returning ${WITHOUT_WAIT}`,
    values: [
      upload.id,
      repositoryId,
      upload.owner,
      upload.algorithm,
      upload.state,
      upload.ttlSeconds,
    ],
  })
}

export interface UploadKey {
  readonly repository: RepositoryName
  readonly id: string
  /** Undefined for anonymous; a session is found only by who started it. */
  readonly owner: string | undefined
}

/** The session, if it belongs to this repository and owner: an id is no permission elsewhere. */
export async function findUpload(
  db: Queryable,
  { repository, id, owner }: UploadKey,
): Promise<UploadSession | undefined> {
  const { rows } = await db.query<UploadRow>({
    name: 'find_upload',
    text: `select ${SESSION_COLUMNS}
           from upload_sessions s
           join repositories r on r.id = s.repository_id and r.name = $2
           where s.id = $1 and s.owner is not distinct from $3 and s.expires_at > now()`,
    values: [id, repository, owner],
  })
  return toSession(rows[0])
}

export interface UploadClaim {
  /** The process that wants to add bytes. */
  readonly writer: string
  readonly seconds: number
}

/** As {@link findUpload}, and claims the session; undefined also while another process has it. */
export async function claimUpload(
  db: Queryable,
  { repository, id, owner }: UploadKey,
  { writer, seconds }: UploadClaim,
): Promise<UploadSession | undefined> {
  const { rows } = await db.query<UploadRow>({
    name: 'claim_upload',
    text: `update upload_sessions s
           set writer = $4, writer_until = now() + make_interval(secs => $5),
               contested = s.contested or (s.writer is not null and s.writer <> $4)
           from repositories r
           where s.id = $1 and r.id = s.repository_id and r.name = $2
             and s.owner is not distinct from $3 and s.expires_at > now()
             and (s.writer is null or s.writer = $4 or s.writer_until < now())
           returning ${SESSION_COLUMNS}, ${WITHOUT_WAIT}`,
    values: [id, repository, owner, writer, seconds],
  })
  return toSession(rows[0])
}

/** Keeps the claims of one process from running out. @returns the sessions it still has */
export async function renewUploadClaims(
  db: Queryable,
  ids: readonly string[],
  { writer, seconds }: UploadClaim,
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    text: `update upload_sessions set writer_until = now() + make_interval(secs => $3)
           where id = any($1) and writer = $2
           returning id, ${WITHOUT_WAIT}`,
    values: [ids, writer, seconds],
  })
  return rows.map((row) => row.id)
}

/** Gives the claim back, the session otherwise as it was. */
export async function releaseUpload(db: Queryable, id: string, writer: string): Promise<void> {
  await db.query({
    name: 'release_upload',
    text: `update upload_sessions set writer = null
           where id = $1 and writer = $2
           returning ${WITHOUT_WAIT}`,
    values: [id, writer],
  })
}

export interface UploadProgress extends Pick<UploadSession, 'offset' | 'state' | 'digest'> {
  readonly writer: string
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
               expires_at = now() + make_interval(secs => $6)
           where id = $1 and writer = $2`,
    values: [
      id,
      progress.writer,
      progress.offset,
      progress.state,
      progress.digest,
      progress.ttlSeconds,
    ],
  })
  return rowCount === 1
}

export interface FinishedUpload {
  readonly session: UploadSession
  readonly digest: Digest
  readonly sizeBytes: number
  readonly location: string
}

/** Records the blob, links it to the session's repository, ends the session, and commits. */
export async function commitUpload(
  tx: Transaction,
  { session, digest, sizeBytes, location }: FinishedUpload,
): Promise<void> {
  await tx.commitWith({
    name: 'commit_upload',
    text: `with blob as (
             insert into blobs (digest, size_bytes, location) values ($1, $2, $3)
             on conflict (digest) do update
               set size_bytes = $2, location = $3, state = 'live', verified_at = now()
               where blobs.state <> 'live' or blobs.location <> $3
           ), linked as (
             insert into repository_blobs (repository_id, digest) values ($4, $1)
             on conflict do nothing
           )
           delete from upload_sessions where id = $5`,
    values: [digest, sizeBytes, location, session.repositoryId, session.id],
  })
}

/** @returns false when there was no such session */
export async function deleteUpload(db: Queryable, id: string): Promise<boolean> {
  const { rowCount } = await db.query({
    text: 'delete from upload_sessions where id = $1',
    values: [id],
  })
  return rowCount === 1
}

/** At most `limit` sessions idle for too long and written to by nobody. None of them can go on. */
export async function listExpiredUploads(
  db: Queryable,
  limit: number,
): Promise<Pick<UploadSession, 'id' | 'state'>[]> {
  const { rows } = await db.query<Pick<UploadSession, 'id' | 'state'>>({
    text: `select id, driver_state as state
           from upload_sessions
           where expires_at < now() and (writer is null or writer_until < now())
           order by expires_at limit $1`,
    values: [limit],
  })
  return rows
}

/** Frees every claim: for a process that knows it is the only one on this database. */
export async function releaseAllUploads(db: Queryable): Promise<void> {
  await db.query({ text: 'update upload_sessions set writer = null where writer is not null' })
}

function toSession(row: UploadRow | undefined): UploadSession | undefined {
  return row && { ...row, digest: row.digest ?? undefined }
}
