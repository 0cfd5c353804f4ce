import { rm } from 'node:fs/promises'
import path from 'node:path'
import { alternate, type Bench, figures, measureServer, usages, withPair } from '../bench.ts'
import { type ContentFile, writeUniqueFile } from '../client/content.ts'
import { pushLayer } from '../client/curl.ts'
import type { Comparison } from '../comparison.ts'
import type { Case } from './case.ts'

export const pushLayerCase: Case = { letter: 'a', title: 'push of one large layer', run }

const warmUpBytes = 16 * 2 ** 20

async function run(bench: Bench): Promise<Comparison[]> {
  const { layerBytes, longRounds } = bench.scale
  const rounds = await withPair(bench, async (pair) => {
    await alternate(pair, 1, (peer) =>
      withLayer(bench, warmUpBytes, (layer) => pushLayer(peer, 'bench/warm-up', layer)),
    )
    return alternate(pair, longRounds, (peer) =>
      withLayer(bench, layerBytes, (layer) =>
        measureServer(peer, () => pushLayer(peer, 'bench/layer', layer)),
      ),
    )
  })
  const gibibytes = layerBytes / 2 ** 30
  const usage = usages(rounds)
  return [
    {
      letter: 'a',
      what: `push of a layer of ${layerBytes / 2 ** 20} MiB`,
      unit: 'MB/s',
      figures: figures(rounds, (seconds) => layerBytes / 1e6 / seconds),
      target: { kind: 'ratio at least', bound: 1.2 },
      usage,
    },
    {
      letter: 'a',
      what: 'server CPU for it',
      unit: 's/GiB',
      figures: {
        ours: usage.ours.map(({ cpuSeconds }) => cpuSeconds / gibibytes),
        peer: usage.peer.map(({ cpuSeconds }) => cpuSeconds / gibibytes),
      },
      target: { kind: 'ratio at most', bound: 0.7 },
    },
  ]
}

/** The content is new each time: no registry may know it already. */
async function withLayer<T>(
  bench: Bench,
  sizeBytes: number,
  work: (layer: ContentFile) => Promise<T>,
): Promise<T> {
  const file = path.join(bench.directory, 'layer')
  try {
    return await work(await writeUniqueFile(file, sizeBytes))
  } finally {
    await rm(file, { force: true })
  }
}
