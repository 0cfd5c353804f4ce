import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkPlaces, checkSweep } from './checks/bytes.ts'
import { checkAcknowledged, checkEdges, checkGarbage } from './checks/content.ts'
import type { LogWatch } from './checks/log.ts'
import { type Rows, readRows } from './checks/rows.ts'
import { checkServed } from './checks/served.ts'
import { settle } from './checks/settle.ts'
import { Client, type Round } from './client.ts'
import type { Contents } from './contents.ts'
import { Deleter } from './deleters.ts'
import { Fleet } from './fleet.ts'
import { keyOf, Ledger } from './ledger.ts'
import { Pusher } from './pushers.ts'
import type { Random } from './random.ts'
import { Reader } from './readers.ts'
import type { Report } from './report.ts'
import type { Stage } from './stage.ts'
import { sweepNow } from './sweep.ts'

const PUSHERS = 5
/** Many, as each waits for seconds after a death: the others may not have heard of its delete. */
const DELETERS = 6
const READERS = 2
/** Claims of the collector are taken back so often, as if they had run out. */
const CLAIMS_MS = 4000
const SWEEP_MS = 3000

/** What goes on from one round to the next. */
export interface Soak {
  readonly stage: Stage
  readonly contents: Contents
  readonly random: Random
  readonly report: Report
  readonly log: LogWatch
  readonly replicas: number
  readonly calm: boolean
  readonly unfinished: Set<string>
  /** What the last check found. */
  found: Rows | undefined
}

export interface RoundTerms {
  readonly seconds: number
  readonly graceSeconds: number
}

/** Lets clients work, some of whose servers die, and then looks whether all is as it must be. */
export async function runRound(soak: Soak, { seconds, graceSeconds }: RoundTerms): Promise<void> {
  const { stage, report, random } = soak
  const fleet = new Fleet(stage, report, random, {
    'gc.graceSeconds': String(graceSeconds),
    'gc.undoSeconds': '0',
    'gc.untaggedSeconds': '0',
    'gc.blobSeconds': '0',
    'gc.intervalSeconds': '1',
    'limits.apiRequestsPerMinute': '1000000',
  })
  const ending = new AbortController()
  setMaxListeners(0, ending.signal) // one for every pause of a client
  const ledger = ledgerOf(soak)
  try {
    await fleet.start(soak.replicas)
    const round = { fleet, ledger, report, graceSeconds, ending: ending.signal }
    const clients = clientsOf(round, soak)
    const failed = Promise.all(clients.map((client) => client.run()))
    const disturbing = soak.calm
      ? []
      : [fleet.disturb(ending.signal), fleet.interrupt(ending.signal)]
    // In the other rounds what deaths leave stays until the check, and is counted.
    const sweeping = graceSeconds > 0 ? [sweepOften(soak, ending.signal)] : []
    const others = [expireClaims(stage, ending.signal), ...sweeping]
    await Promise.race([sleep(seconds * 1000), failed])
    ending.abort()
    await Promise.all([failed, ...disturbing, ...others])
    await fleet.allUp()
    await settle(stage.db, report)
    await check(soak, fleet, ledger)
  } finally {
    ending.abort()
    await fleet.stop()
  }
  soak.log.check(stage.workspace.log(), report)
}

interface Running {
  run(): Promise<void>
}

function clientsOf(round: Round, { contents, random, unfinished }: Soak): Running[] {
  const many = (count: number, name: string, make: (client: Client) => Running) =>
    Array.from({ length: count }, (_, number) =>
      make(new Client(`${name}-${number + 1}`, round, random)),
    )
  return [
    ...many(PUSHERS, 'pusher', (client) => new Pusher(client, contents, unfinished)),
    ...many(DELETERS, 'deleter', (client) => new Deleter(client, contents)),
    ...many(READERS, 'reader', (client) => new Reader(client, contents)),
  ]
}

/** Two collectors then do the same at once, as they may when one of them takes long. */
async function expireClaims({ db }: Stage, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(CLAIMS_MS, undefined, { signal }).catch(() => {})
    await db.query('update gc_queue set claimed_until = now() where claimed_until > now()')
  }
}

/** The sweep of bytes that no row names, while uploads are under way. */
async function sweepOften({ stage }: Soak, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(SWEEP_MS, undefined, { signal }).catch(() => {})
    await sweepNow(stage)
  }
}

async function check(soak: Soak, fleet: Fleet, ledger: Ledger): Promise<void> {
  const { stage, report, contents, unfinished } = soak
  const rows = await readRows(stage.db)
  const checked = { ledger, contents, report }
  checkAcknowledged(rows, checked)
  checkEdges(rows, checked)
  checkGarbage(rows, checked)
  report.figures.orphans += await checkPlaces(stage, rows, unfinished, report)
  await checkSweep(stage, rows, report)
  for (const replica of fleet.replicas()) await checkServed(replica, rows, checked)
  await countInDatabase(soak)
  soak.found = rows
  report.figures.checks++
}

async function countInDatabase({ stage, report }: Soak): Promise<void> {
  const { rows: stats } = await stage.db.query<{ deadlocks: number }>(
    `select deadlocks::int from pg_stat_database where datname = current_database()`,
  )
  const deadlocks = stats[0]?.deadlocks ?? 0
  if (deadlocks > report.figures.deadlocks) report.violation(`${deadlocks} deadlocks`)
  report.figures.deadlocks = deadlocks
}

function ledgerOf({ found, contents }: Soak): Ledger {
  const tags = (found?.tags ?? []).map(
    ({ repository, tag, digest }) => [keyOf(repository, tag), digest] as const,
  )
  const manifests = (found?.manifests ?? []).map(({ repository, digest }) =>
    keyOf(repository ?? '', digest),
  )
  const parents = new Map<string, string[]>()
  for (const { digest, children } of contents.indexes) {
    for (const child of children) {
      parents.set(child.digest, [...(parents.get(child.digest) ?? []), digest])
    }
  }
  return new Ledger(new Map(tags), new Set(manifests), parents)
}
