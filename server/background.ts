import type { AccessControl } from '../auth/access-control.ts'
import { pruneAccessRecords } from '../auth/prune.ts'
import { ensureSigningKey } from '../auth/setup.ts'
import { dropExpiredUploads } from '../registry/expired-uploads.ts'
import type { GarbageCounts } from '../registry/garbage/garbage-counts.ts'
import { tendGarbage } from '../registry/garbage/tend.ts'
import { type ScrubOptions, scrub } from '../registry/integrity/scrub.ts'
import { sweepOrphansWhenDue } from '../registry/integrity/sweep.ts'
import { tendUpstreams } from '../registry/pull-through/tend.ts'
import type { Registry } from '../registry/registry.ts'
import { AutomaticRetention } from '../registry/retention/automatic.ts'

const UPLOADS_EVERY_MS = 60_000
const ACCESS_EVERY_MS = 600_000
const UPSTREAMS_EVERY_MS = 30_000
const INTEGRITY_EVERY_MS = 60_000
const RETENTION_EVERY_MS = 60_000

export interface BackgroundSettings {
  /** Age at which the key that signs is replaced; 0: never. */
  readonly keyDays: number
  readonly auditDays: number
  readonly gcSeconds: number
  readonly sweepSeconds: number
  readonly collected: GarbageCounts
  readonly scrub: Omit<ScrubOptions, 'signal'>
  /** Between two runs of retention; 0: never. */
  readonly retentionSeconds: number
}

/** Work that nobody asks for. Started by the composition root, one run of a kind at a time. */
export function startBackgroundWork(
  registry: Registry,
  control: AccessControl,
  {
    keyDays,
    auditDays,
    gcSeconds,
    sweepSeconds,
    collected,
    scrub: terms,
    retentionSeconds,
  }: BackgroundSettings,
): { stop(): Promise<void> } {
  const { log } = registry
  const ending = new AbortController()
  const retention = new AutomaticRetention(registry, { everySeconds: retentionSeconds })
  const tasks = [
    repeat(UPLOADS_EVERY_MS, log, async () => {
      const dropped = await dropExpiredUploads(registry, ending.signal)
      if (dropped > 0) log.info({ dropped }, 'idle uploads dropped')
    }),
    repeat(ACCESS_EVERY_MS, log, async () => {
      control.records.dropStale()
      await pruneAccessRecords(control.db, auditDays)
      if (control.mode !== 'external') await ensureSigningKey(control, keyDays)
    }),
    repeat(UPSTREAMS_EVERY_MS, log, () => tendUpstreams(registry, ending.signal)),
    repeat(INTEGRITY_EVERY_MS, log, () => scrub(registry, { ...terms, signal: ending.signal })),
    repeat(INTEGRITY_EVERY_MS, log, () =>
      sweepOrphansWhenDue(registry, sweepSeconds, ending.signal),
    ),
    repeat(RETENTION_EVERY_MS, log, () => retention.tend(ending.signal)),
    repeat(gcSeconds * 1000, log, () =>
      tendGarbage(registry, { sweepSeconds, counts: collected, signal: ending.signal }),
    ),
  ]
  return {
    stop: async () => {
      ending.abort(new Error('the server stops'))
      await Promise.all(tasks.map((task) => task.stop()))
    },
  }
}

function repeat(
  everyMs: number,
  log: Registry['log'],
  work: () => Promise<void>,
): { stop(): Promise<void> } {
  let running: Promise<void> | undefined
  let isEnding = false
  const run = async () => {
    try {
      await work()
    } catch (error) {
      // The next run tries again.
      if (!isEnding) log.warn({ err: error }, 'background work failed')
    }
  }
  const timer = setInterval(() => {
    running ??= run().finally(() => {
      running = undefined
    })
  }, everyMs)
  timer.unref()
  return {
    stop: async () => {
      isEnding = true
      clearInterval(timer)
      await running
    },
  }
}
