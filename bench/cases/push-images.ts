import { alternate, type Bench, figures, measureServer, usages, withPair } from '../bench.ts'
import { prepare, runLoad } from '../client/load.ts'
import type { ImagesJob } from '../client/loads.ts'
import { serverOf } from '../client/server.ts'
import type { Comparison } from '../comparison.ts'
import type { Peer } from '../peers/peer.ts'
import type { Case } from './case.ts'

export const pushImagesCase: Case = { letter: 'c', title: 'many tiny images', run }

const warmUpImages = 50

async function run(bench: Bench): Promise<Comparison[]> {
  const { images, rounds: count } = bench.scale
  const rounds = await withPair(bench, async (pair) => {
    await alternate(pair, 1, (peer) => runLoad(job(peer, 'warm-up', warmUpImages)))
    return alternate(pair, count, async (peer, round) => {
      const load = await prepare(job(peer, `round-${round}`, images))
      return measureServer(peer, load.run)
    })
  })
  return [
    {
      letter: 'c',
      what: `${images} tiny images in 50 repositories, 8 at once`,
      unit: 'images/s',
      figures: figures(rounds, ({ seconds }) => images / seconds),
      target: { kind: 'ratio at least', bound: 1.5 },
      usage: usages(rounds),
    },
  ]
}

function job(peer: Peer, prefix: string, count: number): ImagesJob {
  return {
    kind: 'images',
    ...serverOf(peer),
    prefix: `bench/${prefix}`,
    repositories: 50,
    count,
    layers: 1,
    concurrency: 8,
  }
}
