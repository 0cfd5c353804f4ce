import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest } from '../../oci/digest.ts'
import type { Reference, Tag } from '../../oci/reference.ts'
import { claimFetch, endFetch } from '../../storage/metadata/fetches.ts'
import { findManifest, type StoredManifest } from '../../storage/metadata/manifests.ts'
import { markTagChecked } from '../../storage/metadata/upstream-tags.ts'
import { UpstreamFailure } from '../../upstream/failure.ts'
import type { Registry } from '../registry.ts'
import { storeManifest } from './store-manifest.ts'
import type { UpstreamRepository } from './upstreams.ts'

/** Longer than the upstream's client takes for a manifest. */
const CLAIM_SECONDS = 25
const POLL_MS = 200

export interface Revalidation {
  readonly tag: Tag
  /** What the tag named when it was last asked for. */
  readonly kept: StoredManifest | undefined
  /** Whether that may still be served when the upstream is not asked. */
  readonly isServable: boolean
  readonly signal: AbortSignal
}

/**
 * Asks the upstream what a tag names, and fetches it if it is not here.
 *
 * @returns `kept` itself when it is still the one
 * @throws UpstreamFailure
 */
export async function revalidateTag(
  registry: Registry,
  source: UpstreamRepository,
  { tag, kept, isServable, signal }: Revalidation,
): Promise<StoredManifest> {
  const { client, rule } = source.upstream
  if (isServable && !client.mayRevalidate) {
    throw new UpstreamFailure(
      'rate limited',
      `${rule.name}: what is left of its rate limit is kept`,
    )
  }
  const reference: Reference = { kind: 'tag', tag }
  const { digest } = await client.statManifest(source.remote, reference, { signal })
  if (digest === undefined) {
    const pulled = await client.getManifest(source.remote, reference, { signal })
    return storeManifest(registry, source, pulled, { tag, expected: undefined })
  }
  if (digest !== kept?.digest) return fetchManifest(registry, source, { digest, tag, signal })
  await markTagChecked(registry.db, source.repository, { tag, digest })
  return kept
}

export interface ManifestFetch {
  readonly digest: Digest
  /** What is to name it from now on. */
  readonly tag: Tag | undefined
  readonly signal: AbortSignal
}

/**
 * Brings a manifest from the upstream, unless it is here or another process brings it.
 *
 * @throws UpstreamFailure
 */
export async function fetchManifest(
  registry: Registry,
  source: UpstreamRepository,
  { digest, tag, signal }: ManifestFetch,
): Promise<StoredManifest> {
  const { db, changes } = registry
  const { fetches } = registry.pullThrough
  const { repository, remote, upstream } = source
  const reference: Reference = { kind: 'digest', digest }
  const key = { upstream: upstream.rule.name, kind: 'manifest', digest } as const
  const claim = { process: fetches.process, seconds: CLAIM_SECONDS }
  for (;;) {
    const there = await findManifest(db, repository, reference)
    if (there !== undefined) {
      const pulled = { bytes: there.bytes, contentType: there.mediaType }
      return tag === undefined
        ? there
        : storeManifest(registry, source, pulled, { tag, expected: digest })
    }
    // Requests for manifests are what rate limits count: of all processes one asks.
    const isMine = changes === undefined || (await claimFetch(db, key, claim)) !== undefined
    if (!isMine) {
      await sleep(POLL_MS, undefined, { signal })
      continue
    }
    try {
      const pulled = await upstream.client.getManifest(remote, reference, { signal })
      return await storeManifest(registry, source, pulled, { tag, expected: digest })
    } finally {
      if (changes !== undefined) await endFetch(db, key, fetches.process).catch(() => {})
    }
  }
}
