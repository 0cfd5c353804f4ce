import { PREFIX } from './changes/names.ts'
import { type Queryable, WITHOUT_WAIT } from './database.ts'
import {
  SESSION_COLUMNS,
  toSession,
  type UploadKey,
  type UploadRow,
  type UploadSession,
} from './uploads.ts'

export interface UploadClaim {
  /** The process that wants to add bytes. */
  readonly writer: string
  readonly seconds: number
  /** Whether the claim outlives a crash of the database right after. */
  readonly durable?: boolean
}

/**
 * The session, if {@link findUpload} finds it, and claims it; undefined also while another process
 * has it.
 */
export async function claimUpload(
  db: Queryable,
  { repository, id, owner }: UploadKey,
  { writer, seconds, durable = false }: UploadClaim,
): Promise<UploadSession | undefined> {
  const { rows } = await db.query<UploadRow>({
    name: 'claim_upload',
    text: `update upload_sessions s
           set writer = $4, writer_until = now() + make_interval(secs => $5),
               contested = s.contested or (s.writer is not null and s.writer <> $4),
               leftovers = s.leftovers or s.writer is not null
           from repositories r
           where s.id = $1 and r.id = s.repository_id and r.name = $2
             and s.owner is not distinct from $3 and s.expires_at > now()
             and (s.writer is null or s.writer = $4 or s.writer_until < now())
           returning ${SESSION_COLUMNS}, case when not $6 then ${WITHOUT_WAIT} end`,
    values: [id, repository, owner, writer, seconds, durable],
  })
  return toSession(rows[0])
}

/**
 * Ends the claim on a session if the process that has it is gone, which its listener's connection
 * tells. One that only lost that connection finds its claim lost when it saves.
 */
export async function endDeadClaim(db: Queryable, id: string): Promise<void> {
  await db.query({
    text: `update upload_sessions s set writer_until = '-infinity'
           where s.id = $1 and s.writer is not null and not exists (
             select from pg_stat_activity a
             where a.datname = current_database()
               and a.application_name = $2 || replace(s.writer::text, '-', ''))`,
    values: [id, PREFIX],
  })
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

/** Gives the claim back, the bytes being what they were. */
export async function releaseUpload(
  db: Queryable,
  id: string,
  { writer, leftovers }: { writer: string; leftovers: boolean },
): Promise<void> {
  await db.query({
    name: 'release_upload',
    text: `update upload_sessions set writer = null, leftovers = leftovers or $3
           where id = $1 and writer = $2
           returning ${WITHOUT_WAIT}`,
    values: [id, writer, leftovers],
  })
}

export interface ExpiredUploads {
  readonly limit: number
  /** Ids of sessions that this process writes to. */
  readonly except: readonly string[]
}

/**
 * Claims at most `limit` sessions that were idle for too long and are written to by nobody. None
 * of them can go on.
 */
export async function claimExpiredUploads(
  db: Queryable,
  { writer, seconds }: UploadClaim,
  { limit, except }: ExpiredUploads,
): Promise<Pick<UploadSession, 'id' | 'state'>[]> {
  const { rows } = await db.query<Pick<UploadSession, 'id' | 'state'>>({
    text: `with expired as (
             select id from upload_sessions
             where expires_at < now() and (writer is null or writer_until < now())
               and id <> all($4)
             order by expires_at limit $3
             for update skip locked
           )
           update upload_sessions s
           set writer = $1, writer_until = now() + make_interval(secs => $2),
               expires_at = '-infinity'
           from expired e where s.id = e.id
           returning s.id, s.driver_state as state`,
    values: [writer, seconds, limit, except],
  })
  return rows
}

/** Frees every claim: for a process that knows it is the only one on this database. */
export async function releaseAllUploads(db: Queryable): Promise<void> {
  await db.query({
    text: 'update upload_sessions set writer = null, leftovers = true where writer is not null',
  })
}
