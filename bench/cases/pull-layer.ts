import path from 'node:path'
import {
  alternate,
  type Bench,
  figures,
  measureServer,
  type Sides,
  sides,
  usages,
  withPair,
} from '../bench.ts'
import { type ContentFile, writeUniqueFile } from '../client/content.ts'
import { pullLayer, pushLayer } from '../client/curl.ts'
import type { Comparison, Target } from '../comparison.ts'
import type { Peer, Setup } from '../peers/peer.ts'
import type { Case } from './case.ts'

export const pullLayerCase: Case = { letter: 'd', title: 'pull of one large layer', run }

const repository = 'bench/layer'

/** What is different between the measurements of this case. */
interface Pull {
  readonly times: number
  readonly what: string
  readonly target: Target
}

async function run(bench: Bench): Promise<Comparison[]> {
  const { layerBytes, parallelPulls } = bench.scale
  const layer = await writeUniqueFile(path.join(bench.directory, 'pulled-layer'), layerBytes)
  const size = `${layerBytes / 2 ** 20} MiB`
  const alone: Pull = {
    times: 1,
    what: `pull of ${size}`,
    target: { kind: 'ratio at least', bound: 0.9 },
  }
  const together: Pull = {
    times: parallelPulls,
    what: `${parallelPulls} pulls of ${size} at once`,
    target: { kind: 'ratio at least', bound: 0.8 },
  }
  const withWorkers: Pull = {
    times: parallelPulls,
    what: `${parallelPulls} pulls of ${size} at once, 2 workers`,
    target: { kind: 'ratio at least', bound: 1.2 },
  }
  return [
    ...(await withLayerPushed(bench, layer, bench.setup, async (pair) => [
      await comparePulls(bench, pair, layer, alone),
      await comparePulls(bench, pair, layer, together),
    ])),
    ...(await withLayerPushed(bench, layer, { ...bench.setup, workers: 2 }, async (pair) => [
      await comparePulls(bench, pair, layer, withWorkers),
    ])),
  ]
}

function withLayerPushed(
  bench: Bench,
  layer: ContentFile,
  setup: Setup,
  work: (pair: Sides<Peer>) => Promise<Comparison[]>,
): Promise<Comparison[]> {
  return withPair(
    bench,
    async (pair) => {
      for (const side of sides) await pushLayer(pair[side], repository, layer)
      await alternate(pair, 1, (peer) => pullLayer(peer, repository, layer, 1))
      return work(pair)
    },
    setup,
  )
}

async function comparePulls(
  bench: Bench,
  pair: Sides<Peer>,
  layer: ContentFile,
  { times, what, target }: Pull,
): Promise<Comparison> {
  const rounds = await alternate(pair, bench.scale.longRounds, (peer) =>
    measureServer(peer, () => pullLayer(peer, repository, layer, times)),
  )
  const megabytes = (layer.sizeBytes * times) / 1e6
  return {
    letter: 'd',
    what,
    unit: 'MB/s',
    figures: figures(rounds, (seconds) => megabytes / seconds),
    target,
    usage: usages(rounds),
  }
}
