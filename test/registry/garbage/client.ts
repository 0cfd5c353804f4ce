/* What clients do: they ask before they upload, and pull all of what they pull. */
import { buffer } from 'node:stream/consumers'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import { RegistryError } from '../../../oci/errors.ts'
import { OCI_MANIFEST } from '../../../oci/media-types.ts'
import { parseReference, type RepositoryName } from '../../../oci/reference.ts'
import { promiseBlob, readBlob, statBlob } from '../../../registry/blobs.ts'
import { getManifest } from '../../../registry/manifests.ts'
import { MetadataCache } from '../../../registry/metadata-cache.ts'
import { Promises } from '../../../registry/promises.ts'
import type { Registry } from '../../../registry/registry.ts'
import { imageOf, pushBlob, pushManifest } from '../push.ts'

/** Another process on the same database and storage, which remembers nothing yet. */
export function otherProcess(registry: Registry): Registry {
  const promises = new Promises(registry.keeping)
  return { ...registry, cache: new MetadataCache(true), promises }
}

/** Answers a HEAD. */
export async function isThere(
  registry: Registry,
  repository: RepositoryName,
  digest: Digest,
): Promise<boolean> {
  return promiseBlob(registry, repository, digest).then(
    () => true,
    (error: unknown) => {
      if (error instanceof RegistryError && error.code === 'BLOB_UNKNOWN') return false
      throw error
    },
  )
}

/** Uploads what is not there yet. */
export async function pushLayers(
  registry: Registry,
  repository: RepositoryName,
  layers: readonly Buffer[],
): Promise<Digest[]> {
  const digests: Digest[] = []
  for (const content of layers) {
    const digest = digestOf(content)
    if (!(await isThere(registry, repository, digest))) {
      await pushBlob(registry, repository, content)
    }
    digests.push(digest)
  }
  return digests
}

export interface Image {
  readonly layers: readonly Buffer[]
  readonly note?: string
}

export function bytesOf({ layers, note = '' }: Image): Buffer {
  return imageOf(
    layers.map((content) => digestOf(content)),
    note,
  )
}

/** @param reference a tag; the digest when left out */
export async function pushImage(
  registry: Registry,
  repository: RepositoryName,
  image: Image,
  reference?: string,
): Promise<Digest> {
  await pushLayers(registry, repository, image.layers)
  const options = reference === undefined ? {} : { reference }
  return pushManifest(registry, repository, bytesOf(image), options)
}

export function referrerOf(subject: Digest, note: string): Buffer {
  const descriptor = { mediaType: OCI_MANIFEST, digest: subject, size: 1 }
  const image: object = JSON.parse(imageOf([], note).toString())
  return Buffer.from(JSON.stringify({ ...image, subject: descriptor }))
}

interface Listed {
  readonly layers?: readonly { readonly digest: Digest }[]
  readonly manifests?: readonly { readonly digest: Digest }[]
}

/**
 * Pulls everything, in a process that remembers nothing. @throws where something is missing, or is not
 * what its digest says
 */
export async function pullWhole(
  here: Registry,
  repository: RepositoryName,
  reference: string,
): Promise<Digest> {
  const registry = otherProcess(here)
  const { digest, bytes } = await getManifest(registry, repository, parseReference(reference))
  if (digestOf(bytes) !== digest) throw new Error(`${digest} is something else`)
  const { layers = [], manifests = [] } = JSON.parse(bytes.toString()) as Listed
  for (const child of manifests) await pullWhole(registry, repository, child.digest)
  for (const layer of layers) {
    const blob = await statBlob(registry, repository, layer.digest)
    const read = await buffer(readBlob(registry, blob) as AsyncIterable<Buffer>)
    if (digestOf(read) !== layer.digest) throw new Error(`${layer.digest} is something else`)
  }
  return digest
}

/** Lets a process remember the layers, without promising them. */
export async function pullLayers(
  registry: Registry,
  repository: RepositoryName,
  { layers }: Image,
): Promise<void> {
  for (const content of layers) await statBlob(registry, repository, digestOf(content))
}
