import { type Bench, withPair } from '../bench.ts'
import type { Comparison } from '../comparison.ts'
import type { Peer } from '../peers/peer.ts'
import { account, slipway, slipwayWithTokens } from '../peers/slipway.ts'
import type { Case } from './case.ts'
import { type PushedImage, pushImages, repositoriesOfImages } from './pushed-images.ts'
import { compareRates } from './rates.ts'

export const tokensCase: Case = { letter: 'i', title: 'requests with a token', run }

const connections = 64
const note = 'Beside Slipway with everything allowed, not docker-registry.'

/** What it costs to verify the token of each request and to look up what its holder may do. */
function run(bench: Bench): Promise<Comparison[]> {
  const kinds = { ours: slipwayWithTokens, peer: slipway }
  return withPair({ ...bench, kinds }, async (pair) => {
    // A client's token names the repository that it works with.
    const images = {
      ours: (await pushImages(pair.ours)).filter(isOfRepository),
      peer: (await pushImages(pair.peer)).filter(isOfRepository),
    }
    const authorization = { ours: `Bearer ${await tokenOf(pair.ours)}`, peer: undefined }
    const compare = async (
      what: string,
      method: 'GET' | 'HEAD',
      pathsOf: (image: PushedImage) => readonly string[],
    ) => {
      const paths = { ours: images.ours.flatMap(pathsOf), peer: images.peer.flatMap(pathsOf) }
      const rates = { letter: 'i', what, method, paths, connections, authorization }
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

async function tokenOf({ port }: Peer): Promise<string> {
  const scope = `repository:${repository}:pull`
  const url = `http://127.0.0.1:${port}/token?${new URLSearchParams({ scope }).toString()}`
  const basic = Buffer.from(`${account.name}:${account.password}`).toString('base64')
  const response = await fetch(url, { headers: { Authorization: `Basic ${basic}` } })
  if (!response.ok) throw new Error(`token: ${response.status} ${await response.text()}`)
  const { token } = (await response.json()) as { token: string }
  return token
}
