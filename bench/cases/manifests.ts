import { type Bench, withPair } from '../bench.ts'
import type { Comparison } from '../comparison.ts'
import type { Case } from './case.ts'
import { type PushedImage, pushImages } from './pushed-images.ts'
import { compareRates } from './rates.ts'

export const manifestsCase: Case = { letter: 'e', title: 'manifests by tag and digest', run }

const connections = 64

function run(bench: Bench): Promise<Comparison[]> {
  return withPair(bench, async (pair) => {
    const images = { ours: await pushImages(pair.ours), peer: await pushImages(pair.peer) }
    const compare = (method: 'GET' | 'HEAD', by: 'tag' | 'digest') => {
      const pathOf = (image: PushedImage) =>
        by === 'tag' ? image.manifestByTag : image.manifestByDigest
      return compareRates(bench, pair, {
        letter: 'e',
        what: `manifest ${method} by ${by}`,
        method,
        paths: { ours: images.ours.map(pathOf), peer: images.peer.map(pathOf) },
        connections,
        leastRatio: by === 'tag' ? 2 : 3,
        largestP99Ratio: 1,
      })
    }
    return [
      ...(await compare('GET', 'tag')),
      ...(await compare('HEAD', 'tag')),
      ...(await compare('GET', 'digest')),
      ...(await compare('HEAD', 'digest')),
    ]
  })
}
