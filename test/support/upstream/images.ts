import { createCipheriv, createHash, randomBytes, randomUUID } from 'node:crypto'
import {
  type Content,
  type Descriptor,
  descriptorOf,
  document,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
} from '../../acceptance/images.ts'
import { type Answer, exchange, type Sending } from '../../durability/support/exchange.ts'

export interface PushTarget {
  /** `http://127.0.0.1:5000` */
  readonly url: string
  /** The header of that name. */
  readonly authorization?: string
}

export interface ImageOptions {
  readonly repository: string
  readonly tag?: string
  /** Sizes of its layers in bytes; of any size, as they stream. One of 1000 by default. */
  readonly layers?: readonly number[]
  /** With some the tag names an index of as many images, which share no blob. */
  readonly architectures?: readonly string[]
}

interface PushedManifest {
  readonly digest: string
  readonly mediaType: string
  readonly bytes: Buffer
}

export interface PushedImage extends PushedManifest {
  readonly repository: string
  readonly tag: string
  /** Of all its images, in order. */
  readonly layers: readonly PushedBlob[]
  readonly configs: readonly PushedBlob[]
  /** What the index names; none of an image for one platform. */
  readonly children: readonly PushedManifest[]
}

type PushedBlob = Pick<Descriptor, 'digest' | 'size'>

/** An image that nobody has pushed before; its layers are random bytes and not archives. */
export async function pushRandomImage(
  target: PushTarget,
  { repository, tag = 'latest', layers = [1000], architectures = [] }: ImageOptions,
): Promise<PushedImage> {
  const push = (architecture: string) => pushContent(target, { repository, layers, architecture })
  if (architectures.length === 0) {
    const { manifest, ...blobs } = await push('amd64')
    await putManifest(target, repository, tag, manifest)
    return { repository, tag, ...manifest, ...blobs, children: [] }
  }
  const images = []
  for (const architecture of architectures)
    images.push({ architecture, ...(await push(architecture)) })
  for (const { manifest } of images) {
    await putManifest(target, repository, manifest.digest, manifest)
  }
  const manifests = images.map(({ architecture, manifest }) => ({
    ...descriptorOf(manifest),
    platform: { os: 'linux', architecture },
  }))
  const index = document(OCI_INDEX, { manifests })
  await putManifest(target, repository, tag, index)
  return {
    repository,
    tag,
    ...index,
    layers: images.flatMap((image) => image.layers),
    configs: images.flatMap((image) => image.configs),
    children: images.map(({ manifest }) => manifest),
  }
}

interface ImageContent {
  readonly repository: string
  readonly layers: readonly number[]
  readonly architecture: string
}

/** All but the manifest, which is made. */
async function pushContent(
  target: PushTarget,
  { repository, layers: sizes, architecture }: ImageContent,
) {
  const layers: Descriptor[] = []
  for (const size of sizes) {
    const blob = await pushBlob(target, repository, { size, bytes: randomPieces(size) })
    layers.push({ mediaType: OCI_LAYER, ...blob })
  }
  const diffs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) }
  const text = JSON.stringify({ architecture, os: 'linux', rootfs: diffs, unique: randomUUID() })
  const bytes = Buffer.from(text)
  const blob = await pushBlob(target, repository, { size: bytes.length, bytes: [bytes] })
  const config = { mediaType: OCI_CONFIG, ...blob }
  return { manifest: document(OCI_MANIFEST, { config, layers }), layers, configs: [config] }
}

/** @param content no two calls may give the same bytes */
async function pushBlob(
  target: PushTarget,
  repository: string,
  { size, bytes }: { size: number; bytes: Iterable<Buffer> },
): Promise<PushedBlob> {
  const started = await send(target, 202, {
    method: 'POST',
    path: `/v2/${repository}/blobs/uploads/`,
  })
  const hash = createHash('sha256')
  const hashed = async function* () {
    for (const piece of bytes) {
      hash.update(piece)
      yield piece
    }
  }
  const sent = await send(target, 202, {
    method: 'PATCH',
    path: pathIn(started),
    headers: { 'Content-Type': 'application/octet-stream', 'Content-Length': String(size) },
    body: hashed(),
    timeoutMs: 600_000,
  })
  const digest = `sha256:${hash.digest('hex')}`
  const path = pathIn(sent)
  const query = `${path.includes('?') ? '&' : '?'}digest=${digest}`
  await send(target, 201, { method: 'PUT', path: `${path}${query}` })
  return { digest, size }
}

async function putManifest(
  target: PushTarget,
  repository: string,
  reference: string,
  { mediaType, bytes }: Content,
): Promise<void> {
  await send(target, 201, {
    method: 'PUT',
    path: `/v2/${repository}/manifests/${reference}`,
    headers: { 'Content-Type': mediaType },
    body: bytes,
  })
}

async function send(
  { url, authorization }: PushTarget,
  status: number,
  sending: Sending,
): Promise<Answer> {
  const headers = { ...sending.headers, ...(authorization && { Authorization: authorization }) }
  const answer = await exchange(new URL(url).host, { ...sending, headers })
  if (answer.status === status) return answer
  const said = `${answer.status}: ${answer.body.toString('utf8', 0, 500)}`
  throw new Error(`${sending.method} ${sending.path} was answered ${said}`)
}

/** Path and query of a `Location`, which may be absolute or relative. */
function pathIn({ headers }: Answer): string {
  const { pathname, search } = new URL(headers.location ?? '', 'http://registry')
  return pathname + search
}

const MIB = 1024 * 1024

/** A key stream is as unique as random bytes, and several times as fast to make. */
function* randomPieces(size: number): Generator<Buffer> {
  const stream = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16))
  const zeros = Buffer.alloc(Math.min(size, MIB))
  for (let left = size; left > 0; left -= MIB) {
    yield stream.update(zeros.subarray(0, Math.min(left, MIB)))
  }
}
