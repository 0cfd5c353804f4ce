/** The requests with which Docker pushes, in its order. */
import { type Connection, frameChunks, type Response } from './connection.ts'
import { type Content, contentOf } from './content.ts'

const manifestType = 'application/vnd.docker.distribution.manifest.v2+json'
const configType = 'application/vnd.docker.container.image.v1+json'
const layerType = 'application/vnd.docker.image.rootfs.diff.tar.gzip'

/** What Docker sends when it asks for a manifest. */
export const acceptManifests = [
  manifestType,
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
].join(', ')

/** A blob whose digest and chunked body are made ahead, so that sending it costs a write. */
export interface PreparedBlob extends Content {
  readonly framed: Buffer
}

export interface PreparedImage {
  readonly config: PreparedBlob
  readonly layers: readonly PreparedBlob[]
  readonly manifest: Content
}

export function prepareBlob(bytes: Buffer): PreparedBlob {
  return { ...contentOf(bytes), framed: frameChunks(bytes) }
}

export function prepareImage(configBytes: Buffer, layersBytes: readonly Buffer[]): PreparedImage {
  const config = prepareBlob(configBytes)
  const layers = layersBytes.map(prepareBlob)
  const manifest = {
    schemaVersion: 2,
    mediaType: manifestType,
    config: { mediaType: configType, size: config.bytes.length, digest: config.digest },
    layers: layers.map((layer) => ({
      mediaType: layerType,
      size: layer.bytes.length,
      digest: layer.digest,
    })),
  }
  return { config, layers, manifest: contentOf(Buffer.from(JSON.stringify(manifest))) }
}

export async function pushImage(
  connection: Connection,
  repository: string,
  image: PreparedImage,
  tag: string,
): Promise<void> {
  for (const blob of [...image.layers, image.config]) await pushBlob(connection, repository, blob)
  await putManifest(connection, repository, image.manifest, tag)
}

/** @throws Error when any answer has another status than Docker expects */
export async function pushBlob(
  connection: Connection,
  repository: string,
  blob: PreparedBlob,
): Promise<void> {
  const location = await beginUpload(connection, repository, blob.digest)
  const patched = await connection.request({
    method: 'PATCH',
    target: location,
    headers: { 'Content-Type': 'application/octet-stream' },
    body: blob.framed,
    chunked: true,
  })
  await finishUpload(connection, repository, blob.digest, locationOf(expectStatus(patched, 202)))
}

/** HEAD and POST. Gives path and query of the upload. */
export async function beginUpload(
  connection: Connection,
  repository: string,
  digest: string,
): Promise<string> {
  const head = await connection.request({
    method: 'HEAD',
    target: `/v2/${repository}/blobs/${digest}`,
  })
  expectStatus(head, 404)
  const posted = await connection.request({
    method: 'POST',
    target: `/v2/${repository}/blobs/uploads/`,
  })
  return locationOf(expectStatus(posted, 202))
}

/** The PUT without a body, and the HEAD by which Docker makes sure. */
export async function finishUpload(
  connection: Connection,
  repository: string,
  digest: string,
  location: string,
): Promise<void> {
  const separator = location.includes('?') ? '&' : '?'
  const target = `${location}${separator}digest=${encodeURIComponent(digest)}`
  expectStatus(await connection.request({ method: 'PUT', target }), 201)
  const head = await connection.request({
    method: 'HEAD',
    target: `/v2/${repository}/blobs/${digest}`,
  })
  expectStatus(head, 200)
}

export async function putManifest(
  connection: Connection,
  repository: string,
  manifest: Content,
  tag: string,
): Promise<void> {
  const answer = await connection.request({
    method: 'PUT',
    target: `/v2/${repository}/manifests/${tag}`,
    headers: { 'Content-Type': manifestType },
    body: manifest.bytes,
  })
  expectStatus(answer, 201)
}

export async function mountBlob(
  connection: Connection,
  repository: string,
  digest: string,
  from: string,
): Promise<void> {
  const query = `mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(from)}`
  const target = `/v2/${repository}/blobs/uploads/?${query}`
  expectStatus(await connection.request({ method: 'POST', target }), 201)
}

export function expectStatus(response: Response, status: number): Response {
  if (response.status === status) return response
  const body = response.body.toString('utf8', 0, 500)
  throw new Error(`expected status ${status}, got ${response.status}: ${body}`)
}

/** Path and query of a `Location`, which may be absolute or relative. */
export function pathAndQuery(location: string): string {
  const url = new URL(location, 'http://127.0.0.1')
  return url.pathname + url.search
}

export function locationOf(response: Response): string {
  return pathAndQuery(response.headers.get('location') ?? '')
}
