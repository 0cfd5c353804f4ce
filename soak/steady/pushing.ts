import type { Sending } from '../../test/durability/support/exchange.ts'
import type { Content, Image } from '../../test/durability/support/pushes.ts'
import type { Client } from './client.ts'
import { REPOSITORIES } from './repositories.ts'

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'
const BYTES = { 'Content-Type': 'application/octet-stream' }
const CHUNK_BYTES = 32 * 1024

export function scopeOf(repository: string, actions = 'pull,push,delete'): string {
  return `repository:${repository}:${actions}`
}

/** @throws TryAgain */
export async function pushImage(
  client: Client,
  repository: string,
  image: Image,
  reference: string,
): Promise<void> {
  for (const blob of [...image.layers, image.config]) await pushBlob(client, repository, blob)
  const path = `/v2/${repository}/manifests/${reference}`
  const headers = { 'Content-Type': MANIFEST_TYPE }
  const { bytes: body } = image.manifest
  await client.askAs(scopeOf(repository), { method: 'PUT', path, headers, body }, 201)
}

/** Only when it is not there, and by a mount when another repository may have it. */
export async function pushBlob(client: Client, repository: string, blob: Content): Promise<void> {
  const path = `/v2/${repository}/blobs/${blob.digest}`
  const head = await client.askAs(scopeOf(repository), { method: 'HEAD', path }, 200, 404)
  if (head.status === 200) return
  const session = client.random.chance(0.3)
    ? await mount(client, repository, blob)
    : await begin(client, repository)
  if (session !== undefined) await upload(client, repository, session, blob)
}

/** @returns the session that the server began instead; undefined when the blob is mounted */
async function mount(client: Client, repository: string, { digest }: Content) {
  const from = client.random.one(REPOSITORIES)
  const scope = `${scopeOf(repository)} ${scopeOf(from, 'pull')}`
  const path = `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${encodeURIComponent(from)}`
  const { status, headers } = await client.askAs(scope, { method: 'POST', path }, 201, 202)
  return status === 201 ? undefined : headers.location
}

export async function begin(client: Client, repository: string): Promise<string> {
  const path = `/v2/${repository}/blobs/uploads/`
  const { headers } = await client.askAs(scopeOf(repository), { method: 'POST', path }, 202)
  return headers.location ?? ''
}

/** As Docker does it, as containerd does it, or in two chunks with ranges. */
async function upload(
  client: Client,
  repository: string,
  session: string,
  { bytes, digest }: Content,
): Promise<void> {
  const askAs = (sending: Sending, status: number) =>
    client.askAs(scopeOf(repository), sending, status)
  const patch = (headers: Record<string, string>, body: Sending['body'] & object) =>
    askAs({ method: 'PATCH', path: session, headers: { ...BYTES, ...headers }, body }, 202)
  const put = { method: 'PUT', path: `${session}?digest=${encodeURIComponent(digest)}` }
  const flow = client.random.weighted([
    [50, 'docker'],
    [35, 'containerd'],
    [15, 'chunks'],
  ])
  if (flow === 'containerd') {
    await askAs({ ...put, headers: BYTES, body: bytes }, 201)
    return
  }
  if (flow === 'docker') await patch({}, piecesOf(bytes))
  else {
    const half = Math.ceil(bytes.length / 2)
    await patch({ 'Content-Range': `0-${half - 1}` }, bytes.subarray(0, half))
    await patch({ 'Content-Range': `${half}-${bytes.length - 1}` }, bytes.subarray(half))
  }
  await askAs(put, 201)
}

async function* piecesOf(bytes: Buffer): AsyncIterable<Buffer> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    yield bytes.subarray(at, at + CHUNK_BYTES)
  }
}
