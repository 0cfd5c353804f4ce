import type { Digest } from '../../oci/digest.ts'
import { formatReference, type Reference, type Tag } from '../../oci/reference.ts'
import { findManifest, type StoredManifest } from '../../storage/metadata/manifests.ts'
import { findUpstreamTag } from '../../storage/metadata/upstream-tags.ts'
import { UpstreamFailure } from '../../upstream/failure.ts'
import type { Registry } from '../registry.ts'
import { asUpstreamError, UpstreamError } from './failure.ts'
import { fetchManifest, revalidateTag } from './fetch-manifest.ts'
import { soon } from './patience.ts'
import type { UpstreamRepository } from './upstreams.ts'

/** A manifest of an upstream, byte by byte as the upstream has it. */
export interface PulledManifest extends StoredManifest {
  /** Where it is from: kept here, or asked for just now. */
  readonly from: 'cache' | 'upstream'
  /** Why the upstream could not say whether it is still the one; undefined when it could. */
  readonly staleBecause?: string | undefined
}

/** @throws UpstreamError when it is neither here nor to be had */
export async function pullManifest(
  registry: Registry,
  source: UpstreamRepository,
  reference: Reference,
): Promise<PulledManifest> {
  const pulled =
    reference.kind === 'digest'
      ? await byDigest(registry, source, reference.digest)
      : await byTag(registry, source, reference.tag)
  const { activity, uses } = registry.pullThrough
  const { name } = source.upstream.rule
  uses.manifestUsed(source.repository, pulled.digest)
  if (pulled.staleBecause !== undefined) activity.stale(name)
  if (pulled.from === 'cache') activity.hit(name)
  else activity.miss(name)
  activity.served(name, pulled.bytes.length)
  return pulled
}

/** A digest names the same bytes for ever: once kept, the upstream is never asked again. */
async function byDigest(
  registry: Registry,
  source: UpstreamRepository,
  digest: Digest,
): Promise<PulledManifest> {
  const { flights, patience } = registry.pullThrough
  const reference: Reference = { kind: 'digest', digest }
  const find = () => findManifest(registry.db, source.repository, reference)
  const kept = await registry.cache.manifest(source.repository, digest, find)
  if (kept !== undefined) return { ...kept, from: 'cache' }
  return asking(source, reference, { isKept: false }, async (key) => {
    const fetched = flights.join(key, (signal) =>
      fetchManifest(registry, source, { digest, tag: undefined, signal }),
    )
    return { ...(await soon(fetched, patience.missing, source.upstream)), from: 'upstream' }
  })
}

async function byTag(
  registry: Registry,
  source: UpstreamRepository,
  tag: Tag,
): Promise<PulledManifest> {
  const { flights, patience } = registry.pullThrough
  const { upstream, repository } = source
  const { staleSeconds } = upstream.rule
  const fresh = await findFresh(registry, source, tag)
  if (fresh !== undefined) return { ...fresh, from: 'cache' }
  const kept = await findUpstreamTag(registry.db, repository, tag)
  const isKept = kept !== undefined && kept.ageSeconds < staleSeconds
  try {
    return await asking(source, { kind: 'tag', tag }, { isKept }, async (key) => {
      const asked = flights.join(key, (signal) =>
        revalidateTag(registry, source, { tag, kept, isServable: isKept, signal }),
      )
      const found = await soon(asked, isKept ? patience.kept : patience.missing, upstream)
      return { ...found, from: found.digest === kept?.digest ? 'cache' : 'upstream' }
    })
  } catch (error) {
    if (!isKept || !(error instanceof UpstreamError)) throw error
    return { ...kept, from: 'cache', staleBecause: error.details.join('; ') }
  }
}

/** What the tag names, if it need not be asked for. */
async function findFresh(
  { db, cache }: Registry,
  { repository, upstream }: UpstreamRepository,
  tag: Tag,
): Promise<StoredManifest | undefined> {
  let read: StoredManifest | undefined
  const fresh = await cache.freshTag(repository, tag, async () => {
    const kept = await findUpstreamTag(db, repository, tag)
    const leftSeconds = upstream.rule.freshSeconds - (kept?.ageSeconds ?? Number.POSITIVE_INFINITY)
    if (kept === undefined || kept.due || leftSeconds <= 0) return undefined
    read = kept
    return { digest: kept.digest, freshUntilMs: performance.now() + leftSeconds * 1000 }
  })
  if (fresh === undefined || read !== undefined) return read
  const reference: Reference = { kind: 'digest', digest: fresh.digest }
  return cache.manifest(repository, fresh.digest, () => findManifest(db, repository, reference))
}

/**
 * Turns the upstream's failures into what a client is told, and remembers them: for a short time
 * the same is not asked again.
 */
async function asking<T>(
  source: UpstreamRepository,
  reference: Reference,
  { isKept }: { readonly isKept: boolean },
  work: (key: string) => Promise<T>,
): Promise<T> {
  const { upstream, repository } = source
  const key = repository + formatReference(reference)
  try {
    upstream.refuse(key)
    return await work(key)
  } catch (error) {
    if (!(error instanceof UpstreamFailure)) throw error
    upstream.remember(key, error, { isKept })
    throw asUpstreamError(error, 'MANIFEST_UNKNOWN')
  }
}
