import type { Queryable } from './database.ts'

/** How much was asked of one upstream. */
export interface ActivityCounts {
  /** Answered from what was kept. */
  readonly hits: number
  /** Had to be fetched. */
  readonly misses: number
  /** Answered from what was kept, as the upstream failed. */
  readonly stale: number
  readonly fetchedBytes: number
  /** Of blobs and manifests, whatever their source. */
  readonly servedBytes: number
  readonly evictedBytes: number
}

/** How an upstream is doing, as far as somebody knows. */
interface StoredCondition {
  /** Not asked before. */
  readonly brokenUntil: Date | undefined
  /** Requests in its window, as the upstream tells. */
  readonly budget: { readonly limit: number; readonly left: number; readonly at: Date } | undefined
  readonly lastError: { readonly message: string; readonly at: Date } | undefined
}

export interface ActivityReport {
  readonly name: string
  /** To be added. */
  readonly counts: ActivityCounts
  /** What it says replaces what others said earlier. */
  readonly condition: Partial<StoredCondition>
}

/** Adds what one process saw; what it does not know of an upstream's condition stays. */
export async function addActivity(
  db: Queryable,
  reports: readonly ActivityReport[],
): Promise<void> {
  const of = <T>(read: (report: ActivityReport) => T): T[] => reports.map(read)
  await db.query({
    text: `insert into upstream_activity as a
             (name, hits, misses, stale, fetched_bytes, served_bytes, evicted_bytes, budget_limit,
              budget_left, budget_at, broken_until, last_error, last_error_at)
           select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
             $6::bigint[], $7::bigint[], $8::int[], $9::int[], $10::timestamptz[],
             $11::timestamptz[], $12::text[], $13::timestamptz[]) as r (name)
           order by r.name
           on conflict (name) do update set
             hits = a.hits + excluded.hits,
             misses = a.misses + excluded.misses,
             stale = a.stale + excluded.stale,
             fetched_bytes = a.fetched_bytes + excluded.fetched_bytes,
             served_bytes = a.served_bytes + excluded.served_bytes,
             evicted_bytes = a.evicted_bytes + excluded.evicted_bytes,
             (budget_limit, budget_left, budget_at) = (
               select n.* from (values
                 (excluded.budget_limit, excluded.budget_left, excluded.budget_at),
                 (a.budget_limit, a.budget_left, a.budget_at)) n (l, r, at)
               order by n.at desc nulls last limit 1),
             broken_until = coalesce(excluded.broken_until, a.broken_until),
             (last_error, last_error_at) = (
               select n.* from (values
                 (excluded.last_error, excluded.last_error_at),
                 (a.last_error, a.last_error_at)) n (error, at)
               order by n.at desc nulls last limit 1)`,
    values: [
      of(({ name }) => name),
      of(({ counts }) => counts.hits),
      of(({ counts }) => counts.misses),
      of(({ counts }) => counts.stale),
      of(({ counts }) => counts.fetchedBytes),
      of(({ counts }) => counts.servedBytes),
      of(({ counts }) => counts.evictedBytes),
      of(({ condition }) => condition.budget?.limit),
      of(({ condition }) => condition.budget?.left),
      of(({ condition }) => condition.budget?.at),
      of(({ condition }) => condition.brokenUntil),
      of(({ condition }) => condition.lastError?.message),
      of(({ condition }) => condition.lastError?.at),
    ],
  })
}

/** Of all processes since ever. */
export interface StoredActivity extends ActivityCounts, StoredCondition {}

interface ActivityRow extends ActivityCounts {
  readonly brokenUntil: Date | null
  readonly budgetLimit: number | null
  readonly budgetLeft: number | null
  readonly budgetAt: Date | null
  readonly lastError: string | null
  readonly lastErrorAt: Date | null
}

/** Undefined when nothing was ever asked of it. */
export async function findActivity(
  db: Queryable,
  upstream: string,
): Promise<StoredActivity | undefined> {
  const { rows } = await db.query<ActivityRow>({
    text: `select hits::float8 as hits, misses::float8 as misses, stale::float8 as stale,
             fetched_bytes::float8 as "fetchedBytes", served_bytes::float8 as "servedBytes",
             evicted_bytes::float8 as "evictedBytes", budget_limit as "budgetLimit",
             budget_left as "budgetLeft", budget_at as "budgetAt", broken_until as "brokenUntil",
             last_error as "lastError", last_error_at as "lastErrorAt"
           from upstream_activity where name = $1`,
    values: [upstream],
  })
  const [row] = rows
  if (row === undefined) return undefined
  const { brokenUntil, budgetLimit, budgetLeft, budgetAt, lastError, lastErrorAt, ...counts } = row
  return {
    ...counts,
    brokenUntil: brokenUntil ?? undefined,
    budget:
      budgetLimit === null || budgetLeft === null || budgetAt === null
        ? undefined
        : { limit: budgetLimit, left: budgetLeft, at: budgetAt },
    lastError:
      lastError === null || lastErrorAt === null
        ? undefined
        : { message: lastError, at: lastErrorAt },
  }
}
