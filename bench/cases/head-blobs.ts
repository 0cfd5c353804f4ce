import { type Bench, withPair } from '../bench.ts'
import type { Comparison } from '../comparison.ts'
import type { Case } from './case.ts'
import { type PushedImage, pushImages } from './pushed-images.ts'
import { compareRates } from './rates.ts'

export const headBlobsCase: Case = { letter: 'f', title: 'blob HEAD', run }

function run(bench: Bench): Promise<Comparison[]> {
  return withPair(bench, async (pair) => {
    return compareRates(bench, pair, {
      letter: 'f',
      what: 'blob HEAD',
      method: 'HEAD',
      paths: {
        ours: pathsOf(await pushImages(pair.ours)),
        peer: pathsOf(await pushImages(pair.peer)),
      },
      connections: 64,
      leastRatio: 3,
    })
  })
}

function pathsOf(images: readonly PushedImage[]): string[] {
  return images.flatMap((image) => image.layers)
}
