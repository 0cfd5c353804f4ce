import { type Digest, parseDigest } from '../../oci/digest.ts'
import { blobUrl, deleteBlob, readBlob, statBlob } from '../../registry/blobs.ts'
import type { Registry } from '../../registry/registry.ts'
import { answerEmpty, answerStream } from '../http/answer.ts'
import { parseByteRange, type RequestedRange } from '../http/byte-range.ts'
import { entityTag, isNotModified, namesDigest } from '../http/conditional.ts'
import type { RequestContext, Target } from '../state.ts'

const CONTENT_TYPE = 'application/octet-stream'

/** end-2. Ranges are answered to GET only: the length of a HEAD is that of the blob. */
export async function pullBlob(
  registry: Registry,
  { repository, reference }: Target,
  ctx: RequestContext,
): Promise<void> {
  const digest = parseDigest(reference)

  const blob = await statBlob(registry, repository, digest)

  setBlobHeaders(ctx, digest)
  if (isNotModified(ctx.req.headers, digest)) return answerEmpty(ctx, 304)
  const { sizeBytes } = blob
  if (ctx.method === 'HEAD') {
    ctx.res.setHeader('Content-Length', sizeBytes)
    ctx.res.setHeader('Content-Type', CONTENT_TYPE)
    ctx.respond = false
    ctx.res.statusCode = 200
    ctx.res.end()
    return undefined
  }
  const url = await blobUrl(registry, blob, CONTENT_TYPE)
  if (url !== undefined) {
    // The URL is good for some minutes only, whatever holds for the blob.
    ctx.res.removeHeader('Cache-Control')
    ctx.res.setHeader('Location', url)
    return answerEmpty(ctx, 307)
  }
  const range = rangeOf(ctx, digest, sizeBytes)
  if (range === 'unsatisfiable') {
    ctx.res.setHeader('Content-Range', `bytes */${sizeBytes}`)
    ctx.res.removeHeader('Cache-Control')
    return answerEmpty(ctx, 416)
  }
  ctx.res.setHeader('Content-Type', CONTENT_TYPE)
  if (range === 'whole') {
    ctx.res.setHeader('Content-Length', sizeBytes)
    return answerStream(ctx, 200, (signal) => readBlob(registry, blob, { signal }))
  }
  ctx.res.setHeader('Content-Range', `bytes ${range.first}-${range.last}/${sizeBytes}`)
  ctx.res.setHeader('Content-Length', range.last - range.first + 1)
  return answerStream(ctx, 206, (signal) => readBlob(registry, blob, { range, signal }))
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

function setBlobHeaders({ res }: RequestContext, digest: Digest): void {
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
