import type { AccessControl } from '../auth/access-control.ts'
import { pruneAccessRecords } from '../auth/prune.ts'
import { ensureSigningKey } from '../auth/setup.ts'
import { dropExpiredUploads } from '../registry/expired-uploads.ts'
import { collectGarbage } from '../registry/garbage/collect.ts'
import { sweepGarbage } from '../registry/garbage/sweep.ts'
import { tendUpstreams } from '../registry/pull-through/tend.ts'
import type { Registry } from '../registry/registry.ts'

const UPLOADS_EVERY_MS = 60_000
const ACCESS_EVERY_MS = 600_000
const UPSTREAMS_EVERY_MS = 30_000

export interface BackgroundSettings {
  /** Age at which the key that signs is replaced; 0: never. */
  readonly keyDays: number
  readonly auditDays: number
  readonly gcSeconds: number
  readonly sweepSeconds: number
}

/** Work that nobody asks for. Started by the composition root, one run of a kind at a time. */
export function startBackgroundWork(
  registry: Registry,
  control: AccessControl,
  { keyDays, auditDays, gcSeconds, sweepSeconds }: BackgroundSettings,
): { stop(): Promise<void> } {
  const { log } = registry
  const ending = new AbortController()
  const tasks = [
    repeat(UPLOADS_EVERY_MS, log, async () => {
      const dropped = await dropExpiredUploads(registry)
      if (dropped > 0) log.info({ dropped }, 'idle uploads dropped')
    }),
    repeat(ACCESS_EVERY_MS, log, async () => {
      await pruneAccessRecords(control.db, auditDays)
      if (control.mode !== 'external') await ensureSigningKey(control, keyDays)
    }),
    repeat(UPSTREAMS_EVERY_MS, log, () => tendUpstreams(registry, ending.signal)),
    repeat(gcSeconds * 1000, log, async () => {
      const { signal } = ending
      await sweepGarbage(registry, { everySeconds: sweepSeconds, signal })
      const freed = await collectGarbage(registry, { signal })
      if (freed.manifests + freed.blobs > 0) log.info(freed, 'garbage collected')
    }),
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
  const run = async () => {
    try {
      await work()
    } catch (error) {
      // The next run tries again.
      log.warn({ err: error }, 'background work failed')
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
      clearInterval(timer)
      await running
    },
  }
}
