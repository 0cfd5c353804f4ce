import { Readable } from 'node:stream'
import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'
import { findBlobOfUpstream, linkLiveBlob } from '../../storage/metadata/blobs.ts'
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
import { blobKey, cacheOf, type UpstreamRepository } from './upstreams.ts'

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
  const { fetches, digest, source } = receiving
  const key = blobKey(source, digest)
  // Ends the connection to the upstream whose body is not read any more.
  const over = new AbortController()
  const signal = AbortSignal.any([receiving.signal, over.signal])
  try {
    if (!(await takeKnown(registry, receiving))) {
      await fetchBlob(registry, { ...receiving, signal })
    }
  } catch (error) {
    await releaseFetch(db, key, fetches.process).catch(() => {}) // or it runs out
    throw isLost(error) ? new UpstreamFailure('unavailable', LOST, { cause: error }) : error
  } finally {
    over.abort()
  }
  await endFetch(db, key, fetches.process).catch(() => {}) // or it runs out
}

const LOST = 'what was kept of the repository was deleted meanwhile'

/** The session went with its repository, or ran out. */
function isLost(error: unknown): boolean {
  return error instanceof RegistryError && error.code === 'BLOB_UPLOAD_UNKNOWN'
}

/**
 * Another repository of the upstream may have the blob already: then the upstream only has to say
 * that this one has it too. Its word gives away nothing but what came from it.
 */
async function takeKnown(registry: Registry, receiving: Receiving): Promise<boolean> {
  const { db, cache } = registry
  const { source, digest, progress } = receiving
  const { repository } = source
  const live = await findBlobOfUpstream(db, cacheOf(source), digest)
  if (live === undefined) return false
  if (live.isLinked) {
    progress.opened(live.sizeBytes)
    return true
  }
  if (!(await hasBlob(receiving, live.sizeBytes))) return false
  const sizeBytes = await inCache(registry, cacheOf(source), (id) => linkLiveBlob(db, id, digest))
  if (sizeBytes === undefined) return false
  cache.forgetBlob(repository, digest)
  progress.opened(sizeBytes)
  return true
}

/**
 * Whether the upstream says that it has the very blob; false when it has to prove it, by sending it.
 *
 * @throws UpstreamFailure
 */
async function hasBlob({ source, digest, signal }: Receiving, sizeBytes: number): Promise<boolean> {
  const { client } = source.upstream
  try {
    return (await client.statBlob(source.remote, digest, { signal })) === sizeBytes
  } catch (error) {
    // As of a registry that knows no HEAD.
    if (error instanceof UpstreamFailure && error.reason === 'invalid') return false
    throw error
  }
}

async function fetchBlob(registry: Registry, receiving: Receiving): Promise<void> {
  const { source, digest, fetches, left, signal } = receiving
  const resumed = await resumeSession(registry, fetches, receiving)
  let session = resumed
  try {
    if (session === undefined || session.offset !== left.sizeBytes) {
      const from = session?.offset ?? 0
      const { client } = source.upstream
      const [body, stated] = await Promise.all([
        ResumingBody.open(client, source.remote, digest, { from, signal }),
        statedSize(registry.db, source.repository, digest),
      ])
      checkSize(registry, receiving, { sizeBytes: body.sizeBytes, stated })
      session ??= await startSession(registry, fetches, receiving)
      await take(registry, receiving, { session, body })
    } else {
      // All of it arrived before it broke off: nobody else tells how large it is.
      receiving.progress.opened(session.offset)
    }
    await publish(registry, receiving, session)
  } finally {
    await session?.spool?.close()
  }
}

/** @throws UpstreamFailure when it is not the size that a manifest states, or more than is taken */
function checkSize(
  { limits }: Registry,
  { source, digest }: Receiving,
  { sizeBytes, stated }: { readonly sizeBytes: number; readonly stated: number | undefined },
): void {
  const { name } = source.upstream.rule
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
      // What is said to have arrived has to be there to be followed when it goes on.
      await session.spool?.sync()
    }
  }
  const stream = Readable.from(bytes(), { objectMode: false, highWaterMark: BUFFER_BYTES })
  try {
    await appendToUpload(registry, key, {
      body: stream,
      first: undefined,
      length: undefined,
      contentLength: body.sizeBytes - offset,
      // Who waits need not wait for the disk as well.
      received: (found) => {
        if (found === receiving.digest && brokeOff === undefined) receiving.progress.verified()
      },
    })
  } catch (error) {
    // The session is what it was: without a byte there is nothing to go on with.
    if (offset === 0) await receiving.fetches.spool.remove(key.id)
    throw error
  } finally {
    stream.destroy()
  }
  if (brokeOff !== undefined) throw brokeOff.error
}

/** The chunks, each told of to all who wait; and with the first where they can be read. */
async function* passingOn(
  registry: Registry,
  receiving: Receiving,
  { session, body }: { readonly session: FetchSession; readonly body: ResumingBody },
): AsyncGenerator<Uint8Array> {
  const { progress, fetches } = receiving
  const { key, offset, spool } = session
  progress.opened(body.sizeBytes)
  let arrived = offset
  let announced: Promise<void> | undefined
  for await (const chunk of body) {
    await spool?.write(chunk)
    if (announced === undefined) {
      // Not earlier: until it is written to, the file may hold more than what counts.
      progress.growsIn(fetches.fileOf(registry, key.id))
      announced = announce(registry, receiving, { id: key.id, sizeBytes: body.sizeBytes })
    }
    arrived += chunk.length
    progress.hasArrived(arrived)
    yield chunk
  }
  await announced
}

/** Tells the other processes, if it can be done. They follow later otherwise, or when it is there. */
async function announce(
  registry: Registry,
  { fetches, source, digest }: Receiving,
  { id: uploadId, sizeBytes }: { readonly id: string; readonly sizeBytes: number },
): Promise<void> {
  const { db, log } = registry
  const { process } = fetches
  try {
    await inCache(registry, cacheOf(source), (repositoryId) =>
      recordFetch(db, blobKey(source, digest), { process, repositoryId, uploadId, sizeBytes }),
    )
  } catch (error) {
    log.warn({ err: error, digest }, 'fetch not announced')
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
    await fetches.spoil(registry, key.id)
    await cancelUpload(registry, key)
    await fetches.spool.remove(key.id)
    const { name } = source.upstream.rule
    throw new UpstreamFailure('invalid', `${name}: sent other content for ${digest}`)
  }
  await fetches.spool.remove(key.id)
}
