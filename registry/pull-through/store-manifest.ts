import { type Digest, splitDigest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'
import { type Manifest, parseManifest } from '../../oci/manifest.ts'
import type { Tag } from '../../oci/reference.ts'
import { transaction } from '../../storage/metadata/database.ts'
import { commitManifest, type StoredManifest } from '../../storage/metadata/manifests.ts'
import { lockRepository, type RepositoryId } from '../../storage/metadata/repositories.ts'
import { lockTags } from '../../storage/metadata/tags.ts'
import { UpstreamFailure } from '../../upstream/failure.ts'
import type { UpstreamManifest } from '../../upstream/upstream.ts'
import { forgetting } from '../metadata-cache.ts'
import type { Registry } from '../registry.ts'
import { inCache, RepositoryGone } from '../repositories.ts'
import { cacheOf, type UpstreamRepository } from './upstreams.ts'

export interface Expectation {
  /** What the upstream says it is; undefined when it does not say. */
  readonly expected: Digest | undefined
  /** Names it from now on. */
  readonly tag: Tag | undefined
}

/**
 * Keeps a manifest as the upstream has it, and points the tag at it: all of it or nothing. Unlike
 * one that is pushed it may name blobs and manifests that are not here; they are fetched when they
 * are asked for.
 *
 * @throws UpstreamFailure when it is no manifest, or not the one that was asked for
 */
export async function storeManifest(
  registry: Registry,
  source: UpstreamRepository,
  pulled: UpstreamManifest,
  { expected, tag }: Expectation,
): Promise<StoredManifest> {
  const manifest = parse(source, pulled, expected)
  const { repository, upstream } = source
  const tags = tag === undefined ? [] : [tag]
  const store = (id: RepositoryId) =>
    transaction(registry.db, async (tx) => {
      const [there] = await Promise.all([lockRepository(tx, id), lockTags(tx, id, tags)])
      if (!there) throw new RepositoryGone()
      await commitManifest(tx, id, {
        ...manifest,
        blobs: [...manifest.blobs, ...manifest.optionalBlobs].map(({ digest }) => digest),
        children: manifest.children.map(({ digest }) => digest),
        tags,
        subjectDigest: manifest.subject?.digest,
        pushedBy: `upstream:${upstream.rule.name}`,
        pulled: true,
      })
    })
  const forget = () => {
    registry.cache.forgetTags(repository, tags)
    registry.cache.forgetManifest(repository, manifest.digest)
  }
  await forgetting(forget, () => inCache(registry, cacheOf(source), store))
  return manifest
}

function parse(
  { upstream }: UpstreamRepository,
  { bytes, contentType }: UpstreamManifest,
  expected: Digest | undefined,
): Manifest {
  const { name } = upstream.rule
  const algorithm = expected === undefined ? 'sha256' : splitDigest(expected).algorithm
  let manifest: Manifest
  try {
    manifest = parseManifest(bytes, contentType, algorithm)
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    const why = error.details.join('; ')
    throw new UpstreamFailure('invalid', `${name}: no manifest: ${why}`, { cause: error })
  }
  if (expected === undefined || expected === manifest.digest) return manifest
  throw new UpstreamFailure('invalid', `${name}: sent ${manifest.digest} for ${expected}`)
}
