import { Counter, Gauge, type Registry as Series } from 'prom-client'

/** What the scrub did in this process, and what it left to be done. */
export interface ScrubSource {
  readonly totals: () => {
    readonly blobs: number
    readonly bytes: number
    readonly quarantined: number
  }
  /** Blobs that are quarantined now, whichever process found them. */
  readonly waiting: () => Promise<number>
}

type Total = keyof ReturnType<ScrubSource['totals']>

const COUNTERS: readonly (readonly [string, string, Total])[] = [
  ['blobs_total', 'blobs read and found to be whole', 'blobs'],
  ['bytes_total', 'bytes of these blobs', 'bytes'],
  ['quarantined_total', 'blobs found to be damaged or missing', 'quarantined'],
]

/** Numbers that are asked for when somebody looks. */
export function registerScrubSeries(series: Series, { totals, waiting }: ScrubSource): void {
  const registers = [series]
  for (const [name, help, total] of COUNTERS) {
    const counter: Counter = new Counter({
      name: `slipway_scrub_${name}`,
      help,
      registers,
      collect: () => {
        counter.reset()
        counter.inc(totals()[total])
      },
    })
  }
  const gauge: Gauge = new Gauge({
    name: 'slipway_scrub_quarantined_blobs',
    help: 'blobs whose bytes have to be brought again',
    registers,
    collect: async () => {
      gauge.reset()
      // Without the database it is left as zero would be wrong: no value at all.
      const count = await waiting().catch(() => undefined)
      if (count === undefined) gauge.remove()
      else gauge.set(count)
    },
  })
}
