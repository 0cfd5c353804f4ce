import { type Digest, parseDigest } from '../../oci/digest.ts'
import {
  blobFile,
  blobUrl,
  deleteBlob,
  promiseBlob,
  readBlob,
  type StoredBlob,
  statBlob,
} from '../../registry/blobs.ts'
import {
  type PulledBlob,
  pullBlob as pullBlobThrough,
  statPulledBlob,
} from '../../registry/pull-through/blobs.ts'
import type { Registry } from '../../registry/registry.ts'
import { answerEmpty, answerStream } from '../http/answer.ts'
import { parseByteRange, type RequestedRange } from '../http/byte-range.ts'
import { entityTag, isNotModified, namesDigest } from '../http/conditional.ts'
import { type Provenance, setProvenance } from '../http/provenance.ts'
import { isPushing } from '../http/pushing.ts'
import type { RequestContext, Target } from '../state.ts'

const CONTENT_TYPE = 'application/octet-stream'

/** end-2. Ranges are answered to GET only: the length of a HEAD is that of the blob. */
export async function pullBlob(
  registry: Registry,
  target: Target,
  ctx: RequestContext,
): Promise<void> {
  const digest = parseDigest(target.reference)
  if (ctx.method === 'HEAD') return answerHead(registry, target, ctx, digest)

  const blob = await findBlob(registry, target, digest)

  setBlobHeaders(ctx, digest, blob)
  if (isNotModified(ctx.req.headers, digest)) return answerEmpty(ctx, 304)
  const { sizeBytes } = blob
  const url = blob.stored && (await blobUrl(registry, blob.stored, CONTENT_TYPE))
  if (url !== undefined) {
    // The URL is good for some minutes only, whatever holds for the blob.
    ctx.res.removeHeader('Cache-Control')
    ctx.res.setHeader('Location', url)
    return answerEmpty(ctx, 307)
  }
  const file = blob.stored && fileForProxy(registry, blob.stored, ctx)
  if (file !== undefined) {
    ctx.res.setHeader('Content-Type', CONTENT_TYPE)
    ctx.res.setHeader('X-Accel-Redirect', file)
    return answerEmpty(ctx, 200) // of which the proxy makes an answer with bytes, or a range of them
  }
  const range = rangeOf(ctx, digest, sizeBytes)
  if (range === 'unsatisfiable') {
    ctx.res.setHeader('Content-Range', `bytes */${sizeBytes}`)
    ctx.res.removeHeader('Cache-Control')
    return answerEmpty(ctx, 416)
  }
  ctx.res.setHeader('Content-Type', CONTENT_TYPE)
  const isSlow = blob.stored === undefined
  if (range === 'whole') {
    ctx.res.setHeader('Content-Length', sizeBytes)
    return answerStream(ctx, { status: 200, isSlow }, (signal) => blob.read({ signal }))
  }
  ctx.res.setHeader('Content-Range', `bytes ${range.first}-${range.last}/${sizeBytes}`)
  ctx.res.setHeader('Content-Length', range.last - range.first + 1)
  return answerStream(ctx, { status: 206, isSlow }, (signal) => blob.read({ range, signal }))
}

async function answerHead(
  registry: Registry,
  { repository, source }: Target,
  ctx: RequestContext,
  digest: Digest,
): Promise<void> {
  const blob: Pick<StoredBlob, 'sizeBytes'> & Provenance =
    source === undefined
      ? await (isPushing(ctx, repository) ? promiseBlob : statBlob)(registry, repository, digest)
      : await statPulledBlob(registry, source, digest)

  setBlobHeaders(ctx, digest, blob)
  if (isNotModified(ctx.req.headers, digest)) return answerEmpty(ctx, 304)
  ctx.res.setHeader('Content-Length', blob.sizeBytes)
  ctx.res.setHeader('Content-Type', CONTENT_TYPE)
  ctx.respond = false
  ctx.res.statusCode = 200
  ctx.res.end()
  return undefined
}

/** A blob that can be sent, whether it is kept here or on its way from an upstream. */
type Sendable = Pick<PulledBlob, 'sizeBytes' | 'stored' | 'read'> & Provenance

async function findBlob(
  registry: Registry,
  { repository, source }: Target,
  digest: Digest,
): Promise<Sendable> {
  if (source !== undefined) return pullBlobThrough(registry, source, digest)
  const stored = await statBlob(registry, repository, digest)
  const { sizeBytes } = stored
  return { sizeBytes, stored, read: (options) => readBlob(registry, stored, options) }
}

/** Where the proxy that asks finds the bytes itself; undefined where they are to be sent to it. */
function fileForProxy(
  registry: Registry,
  stored: StoredBlob,
  { state }: RequestContext,
): string | undefined {
  const file = state.accelPath === undefined ? undefined : blobFile(registry, stored)
  return file === undefined ? undefined : `${state.accelPath}${file}`
}

/** end-10 */
export async function removeBlob(
  registry: Registry,
  { repository, reference }: Target,
  ctx: RequestContext,
): Promise<void> {
  ctx.state.access.requireWhole(repository, 'delete')
  await deleteBlob(registry, repository, parseDigest(reference))
  answerEmpty(ctx, 202)
}

function setBlobHeaders(ctx: RequestContext, digest: Digest, { from }: Provenance): void {
  const { res } = ctx
  setProvenance(ctx, { from })
  res.setHeader('Docker-Content-Digest', digest)
  res.setHeader('ETag', entityTag(digest))
  res.setHeader('Accept-Ranges', 'bytes')
  res.setHeader('Cache-Control', 'private, max-age=31536000, immutable')
}

/** RFC 9110, "If-Range": a range of other content than the client has is of no use to it. */
function rangeOf(ctx: RequestContext, digest: Digest, sizeBytes: number): RequestedRange {
  const condition = ctx.req.headers['if-range']
  if (typeof condition === 'string' && !namesDigest(condition, digest)) return 'whole'
  return parseByteRange(ctx.req.headers.range, sizeBytes)
}
