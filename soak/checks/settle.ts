import { setTimeout as sleep } from 'node:timers/promises'
import type { Pool } from '../../storage/metadata/database.ts'
import type { Report } from '../report.ts'

/** Longer than statements of servers may take that are dead by now. */
const PATIENCE_MS = 90_000

/**
 * Waits until nothing happens any more: what servers had begun that died has ended, and collectors
 * have found all there is to be found.
 */
export async function settle(db: Pool, report: Report): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  // Rows that dead servers have claimed, and those that wait after a failure: as if time had passed.
  await db.query('update gc_queue set claimed_until = null where claimed_until is not null')
  await db.query('update gc_queue set due_at = now() where attempts > 0')
  let quiet = 0
  for (let turn = 1; quiet < 3; turn++) {
    await sleep(200)
    quiet = (await isQuiet(db)) ? quiet + 1 : 0
    if (turn % 25 === 0) report.journal.note(`* not at rest yet: ${await whatMoves(db)}`)
    if (performance.now() < deadline) continue
    report.violation(`the collector does not come to rest: ${await whatMoves(db)}`)
    return
  }
}

async function whatMoves(db: Pool): Promise<string> {
  const { rows: queue } = await db.query('select * from gc_queue order by due_at limit 5')
  const { rows: blobs } = await db.query(
    `select digest, state, promised_at from blobs where state <> 'live' limit 5`,
  )
  const { rows: active } = await db.query(ACTIVE)
  return JSON.stringify({ queue, blobs, active })
}

/** Transactions of others; the waits of listeners are none. */
const ACTIVE = `select pid, state, wait_event, query, xact_start from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null`

async function isQuiet(db: Pool): Promise<boolean> {
  const { rows } = await db.query<{ queued: number; deleting: number }>(
    `select (select count(*)::int from gc_queue) as queued,
       (select count(*)::int from blobs where state = 'deleting') as deleting`,
  )
  const { rowCount } = await db.query(ACTIVE)
  return rows[0]?.queued === 0 && rows[0].deleting === 0 && rowCount === 0
}
