import type { Digest } from '../../oci/digest.ts'
import type { StoredBlob } from '../../storage/metadata/blobs.ts'
import { UpstreamFailure } from '../../upstream/failure.ts'
import { lookUpBlob, type ReadOptions, readBlob } from '../blobs.ts'
import type { Registry } from '../registry.ts'
import { asking, type Wanted } from './asking.ts'
import { statedSize } from './descriptors.ts'
import { soon, within } from './patience.ts'
import type { UpstreamRepository } from './upstreams.ts'

/** A blob of an upstream: kept here, or on its way. */
export interface PulledBlob {
  readonly sizeBytes: number
  readonly from: 'cache' | 'upstream'
  /** Where it is kept; undefined while it is on its way. */
  readonly stored: StoredBlob | undefined
  /** The bytes as they arrive. @throws what breaks them off */
  readonly read: (options: ReadOptions) => AsyncIterable<Uint8Array>
}

/**
 * The blob, once its size is known. It is then fetched whole, whoever leaves.
 *
 * @throws UpstreamError when it is neither here nor to be had
 */
export async function pullBlob(
  registry: Registry,
  source: UpstreamRepository,
  digest: Digest,
): Promise<PulledBlob> {
  const { activity } = registry.pullThrough
  const { repository, upstream } = source
  const { name } = upstream.rule
  const stored = await lookUpBlob(registry, source.repository, digest)
  if (stored !== undefined) {
    registry.uses.blobUsed(repository, digest)
    activity.hit(name)
    return counted(registry, source, {
      sizeBytes: stored.sizeBytes,
      from: 'cache',
      stored,
      read: (options) => readBlob(registry, stored, options),
    })
  }
  activity.miss(name)
  return asking(source, wanted(digest), () => join(registry, source, digest))
}

async function join(
  registry: Registry,
  source: UpstreamRepository,
  digest: Digest,
): Promise<PulledBlob> {
  const { db, pullThrough } = registry
  const fetch = pullThrough.fetches.join(registry, source, digest)
  // On its way for another repository: knowing its digest is no right to the bytes.
  const isForeign = fetch.source.repository !== source.repository
  if (isForeign && !(await isThere(registry, source, digest))) {
    await soon(fetch.ended, pullThrough.patience.content, source.upstream)
    return join(registry, source, digest)
  }
  let sizeBytes: number
  try {
    sizeBytes = await soon(fetch.size(), pullThrough.patience.content, source.upstream)
  } catch (error) {
    // What another repository could not be given says nothing of this one.
    if (isForeign && fetch.state === 'failed') return join(registry, source, digest)
    // Better the headers now and the bytes later than a client that gives up.
    const isOnItsWay = fetch.state === 'growing'
    const stated = isOnItsWay ? await statedSize(db, source.repository, digest) : undefined
    if (stated === undefined) throw error
    sizeBytes = stated
  }
  const everything = { first: 0, last: sizeBytes - 1 }
  const read = ({ range = everything, signal }: ReadOptions) => fetch.read(range, signal)
  return counted(registry, source, { sizeBytes, from: 'upstream', stored: undefined, read })
}

/** Whether the upstream says so; false when it cannot say without sending it. @throws UpstreamFailure */
async function isThere(
  registry: Registry,
  source: UpstreamRepository,
  digest: Digest,
): Promise<boolean> {
  try {
    await stat(registry, source, digest)
    return true
  } catch (error) {
    if (error instanceof UpstreamFailure && error.reason === 'invalid') return false
    throw error
  }
}

/** The same, with what is sent of it counted. */
function counted(
  { pullThrough }: Registry,
  { upstream }: UpstreamRepository,
  blob: PulledBlob,
): PulledBlob {
  const read = (options: ReadOptions) => {
    const { first, last } = options.range ?? { first: 0, last: blob.sizeBytes - 1 }
    pullThrough.activity.served(upstream.rule.name, last - first + 1)
    return blob.read(options)
  }
  return { ...blob, read }
}

/**
 * How large the blob is. None of it is fetched.
 *
 * @throws UpstreamError when it is neither here nor there
 */
export async function statPulledBlob(
  registry: Registry,
  source: UpstreamRepository,
  digest: Digest,
): Promise<Pick<PulledBlob, 'sizeBytes' | 'from'>> {
  const stored = await lookUpBlob(registry, source.repository, digest)
  if (stored !== undefined) return { sizeBytes: stored.sizeBytes, from: 'cache' }
  const sizeBytes = await asking(source, wanted(digest), () => stat(registry, source, digest))
  return { sizeBytes, from: 'upstream' }
}

/** What the upstream says: asked once for all who want to know at the same time. */
function stat(
  { pullThrough }: Registry,
  { upstream, repository, remote }: UpstreamRepository,
  digest: Digest,
): Promise<number> {
  const { flights, patience } = pullThrough
  return flights.join(`size ${repository}@${digest}`, () =>
    within(upstream, patience.content, (signal) =>
      upstream.client.statBlob(remote, digest, { signal }),
    ),
  )
}

function wanted(digest: Digest): Wanted {
  return { what: ` blob ${digest}`, unknown: 'BLOB_UNKNOWN', isKept: false }
}
