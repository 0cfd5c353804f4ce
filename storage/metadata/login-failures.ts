import type { Queryable } from './database.ts'

/** How long failures count when no other follows, unless said otherwise. */
export const FAILURE_WINDOW_SECONDS = 900

export interface FailureLimits {
  /** So many failures lock nothing; at least 1. */
  readonly free: number
  /** Failures count no more when the last one, and the end of its lock, are longer ago. */
  readonly windowSeconds: number
  /** The first lock is for one second, each next for twice as long, none for longer than this. */
  readonly maxLockSeconds: number
}

/** Seconds until none of the keys is locked, a whole number from 1 on; undefined when none is. */
export async function findLoginLock(
  db: Queryable,
  keys: readonly string[],
): Promise<number | undefined> {
  const { rows } = await db.query<{ seconds: number | null }>({
    name: 'find_login_lock',
    text: `select ceil(extract(epoch from max(locked_until) - now()))::int as seconds
           from login_failures
           where key = any($1) and locked_until > now()`,
    values: [keys],
  })
  return rows[0]?.seconds ?? undefined
}

/** Counts one more failure of `key`, and locks it when it had enough. */
export async function upsertLoginFailure(
  db: Queryable,
  key: string,
  { free, windowSeconds, maxLockSeconds }: FailureLimits,
): Promise<void> {
  await db.query({
    name: 'upsert_login_failure',
    // A statement that waited for another has the earlier now() of the two: no time goes back.
    // The exponent ends where every lock is at its longest, and no number is too large.
    text: `insert into login_failures as f (key, failures, last_at) values ($1, 1, now())
           on conflict (key) do update set
             last_at = greatest(f.last_at, now()),
             (failures, locked_until) = (
               select n, greatest(f.locked_until, case when n > $2 then now() + make_interval(
                 secs => least(power(2, least(n - $2 - 1, 30)), $4)) end)
               from (select case when greatest(f.last_at, f.locked_until) < now() - make_interval(secs => $3)
                            then 1 else f.failures + 1 end as n) counted)`,
    values: [key, free, windowSeconds, maxLockSeconds],
  })
}

/** Forgets the failures of `key`, and that it was locked. */
export async function deleteLoginFailures(db: Queryable, key: string): Promise<void> {
  await db.query({
    name: 'delete_login_failures',
    text: 'delete from login_failures where key = $1',
    values: [key],
  })
}

/** Deletes what counts no more and locks nothing. @returns how many keys that were */
export async function pruneLoginFailures(
  db: Queryable,
  windowSeconds: number = FAILURE_WINDOW_SECONDS,
): Promise<number> {
  const { rowCount } = await db.query({
    text: `delete from login_failures
           where greatest(last_at, locked_until) < now() - make_interval(secs => $1)`,
    values: [windowSeconds],
  })
  return rowCount ?? 0
}
