import { Readable } from 'node:stream'
import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'
import { findBlob, findLiveBlobSize, linkLiveBlob } from '../../storage/metadata/blobs.ts'
import {
  endFetch,
  type FetchRecord,
  recordFetch,
  releaseFetch,
} from '../../storage/metadata/fetches.ts'
import { UpstreamFailure } from '../../upstream/failure.ts'
import { finishUpload } from '../finish-upload.ts'
import type { Registry } from '../registry.ts'
import { inCache } from '../repositories.ts'
import { appendToUpload, cancelUpload } from '../uploads.ts'
import { statedSize } from './descriptors.ts'
import { type FetchSession, resumeSession, startSession } from './fetch-session.ts'
import type { Fetches } from './fetches.ts'
import type { Progress } from './progress.ts'
import { ResumingBody } from './resuming-body.ts'
import { cacheOf, type UpstreamRepository } from './upstreams.ts'

export interface Receiving {
  readonly fetches: Fetches
  readonly source: UpstreamRepository
  readonly digest: Digest
  /** Of an earlier fetch that broke off. */
  readonly left: FetchRecord
  readonly progress: Progress
  readonly signal: AbortSignal
}

const BUFFER_BYTES = 1024 * 1024

/**
 * Brings a blob from its upstream, as an upload that nobody pushes: bytes into a session, digest
 * verified, published. The claim on the digest is held, and given back at the end. What has
 * arrived is kept with the session when it breaks off.
 *
 * @throws UpstreamFailure, and what an upload throws
 */
export async function receiveBlob(registry: Registry, receiving: Receiving): Promise<void> {
  const { db } = registry
  const { fetches, digest } = receiving
  try {
    if (!(await takeKnown(registry, receiving))) await fetchBlob(registry, receiving)
  } catch (error) {
    await releaseFetch(db, digest, fetches.process).catch(() => {}) // or it runs out
    throw error
  }
  await endFetch(db, digest, fetches.process)
}

/**
 * Another repository may have the blob already: then the upstream only has to say that this one has
 * it too. Knowing a digest is no right to the bytes.
 */
async function takeKnown(
  registry: Registry,
  { source, digest, progress, signal }: Receiving,
): Promise<boolean> {
  const { db, cache } = registry
  const { repository, remote, upstream } = source
  const stored = await findBlob(db, repository, digest)
  if (stored !== undefined) {
    progress.opened(stored.sizeBytes)
    return true
  }
  if ((await findLiveBlobSize(db, digest)) === undefined) return false
  await upstream.client.statBlob(remote, digest, { signal })
  const sizeBytes = await inCache(registry, cacheOf(source), (id) => linkLiveBlob(db, id, digest))
  if (sizeBytes === undefined) return false
  cache.forgetBlob(repository, digest)
  progress.opened(sizeBytes)
  return true
}

async function fetchBlob(registry: Registry, receiving: Receiving): Promise<void> {
  const { source, digest, fetches, left, signal } = receiving
  const resumed = await resumeSession(registry, fetches, receiving)
  let session = resumed
  try {
    if (session === undefined || session.offset !== left.sizeBytes) {
      const from = session?.offset ?? 0
      const { client } = source.upstream
      const body = await ResumingBody.open(client, source.remote, digest, { from, signal })
      await checkSize(registry, receiving, body.sizeBytes)
      session ??= await startSession(registry, fetches, receiving)
      await take(registry, receiving, { session, body })
    }
    await publish(registry, receiving, session)
  } finally {
    await session?.spool?.close()
  }
}

/** @throws UpstreamFailure when it is not the size that a manifest states, or more than is taken */
async function checkSize(
  { db, limits }: Registry,
  { source, digest }: Receiving,
  sizeBytes: number,
): Promise<void> {
  const { repository, upstream } = source
  const stated = await statedSize(db, repository, digest)
  const { name } = upstream.rule
  if (stated !== undefined && stated !== sizeBytes) {
    throw new UpstreamFailure('invalid', `${name}: ${digest} has ${sizeBytes} bytes, not ${stated}`)
  }
  if (sizeBytes > limits.uploadBytes) {
    throw new UpstreamFailure('invalid', `${name}: ${digest} is larger than limits.uploadBytes`)
  }
}

/** Takes what there is to take. @throws what broke it off; the bytes that came before are kept */
async function take(
  registry: Registry,
  receiving: Receiving,
  { session, body }: { readonly session: FetchSession; readonly body: ResumingBody },
): Promise<void> {
  const { key, offset } = session
  let brokeOff: { readonly error: unknown } | undefined
  const bytes = async function* () {
    try {
      yield* passingOn(registry, receiving, { session, body })
    } catch (error) {
      brokeOff = { error }
    }
  }
  const stream = Readable.from(bytes(), { objectMode: false, highWaterMark: BUFFER_BYTES })
  try {
    await appendToUpload(registry, key, {
      body: stream,
      first: undefined,
      length: undefined,
      contentLength: body.sizeBytes - offset,
    })
  } finally {
    stream.destroy()
  }
  if (brokeOff !== undefined) throw brokeOff.error
}

/** The chunks, each told of to all who wait; and first of all where they can be read. */
async function* passingOn(
  registry: Registry,
  { fetches, source, digest, progress }: Receiving,
  { session, body }: { readonly session: FetchSession; readonly body: ResumingBody },
): AsyncGenerator<Uint8Array> {
  const { key, offset, spool } = session
  const { sizeBytes } = body
  progress.opened(sizeBytes)
  let arrived = offset
  let isKnown = false
  for await (const chunk of body) {
    await spool?.write(chunk)
    if (!isKnown) {
      isKnown = true
      // Not earlier: until it is written to, the file may hold more than what counts.
      const file = registry.blobs.growingFile?.(key.id) ?? fetches.spool.fileOf(key.id)
      progress.growsIn(file)
      const { process } = fetches
      await inCache(registry, cacheOf(source), (repositoryId) =>
        recordFetch(registry.db, digest, { process, repositoryId, uploadId: key.id, sizeBytes }),
      )
    }
    arrived += chunk.length
    progress.hasArrived(arrived)
    yield chunk
  }
}

async function publish(
  registry: Registry,
  { source, digest, fetches, signal }: Receiving,
  { key }: FetchSession,
): Promise<void> {
  signal.throwIfAborted()
  try {
    await finishUpload(registry, key, digest, undefined)
  } catch (error) {
    if (!(error instanceof RegistryError && error.code === 'DIGEST_INVALID')) throw error
    await cancelUpload(registry, key)
    const { name } = source.upstream.rule
    throw new UpstreamFailure('invalid', `${name}: sent other content for ${digest}`)
  }
  await fetches.spool.remove(key.id)
}
