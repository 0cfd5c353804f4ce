import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import { OCI_MANIFEST } from '../../../oci/media-types.ts'
import { parseReference, parseTag, type RepositoryName } from '../../../oci/reference.ts'
import { readBlob, statBlob } from '../../../registry/blobs.ts'
import { getManifest } from '../../../registry/manifests.ts'
import type { Registry } from '../../../registry/registry.ts'
import { restoreTag, type TagRestore } from '../../../registry/undo/restore-tag.ts'
import { ANYBODY, imageOf, pushBlob, pushManifest } from '../push.ts'

/** Deleted things can be restored for an hour, and nothing else stays that nothing names. */
export const AN_HOUR = { graceSeconds: 0, undoSeconds: 3600, untagged: () => 0, blobSeconds: 0 }

export interface PushedImage {
  readonly manifest: Digest
  readonly layer: Digest
}

/** An image of one layer of its own. */
export async function pushImage(
  registry: Registry,
  repository: RepositoryName,
  tag?: string,
): Promise<PushedImage> {
  const layer = await pushBlob(registry, repository, Buffer.from(randomUUID()))
  const reference = tag === undefined ? {} : { reference: tag }
  return { layer, manifest: await pushManifest(registry, repository, imageOf([layer]), reference) }
}

export function referrerOf(subject: Digest): Buffer {
  const descriptor = { mediaType: OCI_MANIFEST, digest: subject, size: 1 }
  const image: object = JSON.parse(imageOf([], randomUUID()).toString())
  return Buffer.from(JSON.stringify({ ...image, subject: descriptor }))
}

/** Pulls all of it as a client does. @returns the digests of its manifests, the first that of the reference */
export async function pullWhole(
  registry: Registry,
  repository: RepositoryName,
  reference: string,
): Promise<Digest[]> {
  const { digest, bytes } = await getManifest(registry, repository, parseReference(reference))
  const { layers = [], manifests = [] } = JSON.parse(bytes.toString()) as {
    layers?: { digest: Digest }[]
    manifests?: { digest: Digest }[]
  }
  for (const layer of layers) {
    const blob = await statBlob(registry, repository, layer.digest)
    const content = await buffer(Readable.from(readBlob(registry, blob)))
    if (digestOf(content) !== layer.digest) throw new Error(`other bytes for ${layer.digest}`)
  }
  const children: Digest[] = []
  for (const child of manifests) {
    children.push(...(await pullWhole(registry, repository, child.digest)))
  }
  return [digest, ...children]
}

/** As anybody. */
export function restore(
  registry: Registry,
  repository: RepositoryName,
  tag: string,
  terms: Partial<TagRestore> = {},
) {
  return restoreTag(registry, repository, parseTag(tag), { ...ANYBODY, ...terms })
}

/** What the tag names; undefined: it is not there. */
export async function digestAt(
  registry: Registry,
  repository: RepositoryName,
  tag: string,
): Promise<Digest | undefined> {
  try {
    return (await getManifest(registry, repository, parseReference(tag))).digest
  } catch {
    return undefined
  }
}
