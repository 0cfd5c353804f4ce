import { type Pool, type Queryable, transaction } from './database.ts'

/** What was done, or tried. Texts are stored as {@link cleanAuditEvent} leaves them. */
export interface AuditEvent {
  /** As grants name subjects: `user:alice`; undefined for anonymous. */
  readonly actor: string | undefined
  readonly action: string
  readonly repository?: string | undefined
  /** Tag, digest, or the name of what was administered. */
  readonly target?: string | undefined
  readonly result: 'done' | 'denied' | 'failed'
  readonly address?: string | undefined
  readonly requestId?: string | undefined
  readonly detail?: string | undefined
}

export interface StoredAuditEvent extends AuditEvent {
  /** Digits. A later event of the same process has a greater one. */
  readonly id: string
  readonly at: Date
}

/** An event has to match all that are given. */
export interface AuditFilter {
  readonly actor?: string | undefined
  readonly action?: string | undefined
  readonly repository?: string | undefined
  readonly result?: AuditEvent['result'] | undefined
  readonly address?: string | undefined
  /** Inclusive. */
  readonly since?: Date | undefined
  /** Exclusive. */
  readonly until?: Date | undefined
}

/** In UTF-16 units. Indexed columns together have to fit an index row, which is 2700 bytes. */
const MOST = {
  actor: 512,
  action: 64,
  repository: 255,
  target: 512,
  address: 64,
  requestId: 128,
  detail: 512,
}

// Control characters, line and paragraph separators, and marks that turn the direction of the text
// around: with any of them an event could look like another one, or like two.
const MISLEADING = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/**
 * The event with texts that Postgres takes and people can trust: too long ones are cut and end in
 * an ellipsis, U+FFFD stands for control characters and halves of characters. Cleaning it again
 * changes nothing.
 */
export function cleanAuditEvent(event: AuditEvent): AuditEvent {
  return {
    actor: cleanText(event.actor, MOST.actor),
    action: cleanText(event.action, MOST.action),
    repository: cleanText(event.repository, MOST.repository),
    target: cleanText(event.target, MOST.target),
    result: event.result,
    address: cleanText(event.address, MOST.address),
    requestId: cleanText(event.requestId, MOST.requestId),
    detail: cleanText(event.detail, MOST.detail),
  }
}

function cleanText<Text extends string | undefined>(text: Text, most: number): Text | string {
  if (text === undefined) return text
  const cut = text.length > most ? `${text.slice(0, most - 1)}…` : text
  // Through bytes: that replaces halves of characters, and a piece that was cut out of a huge
  // text does not keep the rest of it in memory.
  return Buffer.from(cut).toString().replaceAll(MISLEADING, '\uFFFD')
}

/**
 * Stores the events, cleaned, in their order. One without a time happened now. In a transaction
 * they are stored if it commits.
 */
export async function insertAuditEvents(
  db: Queryable,
  events: readonly (AuditEvent & { readonly at?: Date })[],
): Promise<void> {
  if (events.length === 0) return
  const cleaned = events.map(cleanAuditEvent)
  await db.query({
    name: 'insert_audit_events',
    text: `insert into audit_events
             (at, actor, action, repository, target, result, address, request_id, detail)
           select coalesce(e.at, now()), e.actor, e.action, e.repository, e.target, e.result,
                  e.address, e.request_id, e.detail
           from unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[],
                       $6::text[], $7::text[], $8::text[], $9::text[]) with ordinality
             as e (at, actor, action, repository, target, result, address, request_id, detail,
                   position)
           order by e.position`,
    values: [
      events.map((event) => event.at),
      cleaned.map((event) => event.actor),
      cleaned.map((event) => event.action),
      cleaned.map((event) => event.repository),
      cleaned.map((event) => event.target),
      cleaned.map((event) => event.result),
      cleaned.map((event) => event.address),
      cleaned.map((event) => event.requestId),
      cleaned.map((event) => event.detail),
    ],
  })
}

type AuditRow = { readonly [Key in keyof StoredAuditEvent]-?: StoredAuditEvent[Key] | null } & Pick<
  StoredAuditEvent,
  'id' | 'at' | 'action' | 'result'
>

/**
 * One page, the newest first: events with ids below `before`, which is the last id of the page
 * before, or empty for the first page. One that is being stored while its neighbours are read may
 * turn up behind the reader; reading again shows it.
 */
export async function listAuditEvents(
  db: Queryable,
  filter: AuditFilter,
  page: { readonly before: string; readonly limit: number },
): Promise<StoredAuditEvent[]> {
  // Not a prepared statement: only a plan made for these values sees which index serves them.
  const { rows } = await db.query<AuditRow>({
    text: `select id::text, at, actor, action, repository, target, result, address,
                  request_id as "requestId", detail
           from audit_events
           where ($1::bigint is null or audit_events.id < $1)
             and ($2::text is null or actor = $2)
             and ($3::text is null or action = $3)
             and ($4::text is null or repository = $4)
             and ($5::text is null or result = $5)
             and ($6::text is null or address = $6)
             and ($7::timestamptz is null or at >= $7)
             and ($8::timestamptz is null or at < $8)
           order by audit_events.id desc limit $9`,
    values: [
      page.before === '' ? undefined : page.before,
      // Cleaned like what they are compared with.
      cleanText(filter.actor, MOST.actor),
      cleanText(filter.action, MOST.action),
      cleanText(filter.repository, MOST.repository),
      filter.result,
      cleanText(filter.address, MOST.address),
      filter.since,
      filter.until,
      page.limit,
    ],
  })
  return rows.map((row) => ({
    id: row.id,
    at: row.at,
    actor: row.actor ?? undefined,
    action: row.action,
    repository: row.repository ?? undefined,
    target: row.target ?? undefined,
    result: row.result,
    address: row.address ?? undefined,
    requestId: row.requestId ?? undefined,
    detail: row.detail ?? undefined,
  }))
}

const PRUNE_BATCH = 10_000

/**
 * Deletes events from more than so many whole days ago, the oldest first, at most `batch` (1 or
 * more) in one transaction. Processes that prune at once take different ones. A batch that has
 * begun is finished when `signal` aborts; what is deleted by then stays deleted.
 *
 * @returns how many
 */
export async function pruneAuditEvents(
  db: Pool,
  olderThanDays: number,
  batch = PRUNE_BATCH,
  signal?: AbortSignal,
): Promise<number> {
  let pruned = 0
  for (;;) {
    if (signal?.aborted === true) return pruned
    const deleted = await pruneBatch(db, olderThanDays, batch)
    pruned += deleted
    if (deleted < batch) return pruned
  }
}

function pruneBatch(db: Pool, olderThanDays: number, batch: number): Promise<number> {
  return transaction(db, async (tx) => {
    const [, { rowCount }] = await Promise.all([
      tx.query({ text: `select set_config('slipway.prunes_audit', 'on', true)` }),
      tx.commitWith({
        text: `with old as materialized (
                 select id from audit_events where at < now() - make_interval(days => $1)
                 order by at limit $2 for update skip locked
               )
               delete from audit_events using old where audit_events.id = old.id`,
        values: [olderThanDays, batch],
      }),
    ])
    return rowCount ?? 0
  })
}
