import type { Digest } from '../../oci/digest.ts'
import { formatReference, type Reference, type Tag } from '../../oci/reference.ts'
import type { StoredManifest } from '../../storage/metadata/manifests.ts'
import { findUpstreamTag, type UpstreamTag } from '../../storage/metadata/upstream-tags.ts'
import { findByDigest } from '../manifests.ts'
import type { Registry } from '../registry.ts'
import { asking, type Wanted } from './asking.ts'
import { UpstreamError } from './failure.ts'
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
  const { activity } = registry.pullThrough
  const { name } = source.upstream.rule
  registry.uses.manifestUsed(source.repository, pulled.digest)
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
  const kept = await findByDigest(registry, source.repository, digest)
  if (kept !== undefined) return { ...kept, from: 'cache' }
  return asking(source, wanted(reference, false), async (key) => {
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
  const { upstream } = source
  const { staleSeconds } = upstream.rule
  const { fresh, kept } = await findKept(registry, source, tag)
  if (fresh !== undefined) return { ...fresh, from: 'cache' }
  const isKept = kept !== undefined && kept.ageSeconds < staleSeconds
  try {
    return await asking(source, wanted({ kind: 'tag', tag }, isKept), async (key) => {
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

function wanted(reference: Reference, isKept: boolean): Wanted {
  return { what: formatReference(reference), unknown: 'MANIFEST_UNKNOWN', isKept }
}

interface Kept {
  /** What the tag names, when it need not be asked for. */
  readonly fresh: StoredManifest | undefined
  /** What it named when it was last asked for. Of what is fresh it may be left out. */
  readonly kept: UpstreamTag | undefined
}

async function findKept(
  registry: Registry,
  { repository, upstream }: UpstreamRepository,
  tag: Tag,
): Promise<Kept> {
  let kept: UpstreamTag | undefined
  const fresh = await registry.cache.freshTag(repository, tag, async () => {
    kept = await findUpstreamTag(registry.db, repository, tag)
    if (kept === undefined || kept.due) return undefined
    const leftSeconds = upstream.rule.freshSeconds - kept.ageSeconds
    if (leftSeconds <= 0) return undefined
    return { digest: kept.digest, freshUntilMs: performance.now() + leftSeconds * 1000 }
  })
  if (fresh === undefined) return { fresh, kept }
  return { fresh: kept ?? (await findByDigest(registry, repository, fresh.digest)), kept }
}
