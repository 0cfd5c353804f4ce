import { alternate, type Bench, figures, measureServer, usages, withPair } from '../bench.ts'
import { prepare, runLoad } from '../client/load.ts'
import { serverOf } from '../client/server.ts'
import type { Comparison } from '../comparison.ts'
import type { Peer } from '../peers/peer.ts'
import type { Case } from './case.ts'

export const pushBlobsCase: Case = { letter: 'b', title: 'many layers pushed at once', run }

async function run(bench: Bench): Promise<Comparison[]> {
  const { parallelBlobs, blobBytes, rounds: count } = bench.scale
  const job = (peer: Peer, sizeBytes: number) =>
    ({
      kind: 'blobs',
      ...serverOf(peer),
      repository: 'bench/blobs',
      count: parallelBlobs,
      sizeBytes,
    }) as const
  const rounds = await withPair(bench, async (pair) => {
    await alternate(pair, 1, (peer) => runLoad(job(peer, 65_536)))
    return alternate(pair, count, async (peer) => {
      const load = await prepare(job(peer, blobBytes))
      return measureServer(peer, load.run)
    })
  })
  const megabytes = (parallelBlobs * blobBytes) / 1e6
  return [
    {
      letter: 'b',
      what: `${parallelBlobs} layers of ${blobBytes / 2 ** 20} MiB at once`,
      unit: 'MB/s',
      figures: figures(rounds, ({ seconds }) => megabytes / seconds),
      target: { kind: 'ratio at least', bound: 1 },
      usage: usages(rounds),
    },
  ]
}
