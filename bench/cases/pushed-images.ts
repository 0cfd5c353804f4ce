import { runLoad } from '../client/load.ts'
import { acceptManifests } from '../client/push.ts'
import { authorizationForPaths, type Server, serverOf } from '../client/server.ts'

const images = 100
const layersEach = 8
const repositories = 10

/** Where a registry serves one image, as paths of its API. */
export interface PushedImage {
  readonly manifestByTag: string
  readonly manifestByDigest: string
  readonly layers: readonly string[]
}

const prefix = 'bench/images'

/** Where {@link pushImages} pushes to. */
export const repositoriesOfImages: readonly string[] = Array.from(
  { length: repositories },
  (_, index) => `${prefix}-${index}`,
)

/** Pushes a hundred images of eight small layers each. */
export async function pushImages(peer: Server): Promise<PushedImage[]> {
  await runLoad({
    kind: 'images',
    ...serverOf(peer),
    prefix,
    repositories,
    count: images,
    layers: layersEach,
    concurrency: 8,
  })
  const pushed: PushedImage[] = []
  for (let index = 0; index < images; index++) {
    const repository = `/v2/${prefix}-${index % repositories}`
    pushed.push(await findImage(peer, repository, `image-${index}`))
  }
  return pushed
}

async function findImage(peer: Server, repository: string, tag: string): Promise<PushedImage> {
  const manifestByTag = `${repository}/manifests/${tag}`
  const authorization = await authorizationForPaths(peer, [manifestByTag])
  const response = await fetch(`http://127.0.0.1:${peer.port}${manifestByTag}`, {
    headers: { accept: acceptManifests, ...(authorization && { authorization }) },
  })
  const digest = response.headers.get('docker-content-digest')
  if (!response.ok || digest === null) throw new Error(`${manifestByTag}: ${response.status}`)
  const manifest = (await response.json()) as { layers: { digest: string }[] }
  return {
    manifestByTag,
    manifestByDigest: `${repository}/manifests/${digest}`,
    layers: manifest.layers.map((layer) => `${repository}/blobs/${layer.digest}`),
  }
}
