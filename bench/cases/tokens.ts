import { type Bench, withPair } from '../bench.ts'
import type { Comparison } from '../comparison.ts'
import { slipwayWith } from '../peers/slipway.ts'
import type { Case } from './case.ts'
import { type PushedImage, pushImages, repositoriesOfImages } from './pushed-images.ts'
import { compareRates } from './rates.ts'

export const tokensCase: Case = {
  letter: 'i',
  title: 'requests with a token',
  inPlainSetupOnly: true,
  run,
}

const connections = 64
const note = 'Beside Slipway with everything allowed, not docker-registry.'

const kinds = {
  ours: slipwayWith('Slipway with tokens', { auth: 'token' }),
  peer: slipwayWith('Slipway', { auth: 'none' }),
}

/** What it costs to verify the token of each request and to look up what its holder may do. */
function run(bench: Bench): Promise<Comparison[]> {
  return withPair({ ...bench, kinds }, async (pair) => {
    // A client's token names the repository that it works with.
    const images = {
      ours: (await pushImages(pair.ours)).filter(isOfRepository),
      peer: (await pushImages(pair.peer)).filter(isOfRepository),
    }
    const compare = async (
      what: string,
      method: 'GET' | 'HEAD',
      pathsOf: (image: PushedImage) => readonly string[],
    ) => {
      const paths = { ours: images.ours.flatMap(pathsOf), peer: images.peer.flatMap(pathsOf) }
      const rates = { letter: 'i', what, method, paths, connections }
      const found = await compareRates(bench, pair, { ...rates, leastRatio: 0.9 })
      return found.map((comparison, index) => (index === 0 ? { ...comparison, note } : comparison))
    }
    return [
      ...(await compare('manifest GET by tag', 'GET', (image) => [image.manifestByTag])),
      ...(await compare('manifest GET by digest', 'GET', (image) => [image.manifestByDigest])),
      ...(await compare('blob HEAD', 'HEAD', (image) => image.layers)),
    ]
  })
}

const [repository = ''] = repositoriesOfImages

function isOfRepository({ manifestByTag }: PushedImage): boolean {
  return manifestByTag.startsWith(`/v2/${repository}/`)
}
