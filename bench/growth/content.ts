/*
 * What is in a generated registry, and how it is called. Everything follows from the numbers of
 * repositories, so that requests can name what they ask for without looking for it.
 */
import { OCI_MANIFEST } from '../../oci/media-types.ts'
import type { Sides } from '../bench.ts'
import { type Content, contentOf } from '../client/content.ts'

/** Images of each repository. The peer gets one: three would be five million files and folders. */
export const imagesEach: Sides<number> = { ours: 3, peer: 1 }

const teamSize = 100
const layerBytes = 2048

/** All layers there are. Each image has two of them. */
export const layers: readonly Content[] = Array.from({ length: 8 }, (_, n) =>
  contentOf(Buffer.alloc(layerBytes, `layer ${n} `)),
)

export interface Image {
  readonly tag: string
  /** Like no other. */
  readonly config: Content
  readonly layers: readonly [Content, Content]
  readonly manifest: Content
}

/** The order of names is that of numbers, which go up to a million. */
export function nameOf(repository: number): string {
  const team = Math.floor(repository / teamSize)
  return `team-${String(team).padStart(4, '0')}/image-${String(repository).padStart(6, '0')}`
}

export function tagOf(image: number): string {
  return `v${image + 1}`
}

/** `image` counts from 0, within the repository. */
export function imageOf(repository: number, image: number): Image {
  const tag = tagOf(image)
  const comment = `${nameOf(repository)}:${tag} `.padEnd(960, '.')
  const config = contentOf(
    Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', comment })),
  )
  const own = [layerAt(repository + image), layerAt(repository + image + 1)] as const
  return { tag, config, layers: own, manifest: manifestOf(config, own) }
}

function layerAt(place: number): Content {
  const layer = layers[place % layers.length]
  if (layer === undefined) throw new Error(`no layer ${place}`)
  return layer
}

function manifestOf(config: Content, own: readonly Content[]): Content {
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: descriptorOf('application/vnd.oci.image.config.v1+json', config),
    layers: own.map((layer) => descriptorOf('application/vnd.oci.image.layer.v1.tar+gzip', layer)),
  }
  return contentOf(Buffer.from(JSON.stringify(manifest)))
}

function descriptorOf(mediaType: string, { digest, bytes }: Content) {
  return { mediaType, digest, size: bytes.length }
}
