import { Counter, Gauge, type Registry as Series } from 'prom-client'

/** Since the process began. Fields are left out as long as there is nothing to tell. */
export interface UpstreamFigures {
  readonly name: string
  readonly hits?: number
  readonly misses?: number
  /** Of the hits, those that were served because the upstream failed. */
  readonly stale?: number
  readonly fetchedBytes?: number
  readonly servedBytes?: number
  readonly evictedBytes?: number
  readonly isBroken: boolean
  /** What the upstream's rate limit leaves, when it says so. */
  readonly budgetLeft?: number | undefined
}

type Figure = (figures: UpstreamFigures) => number | undefined

const COUNTERS: readonly (readonly [string, string, Figure])[] = [
  ['hits_total', 'answered from what is kept', ({ hits }) => hits],
  ['misses_total', 'had to be fetched', ({ misses }) => misses],
  ['stale_total', 'answered from what is kept, as the upstream failed', ({ stale }) => stale],
  ['fetched_bytes_total', 'received of the upstream', ({ fetchedBytes }) => fetchedBytes],
  ['served_bytes_total', 'of its content sent to clients', ({ servedBytes }) => servedBytes],
  ['evicted_bytes_total', 'removed to make room', ({ evictedBytes }) => evictedBytes],
]

const GAUGES: readonly (readonly [string, string, Figure])[] = [
  ['up', '0 while it is not asked because it failed', ({ isBroken }) => (isBroken ? 0 : 1)],
  ['budget_left', 'requests that its rate limit leaves', ({ budgetLeft }) => budgetLeft],
]

/** Numbers of each upstream that are asked for when somebody looks. */
export function registerUpstreamSeries(
  series: Series,
  upstreams: () => readonly UpstreamFigures[],
): void {
  const optionsOf = (name: string, help: string) => ({
    name: `slipway_upstream_${name}`,
    help,
    labelNames: ['upstream'],
    registers: [series],
  })
  for (const [name, help, figure] of COUNTERS) {
    const counter: Counter = new Counter({
      ...optionsOf(name, help),
      collect: () => {
        counter.reset()
        for (const each of upstreams()) counter.inc({ upstream: each.name }, figure(each) ?? 0)
      },
    })
  }
  for (const [name, help, figure] of GAUGES) {
    const gauge: Gauge = new Gauge({
      ...optionsOf(name, help),
      collect: () => {
        gauge.reset()
        for (const each of upstreams()) {
          const value = figure(each)
          if (value !== undefined) gauge.set({ upstream: each.name }, value)
        }
      },
    })
  }
}
