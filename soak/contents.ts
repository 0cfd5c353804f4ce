/*
 * All that is ever pushed in a run: little, so that the same digests come and go all the time, in
 * several repositories, and most layers are in several images.
 */
import { type Content, contentOf, digestOf } from '../test/durability/support/pushes.ts'
import type { Random } from './random.ts'

/** Seldom pushed to, so that it is empty now and then. */
export const RARE = 'soak/rare'
export const BUSY = ['soak/one', 'soak/two', 'soak/sub/three'] as const
export const REPOSITORIES = [...BUSY, RARE] as const
export const TAGS = ['v1', 'v2', 'v3', 'v4'] as const

const IMAGE = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'
const LAYER = 'application/vnd.oci.image.layer.v1.tar'
const CONFIG = 'application/vnd.oci.image.config.v1+json'
const SIGNATURE = 'application/vnd.dev.cosign.simplesigning.v1+json'

/** A manifest with all that has to be in the repository before it. */
export interface Document {
  readonly name: string
  readonly mediaType: string
  readonly digest: string
  readonly bytes: Buffer
  readonly blobs: readonly Content[]
  readonly children: readonly Document[]
  readonly subject: Document | undefined
}

export interface Contents {
  readonly images: readonly Document[]
  readonly indexes: readonly Document[]
  /** With a subject. */
  readonly referrers: readonly Document[]
  /** Pushed to the tag that cosign makes of the digest of the image. */
  readonly signatures: readonly { readonly image: Document; readonly document: Document }[]
  readonly byDigest: ReadonlyMap<string, Document>
  /** Blobs, by digest. */
  readonly blobs: ReadonlyMap<string, Content>
}

/** @param largeBytes of the one layer that is larger than a part of a multipart upload */
export function makeContents(seed: number, random: Random, largeBytes: number): Contents {
  const layers = Array.from({ length: 36 }, (_, number) =>
    contentOf(`${seed} layer ${number}`, Math.ceil(40 * 2 ** (number * 0.37))),
  )
  const large = contentOf(`${seed} large`, largeBytes)
  const configs = Array.from({ length: 16 }, (_, number) =>
    contentOf(`${seed} config ${number}`, 200 + number),
  )
  const images = Array.from({ length: 32 }, (_, number) => {
    const own = random.some(layers, random.from(1, 5))
    const all = number % 12 === 0 ? [...own, large] : own
    return imageOf(`image-${number}`, random.one(configs), all)
  })
  const indexes = Array.from({ length: 6 }, (_, number) =>
    indexOf(`index-${number}`, random.some(images, random.from(2, 3))),
  )
  const subjects = [...random.some(images, 6), ...random.some(indexes, 2)]
  const referrers = subjects.flatMap((subject, number) => {
    const first = referrerOf(`referrer-${number}`, subject, random.one(layers))
    return number % 2 === 0
      ? [first]
      : [first, referrerOf(`referrer-of-${number}`, first, random.one(layers))]
  })
  const signatures = random.some(images, 5).map((image, number) => ({
    image,
    document: signatureOf(`signature-${number}`, random.one(configs), random.one(layers)),
  }))
  const documents = [
    ...images,
    ...indexes,
    ...referrers,
    ...signatures.map(({ document }) => document),
  ]
  return {
    images,
    indexes,
    referrers,
    signatures,
    byDigest: new Map(documents.map((document) => [document.digest, document])),
    blobs: new Map(documents.flatMap(({ blobs }) => blobs).map((blob) => [blob.digest, blob])),
  }
}

/** The tag under which cosign keeps the signature of a digest. */
export function signatureTag(digest: string): string {
  return `${digest.replace(':', '-')}.sig`
}

/** Whose signature the tag is; undefined for any other tag. */
export function signedBy(tag: string): string | undefined {
  const match = /^(sha256)-([0-9a-f]{64})\.sig$/.exec(tag)
  return match === null ? undefined : `${match[1]}:${match[2]}`
}

function imageOf(name: string, config: Content, layers: readonly Content[]): Document {
  return documentOf(name, IMAGE, {
    fields: {
      config: describe(CONFIG, config),
      layers: layers.map((layer) => describe(LAYER, layer)),
    },
    blobs: [config, ...layers],
  })
}

function indexOf(name: string, children: readonly Document[]): Document {
  return documentOf(name, INDEX, {
    fields: { manifests: children.map((child) => describe(child.mediaType, child)) },
    children,
  })
}

function referrerOf(name: string, subject: Document, blob: Content): Document {
  const config = contentOf('empty config', 2)
  return documentOf(name, IMAGE, {
    fields: {
      artifactType: 'application/vnd.example.sbom',
      config: describe('application/vnd.oci.empty.v1+json', config),
      layers: [describe(LAYER, blob)],
      subject: describe(subject.mediaType, subject),
    },
    blobs: [config, blob],
    subject,
  })
}

function signatureOf(name: string, config: Content, payload: Content): Document {
  return documentOf(name, IMAGE, {
    fields: { config: describe(CONFIG, config), layers: [describe(SIGNATURE, payload)] },
    blobs: [config, payload],
  })
}

interface Parts {
  readonly fields: object
  readonly blobs?: readonly Content[]
  readonly children?: readonly Document[]
  readonly subject?: Document
}

function documentOf(
  name: string,
  mediaType: string,
  { fields, blobs = [], children = [], subject }: Parts,
): Document {
  const annotations = { name }
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...fields, annotations }))
  const unique = [...new Map(blobs.map((blob) => [blob.digest, blob])).values()]
  return { name, mediaType, digest: digestOf(bytes), bytes, blobs: unique, children, subject }
}

function describe(mediaType: string, { digest, bytes }: Pick<Content, 'digest' | 'bytes'>) {
  return { mediaType, digest, size: bytes.length }
}
