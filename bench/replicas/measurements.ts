import { rm } from 'node:fs/promises'
import path from 'node:path'
import { type PushedImage, pushImages } from '../cases/pushed-images.ts'
import { type ContentFile, writeUniqueFile } from '../client/content.ts'
import { pullLayer, pushLayer } from '../client/curl.ts'
import { prepare } from '../client/load.ts'
import { measureGets } from '../client/wrk.ts'
import { run } from '../command.ts'
import { type Cost, mapParts, measureCost, type Parts } from './cpu.ts'
import type { Scale } from './options.ts'
import { mostReplicas, type Stage } from './stage.ts'

const repository = 'bench/layers'
const connections = 64

/** One figure of one round. */
export interface Measurement {
  readonly what: string
  readonly unit: string
  readonly figure: number
  readonly cpuUnit: string
  readonly cpu: Parts<number>
  readonly busy: number
}

export interface Setting {
  readonly stage: Stage
  readonly scale: Scale
  readonly replicas: number
  /** Unlike that of any other round: content must be new to the registry. */
  readonly round: string
  readonly images: readonly PushedImage[]
  /** For the client's files. */
  readonly directory: string
}

/** Moves a little through each nginx, and pushes the small images that are pulled later. */
export async function warmUp(stage: Stage, directory: string): Promise<PushedImage[]> {
  const file = path.join(directory, 'warm-up')
  for (let replicas = 1; replicas <= mostReplicas; replicas++) {
    const layer = await writeUniqueFile(file, 16 * 2 ** 20)
    await pushLayer({ port: stage.portFor(replicas) }, repository, layer)
    await pullLayer({ port: stage.portFor(replicas) }, repository, layer, replicas)
    await rm(file)
  }
  return pushImages({ port: stage.portFor(mostReplicas) })
}

/** All figures of one round with so many replicas. */
export async function measureRound(setting: Setting): Promise<Measurement[]> {
  const layers = await writeLayers(setting)
  try {
    return [
      await pushLayers(setting, layers),
      await pullLayers(setting, layers),
      await pushSmallImages(setting),
      await pullSmallImages(setting),
      await getManifests(setting),
    ]
  } finally {
    for (const { file } of layers) await rm(file)
  }
}

async function pushLayers(setting: Setting, layers: ContentFile[]): Promise<Measurement> {
  const cost = await measure(setting, (port) =>
    Promise.all(layers.map((layer) => pushLayer({ port }, repository, layer))),
  )
  return ofBytes(`push of ${sizes(setting)}`, setting, {
    ...cost,
    result: Math.max(...cost.result),
  })
}

async function pullLayers(setting: Setting, layers: ContentFile[]): Promise<Measurement> {
  const cost = await measure(setting, (port) =>
    Promise.all(layers.map((layer) => pullLayer({ port }, repository, layer, 1))),
  )
  return ofBytes(`pull of ${sizes(setting)}`, setting, {
    ...cost,
    result: Math.max(...cost.result),
  })
}

async function pushSmallImages(setting: Setting): Promise<Measurement> {
  const { stage, scale, replicas, round } = setting
  const load = await prepare({
    kind: 'images',
    port: stage.portFor(replicas),
    prefix: `bench/small-${round}-${replicas}`,
    repositories: 10,
    count: scale.images,
    layers: 1,
    concurrency: 8,
  })
  const cost = await measure(setting, load.run)
  const { seconds } = cost.result
  const what = 'push of images of one small layer, 8 at once'
  return ofItems(what, 'image', cost, { count: scale.images, seconds })
}

/** As a client asks that has none of the image: by tag, by digest, every layer. */
async function pullSmallImages(setting: Setting): Promise<Measurement> {
  const { images, directory, scale } = setting
  const requests = images.map((image) => [
    image.manifestByTag,
    image.manifestByDigest,
    ...image.layers,
  ])
  const each = requests[0]?.length ?? 1
  const cost = await measure(setting, (port) =>
    measureGets(
      { port, paths: requests.flat(), connections, seconds: scale.rateSeconds },
      directory,
    ),
  )
  const count = (cost.result.requestsPerSecond * scale.rateSeconds) / each
  const what = `pull of images of ${each - 2} small layers, ${connections} connections`
  return ofItems(what, 'image', cost, { count, seconds: scale.rateSeconds })
}

async function getManifests(setting: Setting): Promise<Measurement> {
  const { images, directory, scale } = setting
  const paths = images.map(({ manifestByTag }) => manifestByTag)
  const cost = await measure(setting, (port) =>
    measureGets({ port, paths, connections, seconds: scale.rateSeconds }, directory),
  )
  const count = cost.result.requestsPerSecond * scale.rateSeconds
  const what = `manifest GET by tag, ${connections} connections`
  return ofItems(what, 'request', cost, { count, seconds: scale.rateSeconds })
}

async function writeLayers({ scale, directory }: Setting): Promise<ContentFile[]> {
  const layers: ContentFile[] = []
  for (let index = 0; index < scale.layers; index++) {
    layers.push(await writeUniqueFile(path.join(directory, `layer-${index}`), scale.layerBytes))
  }
  return layers
}

/** After what others have written has gone to the disk: it must not be written meanwhile. */
async function measure<T>(
  { stage, replicas }: Setting,
  work: (port: number) => Promise<T>,
): Promise<Cost<T>> {
  await run('sync')
  return measureCost(stage.parts, () => work(stage.portFor(replicas)))
}

function sizes({ scale }: Setting): string {
  return `${scale.layers} × ${scale.layerBytes / 2 ** 20} MiB at once`
}

/** Of all layers, in as many seconds as the slowest of them took. */
function ofBytes(what: string, { scale }: Setting, cost: Cost<number>): Measurement {
  const bytes = scale.layers * scale.layerBytes
  return {
    what,
    unit: 'MB/s',
    figure: bytes / 1e6 / cost.result,
    cpuUnit: 's/GiB',
    cpu: mapParts(cost.cpuSeconds, (seconds) => seconds / (bytes / 2 ** 30)),
    busy: cost.busy,
  }
}

function ofItems(
  what: string,
  item: string,
  cost: Cost<unknown>,
  { count, seconds }: { count: number; seconds: number },
): Measurement {
  return {
    what,
    unit: `${item}s/s`,
    figure: count / seconds,
    cpuUnit: `ms/${item}`,
    cpu: mapParts(cost.cpuSeconds, (cpuSeconds) => (cpuSeconds * 1000) / count),
    busy: cost.busy,
  }
}
