import type { Digest } from '../oci/digest.ts'
import { splitDigest } from '../oci/digest.ts'
import { RegistryError } from '../oci/errors.ts'
import { type Manifest, parseManifest } from '../oci/manifest.ts'
import { formatReference, type Reference, type RepositoryName, type Tag } from '../oci/reference.ts'
import { type Transaction, transaction } from '../storage/metadata/database.ts'
import {
  commitManifest,
  deleteManifest as deleteManifestRow,
  findManifest,
  findParent,
  lockContent,
  promiseManifest as promiseManifestRow,
  type StoredManifest,
} from '../storage/metadata/manifests.ts'
import {
  lockRepository,
  lockRepositoryAlone,
  type RepositoryId,
  unlistIfEmpty,
} from '../storage/metadata/repositories.ts'
import { findTag, lockTags } from '../storage/metadata/tags.ts'
import { untaggedSeconds } from './keeping.ts'
import { forgetting } from './metadata-cache.ts'
import type { Registry } from './registry.ts'
import { inRepository, RepositoryGone, requireRepository } from './repositories.ts'
import { type Revoke, revoking } from './revocation.ts'
import {
  checkMediaType,
  checkTag,
  type Deletion,
  type PermitsTag,
  refuseTags,
} from './tag-rights.ts'

export type { StoredManifest }

/** @throws RegistryError MANIFEST_UNKNOWN */
export async function getManifest(
  registry: Registry,
  repository: RepositoryName,
  reference: Reference,
): Promise<StoredManifest> {
  const manifest =
    reference.kind === 'digest'
      ? await findByDigest(registry, repository, reference.digest)
      : await byTag(registry, repository, reference.tag)
  if (manifest === undefined) {
    throw new RegistryError('MANIFEST_UNKNOWN', `${repository}${formatReference(reference)}`)
  }
  return manifest
}

/**
 * The same for somebody who may be about to list a manifest that he names by its digest: it stays at
 * least for the grace period from now on.
 *
 * @throws RegistryError MANIFEST_UNKNOWN
 */
export async function promiseManifest(
  registry: Registry,
  repository: RepositoryName,
  reference: Reference,
): Promise<StoredManifest> {
  const manifest = await getManifest(registry, repository, reference)
  if (reference.kind === 'tag') return manifest
  const { digest } = manifest
  const promise = () => promiseManifestRow(registry.db, repository, digest)
  if (await registry.promises.keepManifest(repository, digest, promise)) return manifest
  registry.cache.forgetManifest(repository, digest)
  throw new RegistryError('MANIFEST_UNKNOWN', `${repository}@${digest}`)
}

/** Undefined when the repository does not have it. */
export function findByDigest({ db, cache }: Registry, repository: RepositoryName, digest: Digest) {
  return cache.manifest(repository, digest, () =>
    findManifest(db, repository, { kind: 'digest', digest }),
  )
}

async function byTag(registry: Registry, repository: RepositoryName, tag: Tag) {
  const { db, cache, tagReads } = registry
  const digest = await cache.tag(repository, tag, () => tagReads.digestOf(repository, tag))
  if (digest === undefined) return undefined
  // A tag that moved between the two reads, and whose manifest was then deleted, names another one.
  return (
    (await findByDigest(registry, repository, digest)) ??
    findManifest(db, repository, { kind: 'tag', tag })
  )
}

/** What the pusher demands of a tag before it moves. RFC 9110, "If-Match" and "If-None-Match". */
type Precondition = (current: Digest | undefined) => boolean

export interface ManifestPush {
  readonly bytes: Buffer
  /** The Content-Type it came with, '' for none. */
  readonly contentType: string
  /** Further tags for a push by digest (spec, end-7b). */
  readonly tags: readonly Tag[]
  readonly actor: string | undefined
  readonly precondition: Precondition | undefined
  readonly permits: PermitsTag
}

/**
 * Stores a manifest and points its tags at it. All of it happens or nothing.
 *
 * @throws RegistryError MANIFEST_INVALID, DIGEST_INVALID when the bytes do not match the digest
 *   pushed to, MANIFEST_BLOB_UNKNOWN with every digest the repository lacks, DENIED for a tag that
 *   may not be made or moved, and with status 412 when the precondition does not hold
 */
