import { Counter, Gauge, type Registry as Series } from 'prom-client'

/** What this process collected, and whether collecting keeps up. */
export interface GarbageSource {
  readonly totals: () => {
    readonly manifests: number
    readonly blobs: number
    readonly bytes: number
  }
  /** Of what is due longest, whichever process comes to it; 0: nothing is due. */
  readonly overdueSeconds: () => Promise<number>
}

type Total = keyof ReturnType<GarbageSource['totals']>

const COUNTERS: readonly (readonly [string, string, Total])[] = [
  ['manifests_total', 'manifests that were collected', 'manifests'],
  ['blobs_total', 'blobs that were collected', 'blobs'],
  ['freed_bytes_total', 'bytes of these blobs', 'bytes'],
]

/** Numbers that are asked for when somebody looks. */
export function registerGarbageSeries(
  series: Series,
  { totals, overdueSeconds }: GarbageSource,
): void {
  const registers = [series]
  for (const [name, help, total] of COUNTERS) {
    const counter: Counter = new Counter({
      name: `slipway_gc_${name}`,
      help,
      registers,
      collect: () => {
        counter.reset()
        counter.inc(totals()[total])
      },
    })
  }
  const gauge: Gauge = new Gauge({
    name: 'slipway_gc_overdue_seconds',
    help: 'how long the oldest garbage that is due has waited',
    registers,
    collect: async () => {
      gauge.reset()
      // Without the database there is no value at all: zero would be wrong.
      const seconds = await overdueSeconds().catch(() => undefined)
      if (seconds === undefined) gauge.remove()
      else gauge.set(seconds)
    },
  })
}
