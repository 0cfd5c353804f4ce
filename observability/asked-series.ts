import { Counter, Gauge, type Registry as Series } from 'prom-client'

/** The name of a series without the program's, and what it tells. */
export interface Line {
  readonly name: string
  readonly help: string
}

/** A total that is counted elsewhere, and asked for when somebody looks. */
export function registerTotal(series: Series, { name, help }: Line, total: () => number): void {
  const counter: Counter = new Counter({
    name: `slipway_${name}`,
    help,
    registers: [series],
    collect: () => {
      counter.reset()
      counter.inc(total())
    },
  })
}

/** A number of the database. Without it there is no value at all: zero would be wrong. */
export function registerAsked(
  series: Series,
  { name, help }: Line,
  ask: () => Promise<number>,
): void {
  const gauge: Gauge = new Gauge({
    name: `slipway_${name}`,
    help,
    registers: [series],
    collect: async () => {
      gauge.reset()
      const value = await ask().catch(() => undefined)
      if (value === undefined) gauge.remove()
      else gauge.set(value)
    },
  })
}
