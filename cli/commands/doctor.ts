import { pino } from 'pino'
import { ConfigError } from '../../config/config.ts'
import { diagnose, type Finding, type FindingKind } from '../../registry/integrity/doctor.ts'
import { ORPHAN_SECONDS } from '../../registry/integrity/sweep.ts'
import { openBlobStore } from '../../server/blob-store.ts'
import { insertAuditEvents } from '../../storage/metadata/audit.ts'
import { type Access, withAccess } from '../access.ts'
import { contentOf } from '../content.ts'
import { JSON_SWITCH } from '../flags.ts'
import { print, printJson, printTable, remark } from '../printing.ts'
import { parseMoment } from '../times.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'

/** So many of a kind are shown; JSON has all. */
const SHOWN = 20
const NOTHING_LEFT = 0
const SOMETHING_LEFT = 1
const COULD_NOT_LOOK = 2

export const DOCTOR_COMMAND: Command = {
  name: 'doctor',
  text: 'compare database and storage, and repair where they differ',
  more: `Servers may run meanwhile. The exit code is 0 when nothing is wrong, or all of it was repaired; 1 when
something is left that is wrong; 2 when it could not be looked at.`,
  settings: 'taken',
  switches: {
    ...JSON_SWITCH,
    repair:
      'Quarantine blobs without their bytes, release those that have them again, and remove bytes that no row names.',
    deep: 'Read every blob and compare its digest as well, at scrub.bytesPerSecond at most.',
    'all-is-lost':
      'Go on where none of the blobs is there, rather than take the storage for another one.',
  },
  values: {
    age: {
      value: 'SPAN',
      text: 'Bytes that no row names count when they are older, such as 24h (the default) or 7d.',
    },
  },
  run,
}

async function run(options: CommandOptions): Promise<number> {
  const olderThanSeconds = ageOf(options)
  const report = new Report(options.switches.has('json'))
  try {
    await withAccess(options, (access) => examine(options, access, { olderThanSeconds, report }))
  } catch (error) {
    if (error instanceof UsageError || error instanceof ConfigError) throw error
    report.end()
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : ''
    remark(`slipway: could not look: ${messageOf(error)}${cause === '' ? '' : ` (${cause})`}`)
    return COULD_NOT_LOOK
  }
  report.end()
  return report.faultsLeft > 0 ? SOMETHING_LEFT : NOTHING_LEFT
}

interface Examination {
  readonly olderThanSeconds: number
  readonly report: Report
}

async function examine(
  { switches }: CommandOptions,
  { control, config, actor }: Access,
  { olderThanSeconds, report }: Examination,
): Promise<void> {
  const { db } = control
  const storage = await openBlobStore(config)
  const patient = {
    ...contentOf({ control }),
    blobs: storage.store,
    log: pino({ level: 'silent' }), // all of it is in the report
  }
  const repair = switches.has('repair')
  try {
    for await (const finding of diagnose(patient, {
      repair,
      deep: switches.has('deep'),
      bytesPerSecond: config['scrub.bytesPerSecond'],
      olderThanSeconds,
      mayBeEmpty: switches.has('all-is-lost'),
    })) {
      report.add(finding)
    }
  } finally {
    storage.close()
    // Also of a run that broke off: what it did is done.
    if (repair) {
      const { subject } = actor
      const event = { actor: subject, action: 'doctor.repair', target: storage.place }
      await insertAuditEvents(db, [{ ...event, result: 'done', detail: report.repaired() }])
    }
  }
}

const TITLES: Readonly<Record<FindingKind, string>> = {
  missing: 'blobs without bytes',
  size: 'blobs of another size',
  content: 'blobs with other bytes',
  quarantined: 'blobs in quarantine',
  manifest: 'damaged manifests',
  orphan: 'bytes that no row names',
  upload: 'leftovers of uploads',
  deleting: 'blobs being deleted (no fault)',
  foreign: 'bytes of something else (no fault)',
}

const NO_FAULT: ReadonlySet<FindingKind> = new Set(['deleting', 'foreign'])

interface Total {
  found: number
  repaired: number
  bytes: number
  readonly first: Finding[]
}

/** What was found, by kind. Memory does not grow with it. */
class Report {
  readonly #json: boolean
  readonly #totals = new Map<FindingKind, Total>()

  constructor(json: boolean) {
    this.#json = json
  }

  get faultsLeft(): number {
    const faults = [...this.#totals].filter(([kind]) => !NO_FAULT.has(kind))
    return faults.reduce((left, [, { found, repaired }]) => left + found - repaired, 0)
  }

  add(finding: Finding): void {
    const { kind, sizeBytes, isRepaired } = finding
    const total = this.#totals.get(kind) ?? { found: 0, repaired: 0, bytes: 0, first: [] }
    this.#totals.set(kind, total)
    total.found++
    total.bytes += sizeBytes
    if (isRepaired) total.repaired++
    if (this.#json) printJson({ ...finding, digest: finding.digest })
    else if (total.first.length < SHOWN) total.first.push(finding)
  }

  /** `2 missing, 1 orphan` */
  repaired(): string {
    const kinds = [...this.#totals].filter(([, { repaired }]) => repaired > 0)
    if (kinds.length === 0) return 'nothing'
    return kinds.map(([kind, { repaired }]) => `${repaired} ${kind}`).join(', ')
  }

  end(): void {
    if (this.#json) {
      const totals = [...this.#totals].map(([kind, { found, repaired, bytes }]) => {
        return [kind, { found, repaired, bytes }] as const
      })
      printJson({ kind: 'summary', faultsLeft: this.faultsLeft, found: Object.fromEntries(totals) })
      return
    }
    if (this.#totals.size === 0) return print('nothing is wrong')
    for (const [kind, total] of this.#totals) show(kind, total)
    const left = this.faultsLeft
    print(left === 0 ? 'nothing is left that is wrong' : `${left} left that are wrong`)
  }
}

function show(kind: FindingKind, { found, repaired, bytes, first }: Total): void {
  const done = repaired === 0 ? '' : `, ${repaired} repaired`
  print(`${TITLES[kind]}: ${found}, ${bytes} bytes${done}`)
  printTable(
    ['  DIGEST', 'WHERE', 'BYTES', 'PROBLEM', 'REPAIRED'],
    first.map(({ digest, where, sizeBytes, problem, isRepaired }) => [
      `  ${digest ?? '-'}`,
      where,
      String(sizeBytes),
      problem,
      isRepaired,
    ]),
    '',
  )
  if (found > first.length) print(`  … and ${found - first.length} more; --json has all`)
  print('')
}

/** Seconds. @throws UsageError */
function ageOf({ values: { age } }: CommandOptions): number {
  if (age === undefined) return ORPHAN_SECONDS
  const now = new Date()
  // A span counts from now; a date would, too, but says what was stored before it.
  return Math.max(0, (now.getTime() - parseMoment(age, now).getTime()) / 1000)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
