import { createHash } from 'node:crypto'
import {
  alternate,
  type Bench,
  figures,
  measureServer,
  type Side,
  type Sides,
  sides,
  usages,
  withPair,
} from '../bench.ts'
import type { ContentFile } from '../client/content.ts'
import { measurePulls } from '../client/load.ts'
import { acceptManifests } from '../client/push.ts'
import { serverOf } from '../client/server.ts'
import type { Comparison } from '../comparison.ts'
import type { Peer } from '../peers/peer.ts'
import { type Upstream, withUpstream } from '../upstream/upstream.ts'
import type { Case } from './case.ts'
import { type PushedImage, pushImages } from './pushed-images.ts'
import { compareRates } from './rates.ts'

/** Both are caches of one registry, and have what is pulled. */
export const warmPullsCase: Case = {
  letter: 'k',
  title: 'warm pulls through a cache',
  inPlainSetupOnly: true,
  run,
}

const letter = 'k'
const repository = 'bench/warm'
const connections = 64
const attempts = 5

/** Both caches before their upstream. */
interface Stage {
  readonly bench: Bench
  readonly upstream: Upstream
  readonly pair: Sides<Peer>
}

function run(bench: Bench): Promise<Comparison[]> {
  return withUpstream(bench, (upstream) =>
    withPair({ ...bench, upstreamUrl: upstream.url }, async (pair) => {
      const stage = { bench, upstream, pair }
      return [...(await compareLayer(stage)), ...(await compareManifests(stage))]
    }),
  )
}

async function compareLayer(stage: Stage): Promise<Comparison[]> {
  const { bench, upstream, pair } = stage
  const { layerBytes: sizeBytes, longRounds } = bench.scale
  const layer = await upstream.pushUnique(bench, repository, sizeBytes)
  const path = (side: Side) => cachedPath(bench, side, `/v2/${repository}/blobs/${layer.digest}`)
  for (const side of sides) await fill(stage, pair[side], path(side), layer)

  const rounds = await alternate(pair, longRounds, (peer) => {
    const pull = { ...serverOf(peer), path: path(sideOf(stage, peer)), sizeBytes, times: 1 }
    return measureServer(peer, () => measurePulls(pull))
  })
  const usage = usages(rounds)
  const gibibytes = sizeBytes / 2 ** 30
  return [
    {
      letter,
      what: `warm pull of ${sizeBytes / 2 ** 20} MiB`,
      unit: 'MB/s',
      figures: figures(rounds, ([pull]) => sizeBytes / 1e6 / (pull?.seconds ?? Number.NaN)),
      target: { kind: 'ratio at least', bound: 1 },
      usage,
    },
    {
      letter,
      what: 'server CPU for it',
      unit: 's/GiB',
      figures: {
        ours: usage.ours.map(({ cpuSeconds }) => cpuSeconds / gibibytes),
        peer: usage.peer.map(({ cpuSeconds }) => cpuSeconds / gibibytes),
      },
    },
  ]
}

/** Pulls until the upstream is not asked for the content any more, and looks at what comes then. */
async function fill({ upstream }: Stage, peer: Peer, path: string, layer: ContentFile) {
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const { result, traffic } = await upstream.count(() => digestOf(peer, path))
    if (result !== layer.digest) throw new Error(`${path}: other content, ${result}`)
    if (traffic.blobRequests === 0) return
  }
  throw new Error(`${path}: pulled ${attempts} times, and still not kept`)
}

async function digestOf({ port }: Peer, path: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`)
  if (!response.ok || response.body === null) throw new Error(`${path}: ${response.status}`)
  const hash = createHash('sha256')
  for await (const chunk of response.body) hash.update(chunk as Uint8Array)
  return `sha256:${hash.digest('hex')}`
}

async function compareManifests(stage: Stage): Promise<Comparison[]> {
  const { bench, upstream, pair } = stage
  const images = await pushImages(upstream.registry)
  const pathsOn = (side: Side, of: (image: PushedImage) => string) =>
    images.map((image) => cachedPath(bench, side, of(image)))
  for (const side of sides) {
    for (const path of pathsOn(side, byTag)) await getManifest(pair[side], path)
  }
  const asked = await alternate(pair, 1, async (peer) => {
    const [path = ''] = pathsOn(sideOf(stage, peer), byTag)
    const { traffic } = await upstream.count(() => getManifest(peer, path))
    return traffic.requests
  })
  const compare = (what: string, of: (image: PushedImage) => string) => {
    const paths = { ours: pathsOn('ours', of), peer: pathsOn('peer', of) }
    return compareRates(bench, pair, {
      letter,
      what,
      method: 'GET',
      paths,
      connections,
      leastRatio: 1,
    })
  }
  return [
    ...(await compare('manifest GET by tag, warm', byTag)),
    { letter, what: 'requests to the upstream for one of them', unit: 'requests', figures: asked },
    ...(await compare('manifest GET by digest, warm', ({ manifestByDigest }) => manifestByDigest)),
  ]
}

function byTag({ manifestByTag }: PushedImage): string {
  return manifestByTag
}

async function getManifest({ port }: Peer, path: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    headers: { accept: acceptManifests },
  })
  const body = await response.text()
  if (!response.ok) throw new Error(`${path}: ${response.status} ${body}`)
}

function sideOf({ pair }: Stage, peer: Peer): Side {
  return peer === pair.ours ? 'ours' : 'peer'
}

/** Where a side has what the upstream has at `path`. */
function cachedPath({ kinds }: Bench, side: Side, path: string): string {
  return path.replace(/^\/v2\//, `/v2/${kinds[side].upstreamPrefix}`)
}
