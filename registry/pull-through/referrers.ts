import { isObject } from '../../oci/descriptor.ts'
import { type Digest, splitDigest } from '../../oci/digest.ts'
import { parseTag } from '../../oci/reference.ts'
import { UpstreamFailure } from '../../upstream/failure.ts'
import { getReferrers, type ReferrersAnswer, type ReferrersRequest } from '../referrers.ts'
import type { Registry } from '../registry.ts'
import { asUpstreamError } from './failure.ts'
import { within } from './patience.ts'
import type { UpstreamRepository } from './upstreams.ts'

export interface PulledReferrers {
  /** As the upstream has them. */
  readonly descriptors: ReferrersAnswer['descriptors'] | readonly unknown[]
  readonly next: string | undefined
  /** Why these are only the referrers that are kept here; undefined when the upstream could be asked. */
  readonly staleBecause?: string | undefined
}

/**
 * What refers to a manifest of the upstream: by its API, or by the fallback tag where it has none
 * (spec, "Referrers Tag Schema"). When it fails, those whose manifests are kept here.
 */
export async function pullReferrers(
  registry: Registry,
  source: UpstreamRepository,
  subject: Digest,
  request: ReferrersRequest,
): Promise<PulledReferrers> {
  try {
    const { patience } = registry.pullThrough
    const all = await within(source.upstream, patience.content, (signal) =>
      askFor(source, subject, signal),
    )
    return {
      descriptors: all.filter((each) => isOfType(each, request.artifactTypes)),
      next: undefined,
    }
  } catch (error) {
    if (!(error instanceof UpstreamFailure)) throw error
    const kept = await getReferrers(registry, source.repository, subject, request)
    if (kept.descriptors.length === 0) throw asUpstreamError(error, 'NAME_UNKNOWN')
    return { ...kept, staleBecause: error.message }
  }
}

async function askFor(
  { upstream, remote }: UpstreamRepository,
  subject: Digest,
  signal: AbortSignal,
): Promise<readonly unknown[]> {
  const { client } = upstream
  const found = await client.listReferrers(remote, subject, { signal })
  if (found !== undefined) return found
  const tag = fallbackTag(subject)
  try {
    const { bytes } = await client.getManifest(remote, { kind: 'tag', tag }, { signal })
    const index: unknown = JSON.parse(bytes.toString('utf8'))
    return isObject(index) && Array.isArray(index['manifests']) ? index['manifests'] : []
  } catch (error) {
    if (error instanceof SyntaxError) return []
    if (error instanceof UpstreamFailure && error.reason === 'unknown') return []
    throw error
  }
}

function fallbackTag(subject: Digest) {
  const { algorithm, hex } = splitDigest(subject)
  return parseTag(`${algorithm.slice(0, 32)}-${hex.slice(0, 64)}`)
}

function isOfType(descriptor: unknown, types: readonly string[]): boolean {
  if (types.length === 0) return true
  return isObject(descriptor) && types.includes(String(descriptor['artifactType']))
}
