import { randomUUID } from 'node:crypto'
import { type Answer, type Client, expectStatus, pushBlob, sha256 } from './client.ts'

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar'
const OCI_EMPTY = 'application/vnd.oci.empty.v1+json'

export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
}

export function describeContent(mediaType: string, bytes: Uint8Array | string): Descriptor {
  return { mediaType, digest: sha256(bytes), size: Buffer.byteLength(bytes) }
}

export interface Content {
  readonly mediaType: string
  readonly bytes: Buffer
  readonly digest: string
}

/** A manifest document as it goes over the wire, with the `mediaType` in its body. */
export function document(mediaType: string, fields: object): Content {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...fields }))
  return { mediaType, bytes, digest: sha256(bytes) }
}

export const EMPTY = describeContent(OCI_EMPTY, '{}')

/** An artifact without content of its own; every call makes another digest. */
export function artifact(fields: object = {}): Content {
  return document(OCI_MANIFEST, {
    config: EMPTY,
    layers: [],
    annotations: { unique: randomUUID() },
    ...fields,
  })
}

/** Makes the repository able to take the manifests of {@link artifact}. */
export function pushEmpty(client: Client, repository: string): Promise<string> {
  return pushBlob(client, repository, '{}')
}

export function putManifest(
  client: Client,
  repository: string,
  reference: string,
  { mediaType, bytes }: Pick<Content, 'mediaType' | 'bytes'>,
): Promise<Answer> {
  return client.send('PUT', `/v2/${repository}/manifests/${reference}`, {
    headers: { 'Content-Type': mediaType },
    body: bytes,
  })
}

/** As {@link putManifest}, and it must succeed. */
export async function pushManifest(
  client: Client,
  repository: string,
  reference: string,
  content: Content,
): Promise<Answer> {
  const answer = await putManifest(client, repository, reference, content)
  expectStatus(answer, 201)
  return answer
}

export interface Image extends Content {
  readonly layer: Buffer
}

/** An image of one layer with its blobs, by tag. */
export async function pushImage(client: Client, repository: string, tag: string): Promise<Image> {
  const layer = Buffer.from(`layer ${randomUUID()}`)
  const config = JSON.stringify({ architecture: 'amd64', os: 'linux', unique: randomUUID() })
  await pushBlob(client, repository, layer)
  await pushBlob(client, repository, config)
  const content = document(OCI_MANIFEST, {
    config: describeContent(OCI_CONFIG, config),
    layers: [describeContent(OCI_LAYER, layer)],
  })
  await pushManifest(client, repository, tag, content)
  return { ...content, layer }
}

export function descriptorOf({ mediaType, bytes, digest }: Content): Descriptor {
  return { mediaType, digest, size: bytes.length }
}
