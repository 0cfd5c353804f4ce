import { Readable } from 'node:stream'
import { type Digest, digestOf, splitDigest } from '../../oci/digest.ts'
import { OCI_INDEX, OCI_MANIFEST } from '../../oci/media-types.ts'
import { parseReference, type RepositoryName, type Tag } from '../../oci/reference.ts'
import { finishUpload } from '../../registry/finish-upload.ts'
import { putManifest } from '../../registry/manifests.ts'
import type { Registry } from '../../registry/registry.ts'
import { startUpload } from '../../registry/uploads.ts'

export const chunkOf = (content: Buffer) => ({
  body: Readable.from([content]),
  first: undefined,
  length: undefined,
  contentLength: content.length,
})

export async function pushBlob(
  registry: Registry,
  repository: RepositoryName,
  content: Buffer,
  digest: Digest = digestOf(content),
): Promise<Digest> {
  const { algorithm } = splitDigest(digest)
  const id = await startUpload(registry, repository, { owner: undefined, algorithm })
  const key = { repository, id, owner: undefined }
  await finishUpload(registry, key, digest, chunkOf(content))
  return digest
}

/** An image manifest of these layers; `note` makes one different from another. */
export function imageOf(layers: readonly Digest[], note = ''): Buffer {
  const descriptors = layers.map((digest) => ({ mediaType: 'x/layer', digest, size: 1 }))
  const image = { schemaVersion: 2, mediaType: OCI_MANIFEST, layers: descriptors }
  return Buffer.from(JSON.stringify({ ...image, annotations: { note } }))
}

export function indexOf(children: readonly Digest[]): Buffer {
  const manifests = children.map((digest) => ({ mediaType: OCI_MANIFEST, digest, size: 1 }))
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }))
}

interface PushOptions {
  readonly reference?: string
  readonly tags?: readonly Tag[]
}

/** Who may do everything. */
export const ANYBODY = { actor: undefined, permits: () => true }

export async function pushManifest(
  registry: Registry,
  repository: RepositoryName,
  bytes: Buffer,
  { reference = digestOf(bytes), tags = [] }: PushOptions = {},
): Promise<Digest> {
  const push = { ...ANYBODY, bytes, contentType: '', tags, precondition: undefined }
  return (await putManifest(registry, repository, parseReference(reference), push)).digest
}