export async function putManifest(
  registry: Registry,
  repository: RepositoryName,
  reference: Reference,
  push: ManifestPush,
): Promise<Manifest> {
  const algorithm = reference.kind === 'digest' ? splitDigest(reference.digest).algorithm : 'sha256'
  const manifest = parseManifest(push.bytes, push.contentType, algorithm)
  if (reference.kind === 'digest' && reference.digest !== manifest.digest) {
    throw new RegistryError('DIGEST_INVALID', `the content is ${manifest.digest}`)
  }
  const tags = reference.kind === 'tag' ? [reference.tag, ...push.tags] : push.tags

  const store = (repositoryId: RepositoryId) =>
    transaction(registry.db, async (tx) => {
      const [there, , edges] = await Promise.all([
        lockRepository(tx, repositoryId, repository),
        lockTags(tx, repositoryId, tags),
        lockEdges(tx, repositoryId, manifest),
      ])
      if (!there) throw new RepositoryGone()
      await checkPrecondition(tx, repository, reference, push.precondition)
      await checkMediaType(tx, { repository, repositoryId, manifest }, push.permits)
      for (const tag of tags) await checkTag(tx, { repository, tag, manifest }, push.permits)
      refuseMissing(edges.missing)
      await registry.faultPoint('manifest locked')
      await commitManifest(tx, repositoryId, {
        ...manifest,
        blobs: edges.blobs,
        children: edges.children,
        tags,
        subjectDigest: manifest.subject?.digest,
        pushedBy: push.actor,
        reviewSeconds: tags.length > 0 ? undefined : untaggedSeconds(registry.keeping, repository),
      })
    })
  const forget = () => {
    registry.cache.forgetTags(repository, tags)
    registry.cache.forgetManifest(repository, manifest.digest)
  }
  await forgetting(forget, () => inRepository(registry, repository, store))
  await registry.faultPoint('manifest committed')
  return manifest
}

async function checkPrecondition(
  tx: Transaction,
  repository: RepositoryName,
  reference: Reference,
  precondition: Precondition | undefined,
): Promise<void> {
  if (precondition === undefined) return
  const current =
    reference.kind === 'tag'
      ? await findTag(tx, repository, reference.tag)
      : (await findManifest(tx, repository, reference))?.digest
  if (precondition(current)) return
  // Which one it is now is for those to know who may pull.
  const what = current === undefined ? 'not there' : 'another one'
  throw new RegistryError('DENIED', `it is ${what} now`, { status: 412 })
}

interface Edges {
  readonly blobs: Digest[]
  readonly children: Digest[]
  /** What the manifest needs and the repository lacks. */
  readonly missing: Digest[]
}

/** Looks up everything the manifest names, and holds what is there until the commit. */
async function lockEdges(
  tx: Transaction,
  repositoryId: RepositoryId,
  manifest: Manifest,
): Promise<Edges> {
  const required = digestsOf(manifest.blobs)
  const optional = digestsOf(manifest.optionalBlobs)
  const children = digestsOf(manifest.children)
  // BuildKit writes indexes whose entries are blobs, so children are looked for in both places.
  const there = await lockContent(
    tx,
    repositoryId,
    [...required, ...optional, ...children],
    children,
  )
  const missing = [
    ...required.filter((digest) => !there.blobs.has(digest)),
    ...children.filter((digest) => !there.manifests.has(digest) && !there.blobs.has(digest)),
  ]
  return {
    missing,
    blobs: [...required, ...optional, ...children.filter((digest) => there.blobs.has(digest))],
    children: children.filter((digest) => there.manifests.has(digest)),
  }
}

function refuseMissing(missing: readonly Digest[]): void {
  if (missing.length > 0) throw new RegistryError('MANIFEST_BLOB_UNKNOWN', [...new Set(missing)])
}

/**
 * Deletes a manifest and every tag that names it. Both can be restored for a while.
 *
 * @throws RegistryError NAME_UNKNOWN, MANIFEST_UNKNOWN, UNSUPPORTED while an index of the
 *   repository lists it: the index would be left half broken; DENIED when a tag of it may not go
 */
export async function deleteManifest(
  registry: Registry,
  repository: RepositoryName,
  digest: Digest,
  { actor, permits }: Deletion,
): Promise<void> {
  const id = await requireRepository(registry, repository)
  const remove = async (tx: Transaction, revoke: Revoke): Promise<Tag[] | undefined> => {
    await revoke({ repository, digest })
    await lockRepositoryAlone(tx, id)
    const deleted = await deleteManifestRow(tx, id, digest, actor)
    refuseTags(deleted ?? [], permits)
    const parent = await findParent(tx, id, digest)
    if (deleted !== undefined && parent !== undefined) {
      throw new RegistryError('UNSUPPORTED', `index ${parent} lists this manifest; delete it first`)
    }
    await unlistIfEmpty(tx, id)
    return deleted
  }
  let tags: Tag[] | undefined
  try {
    tags = await revoking(registry, remove)
  } catch (error) {
    registry.cache.forgetAll() // it may have been committed, and then which tags went is not known
    throw error
  }
  registry.cache.forgetTags(repository, tags ?? [])
  if (tags === undefined) throw new RegistryError('MANIFEST_UNKNOWN', `${repository}@${digest}`)
}

function digestsOf(descriptors: readonly { digest: Digest }[]): Digest[] {
  return descriptors.map((descriptor) => descriptor.digest)
}
