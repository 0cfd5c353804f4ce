import { scopeFor } from '../../auth/access.ts'
import { digestOf, parseDigest, parseDigestAlgorithm } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'
import { parseRepositoryName, type RepositoryName } from '../../oci/reference.ts'
import { type Mount, mountBlob } from '../../registry/blobs.ts'
import { finishUpload } from '../../registry/finish-upload.ts'
import type { Registry } from '../../registry/registry.ts'
import {
  appendToUpload,
  type Chunk,
  cancelUpload as cancelUploadSession,
  getUploadOffset,
  OffsetMismatch,
  startUpload,
  type UploadKey,
} from '../../registry/uploads.ts'
import { answerEmpty } from '../http/answer.ts'
import { hasBody } from '../http/body.ts'
import { formatOffset, formatProgress, parseChunkRange } from '../http/content-range.ts'
import { only } from '../http/query.ts'
import type { RequestContext, Target } from '../state.ts'

/** end-4a, end-4b, end-4c, end-11 */
export async function beginUpload(
  registry: Registry,
  { repository }: Target,
  ctx: RequestContext,
): Promise<void> {
  const mount = parseMount(ctx, repository)
  if (mount !== undefined && (await mountBlob(registry, repository, mount))) {
    return answerCreated(ctx, repository, mount.digest)
  }
  if (ctx.query['digest'] !== undefined) return pushWhole(registry, repository, ctx)
  const owner = ctx.state.access.subject
  const algorithm = parseDigestAlgorithm(only(ctx, 'digest-algorithm') || 'sha256')

  const id = await startUpload(registry, repository, { owner, algorithm })

  setUploadHeaders(ctx, { repository, id, owner }, formatProgress(0))
  return answerEmpty(ctx, 202)
}

/** end-5 */
export async function receiveChunk(
  registry: Registry,
  target: Target,
  ctx: RequestContext,
): Promise<void> {
  const key = uploadKey(target, ctx)
  const chunk = parseChunk(ctx, target.repository)

  const offset = await tellingOffset(ctx, key, () => appendToUpload(registry, key, chunk))

  setUploadHeaders(ctx, key, formatProgress(offset))
  answerEmpty(ctx, 202)
}

/** end-6: may carry the last chunk, or the whole blob when nothing was sent before. */
export async function completeUpload(
  registry: Registry,
  target: Target,
  ctx: RequestContext,
): Promise<void> {
  const key = uploadKey(target, ctx)
  const digest = parseDigest(only(ctx, 'digest') ?? '')
  const chunk = hasBody(ctx.req) ? parseChunk(ctx, target.repository) : undefined

  await tellingOffset(ctx, key, () => finishUpload(registry, key, digest, chunk))

  answerCreated(ctx, target.repository, digest)
}

/** end-13 */
export async function uploadStatus(
  registry: Registry,
  target: Target,
  ctx: RequestContext,
): Promise<void> {
  const key = uploadKey(target, ctx)

  const offset = await getUploadOffset(registry, key)

  setUploadHeaders(ctx, key, formatOffset(offset))
  answerEmpty(ctx, 204)
}

/** end-14 */
export async function cancelUpload(
  registry: Registry,
  target: Target,
  ctx: RequestContext,
): Promise<void> {
  await cancelUploadSession(registry, uploadKey(target, ctx))
  answerEmpty(ctx, 204)
}

/** end-4b: the blob comes with the POST. A failure leaves no session: the client knows of none. */
async function pushWhole(
  registry: Registry,
  repository: RepositoryName,
  ctx: RequestContext,
): Promise<void> {
  const digest = parseDigest(only(ctx, 'digest') ?? '')
  const chunk = hasBody(ctx.req) ? parseChunk(ctx, repository) : undefined
  const owner = ctx.state.access.subject
  const algorithm = digest.startsWith('sha512:') ? 'sha512' : 'sha256'
  const id = await startUpload(registry, repository, { owner, algorithm })
  const key = { repository, id, owner }
  // Without a body the blob follows by PUT, unless there is nothing to follow.
  if (chunk === undefined && digest !== digestOf(Buffer.alloc(0), algorithm)) {
    setUploadHeaders(ctx, key, formatProgress(0))
    return answerEmpty(ctx, 202)
  }

  try {
    await finishUpload(registry, key, digest, chunk)
  } catch (error) {
    await cancelUploadSession(registry, key).catch(() => {}) // it expires by itself
    throw error
  }

  return answerCreated(ctx, repository, digest)
}

/**
 * Undefined when no mount is asked for, or one that can never succeed: then it is an upload.
 *
 * @throws Unauthorized when the caller may pull from the source, but with another token
 */
function parseMount(ctx: RequestContext, repository: RepositoryName): Mount | undefined {
  const digest = orUndefined(() => parseDigest(only(ctx, 'mount') ?? ''))
  const name = only(ctx, 'from')
  const from = name ? orUndefined(() => parseRepositoryName(name)) : undefined
  if (digest === undefined || (name !== '' && from === undefined)) return undefined
  const { access } = ctx.state
  const mayPull = (source: RepositoryName) => access.allows(source, 'pull')
  if (from !== undefined && !mayPull(from) && access.mayObtain(from, 'pull')) {
    throw access.refusal([scopeFor(repository, 'push'), scopeFor(from, 'pull')])
  }
  return { digest, from, mayPull }
}

function orUndefined<T>(parse: () => T): T | undefined {
  try {
    return parse()
  } catch (error) {
    if (error instanceof RegistryError) return undefined
    throw error
  }
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

function uploadKey({ repository, reference }: Target, ctx: RequestContext): UploadKey {
  if (!UUID.test(reference)) throw new RegistryError('BLOB_UPLOAD_UNKNOWN', 'not a session id')
  return { repository, id: reference, owner: ctx.state.access.subject }
}

function parseChunk({ req, state }: RequestContext, repository: RepositoryName): Chunk {
  const range = parseChunkRange(req)
  const contentLength = req.headers['content-length']
  return {
    body: req,
    first: range?.first,
    length: range?.length,
    contentLength: contentLength === undefined ? undefined : Number(contentLength),
    confirm: async () => (await state.authenticateAgain()).require(repository, 'push'),
  }
}

/** A client that is told 416 goes on from the offset in the headers. */
async function tellingOffset<T>(
  ctx: RequestContext,
  key: UploadKey,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof OffsetMismatch) setUploadHeaders(ctx, key, formatOffset(error.offset))
    throw error
  }
}

function setUploadHeaders(ctx: RequestContext, { repository, id }: UploadKey, range: string): void {
  ctx.set('Location', `/v2/${repository}/blobs/uploads/${id}`)
  ctx.set('Docker-Upload-UUID', id)
  ctx.set('Range', range)
}

function answerCreated(ctx: RequestContext, repository: RepositoryName, digest: string): void {
  ctx.set('Location', `/v2/${repository}/blobs/${digest}`)
  ctx.set('Docker-Content-Digest', digest)
  answerEmpty(ctx, 201)
}
