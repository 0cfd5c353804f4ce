import { alternate, type Bench, figures, measureServer, type Sides, usages } from '../bench.ts'
import { measureHeads } from '../client/load.ts'
import type { RateLoad } from '../client/rate.ts'
import { serverOf } from '../client/server.ts'
import { measureGets } from '../client/wrk.ts'
import type { Comparison } from '../comparison.ts'
import type { Peer } from '../peers/peer.ts'

export interface RateComparison {
  readonly letter: string
  readonly what: string
  readonly method: RateLoad['method']
  readonly paths: Sides<readonly string[]>
  readonly connections: number
  /** The least ratio of requests per second. */
  readonly leastRatio: number
  /** The largest ratio of the p99, where one is asked for. */
  readonly largestP99Ratio?: number
}

/** Compares requests per second, p50 and p99 of one kind of request, after a second of warm-up. */
export async function compareRates(
  { scale, directory }: Bench,
  pair: Sides<Peer>,
  { letter, what, method, largestP99Ratio, ...settings }: RateComparison,
): Promise<Comparison[]> {
  const load = (peer: Peer, seconds: number) => {
    const side = peer === pair.ours ? 'ours' : 'peer'
    const { connections, paths } = settings
    const rate = { ...serverOf(peer), connections, paths: paths[side], seconds }
    return method === 'GET' ? measureGets(rate, directory) : measureHeads(rate)
  }
  await alternate(pair, 1, (peer) => load(peer, 1))
  const rounds = await alternate(pair, scale.rounds, (peer) =>
    measureServer(peer, () => load(peer, scale.rateSeconds)),
  )
  return [
    {
      letter,
      what,
      unit: 'requests/s',
      figures: figures(rounds, (rate) => rate.requestsPerSecond),
      target: { kind: 'ratio at least', bound: settings.leastRatio },
      usage: usages(rounds),
    },
    { letter, what: `${what}, p50`, unit: 'ms', figures: figures(rounds, (rate) => rate.p50Ms) },
    {
      letter,
      what: `${what}, p99`,
      unit: 'ms',
      figures: figures(rounds, (rate) => rate.p99Ms),
      ...(largestP99Ratio !== undefined && {
        target: { kind: 'ratio at most', bound: largestP99Ratio },
      }),
    },
  ]
}
