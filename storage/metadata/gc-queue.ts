/*
 * What may be garbage, to be looked at when it is due. Rows say when to look and why, never that
 * something may go. Whoever changes what names something adds a row and waits for nobody; only
 * collectors change and delete rows, and only those they have claimed.
 */
import type { RepositoryName } from '../../oci/reference.ts'
import type { Queryable } from './database.ts'

/** The reason of blobs whose last manifest may have gone; a trigger writes it. */
export const UNNAMED = 'manifest deleted'

export type GarbageKind = 'manifest' | 'blob' | 'repository'

export interface QueuedGarbage {
  readonly id: string
  readonly kind: GarbageKind
  /** Id of a manifest or a repository, digest of a blob. */
  readonly key: string
}

/** Claims rows that are due, those due first before others, and the oldest failures like all. */
export async function claimDueGarbage(
  db: Queryable,
  { limit, claimSeconds }: { readonly limit: number; readonly claimSeconds: number },
): Promise<QueuedGarbage[]> {
  const { rows } = await db.query<QueuedGarbage>({
    name: 'claim_due_garbage',
    text: `with due as (
             select id from gc_queue
             where due_at <= now() and (claimed_until is null or claimed_until <= now())
             order by due_at, id limit $1
             for update skip locked
           )
           update gc_queue q set claimed_until = now() + make_interval(secs => $2)
           from due where q.id = due.id
           returning q.id, q.kind, q.key`,
    values: [limit, claimSeconds],
  })
  return rows
}

/** For rows whose matter is settled. */
export async function removeFromQueue(db: Queryable, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return
  await db.query({ text: 'delete from gc_queue where id = any($1)', values: [ids] })
}

/** Lets rows be looked at again after so many seconds each, and gives their claims back. */
export async function postponeGarbage(
  db: Queryable,
  postponed: readonly { readonly id: string; readonly seconds: number }[],
): Promise<void> {
  if (postponed.length === 0) return
  await db.query({
    text: `update gc_queue q
           set due_at = now() + make_interval(secs => p.seconds), claimed_until = null,
               attempts = 0, last_error = null
           from unnest($1::bigint[], $2::float8[]) as p (id, seconds)
           where q.id = p.id`,
    values: [postponed.map(({ id }) => id), postponed.map(({ seconds }) => seconds)],
  })
}

/** Back-off of a row that fails: so long after the first time, twice that after the next, a day at most. */
const FIRST_BACK_OFF_SECONDS = 5
const LONGEST_BACK_OFF_SECONDS = 86_400

/** Notes that rows could not be dealt with, and lets them wait, the longer the more often. */
export async function backOffGarbage(
  db: Queryable,
  ids: readonly string[],
  problem: string,
): Promise<void> {
  await db.query({
    text: `update gc_queue
           set attempts = attempts + 1, claimed_until = null, last_error = $2,
               due_at = now() + make_interval(secs => least($4, $3 * power(2, least(attempts, 20))))
           where id = any($1)`,
    values: [ids, problem.slice(0, 500), FIRST_BACK_OFF_SECONDS, LONGEST_BACK_OFF_SECONDS],
  })
}

/**
 * Makes rows due now: those of a repository, of its name if it is deleted, and all of blobs; or all.
 * Nothing goes by that which would not go later.
 *
 * @returns how many
 */
export async function bringForward(
  db: Queryable,
  repository: RepositoryName | undefined,
): Promise<number> {
  const { rowCount } = await db.query({
    text: `with waiting as (
             select q.id from gc_queue q
             where q.due_at > now() and (
               $1::text is null or q.kind = 'blob'
               or q.kind = 'repository' and exists (
                 select from repositories r where r.id = q.key::bigint and r.deleted_name = $1)
               or q.kind = 'manifest' and exists (
                 select from manifests m join repositories r on r.id = m.repository_id
                 where m.id = q.key::bigint and r.name = $1))
             for update skip locked
           )
           update gc_queue q
           set due_at = now(),
               reason = case when q.reason = '${UNNAMED}' then 'hurried' else q.reason end
           from waiting where q.id = waiting.id`,
    values: [repository],
  })
  return rowCount ?? 0
}

/**
 * Makes blobs due now that wait because a manifest that named them went. Unlike {@link bringForward} it
 * finds none a second time. @returns how many
 */
export async function hurryBlobs(db: Queryable): Promise<number> {
  const { rowCount } = await db.query({
    text: `with waiting as (
             select id from gc_queue where kind = 'blob' and reason = '${UNNAMED}'
             for update skip locked
           )
           update gc_queue q set due_at = now(), claimed_until = null, reason = 'hurried'
           from waiting where q.id = waiting.id`,
  })
  return rowCount ?? 0
}

/** Of the row that is due longest; 0: none is due. */
export async function findOverdueSeconds(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ seconds: number | null }>({
    text: `select extract(epoch from now() - min(due_at))::float8 as seconds
           from gc_queue where due_at <= now()`,
  })
  return rows[0]?.seconds ?? 0
}

/** Of a kind of rows. */
export interface QueueState {
  readonly kind: GarbageKind
  readonly waiting: number
  readonly due: number
  /** Rows that failed when they were looked at last. */
  readonly failing: number
  /** Of the row that is due longest, so many seconds ago; null: none is due. */
  readonly overdueSeconds: number | null
  readonly nextDueAt: Date | null
  readonly lastError: string | null
}

/** Reads the whole queue, which is as long as there is garbage. */
export async function findQueueState(db: Queryable): Promise<QueueState[]> {
  const { rows } = await db.query<QueueState>({
    text: `select kind,
             count(*) filter (where due_at > now())::int as waiting,
             count(*) filter (where due_at <= now())::int as due,
             count(*) filter (where last_error is not null)::int as failing,
             extract(epoch from now() - min(due_at) filter (where due_at <= now()))::float8
               as "overdueSeconds",
             min(due_at) as "nextDueAt",
             max(last_error) as "lastError"
           from gc_queue group by kind order by kind`,
  })
  return rows
}
