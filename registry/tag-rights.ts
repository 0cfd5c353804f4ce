import { RegistryError } from '../oci/errors.ts'
import type { Manifest } from '../oci/manifest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { Transaction } from '../storage/metadata/database.ts'
import { findManifest } from '../storage/metadata/manifests.ts'
import type { RepositoryId } from '../storage/metadata/repositories.ts'
import { findTag, listTagsOfManifest } from '../storage/metadata/tags.ts'
import { statesMediaType } from './metadata-cache.ts'

/** Whether who asks may make the tag, move it to another digest, or delete it. */
export type PermitsTag = (action: 'push' | 'overwrite' | 'delete', tag: Tag) => boolean

/** Who deletes something, and which tags may go with it. */
export interface Deletion {
  readonly actor: string | undefined
  readonly permits: PermitsTag
}

export interface TagMove {
  readonly repository: RepositoryName
  readonly tag: Tag
  readonly manifest: Manifest
}

/**
 * With the lock on the tag held: what it names now stays what it names.
 *
 * @throws RegistryError DENIED when the tag may not be made or moved
 */
export async function checkTag(
  tx: Transaction,
  { repository, tag, manifest }: TagMove,
  permits: PermitsTag,
): Promise<void> {
  const [mayMake, mayMove] = [permits('push', tag), permits('overwrite', tag)]
  if (mayMake && mayMove) return
  const current = await findTag(tx, repository, tag)
  if (current === manifest.digest || (current === undefined ? mayMake : mayMove)) return
  const what = current === undefined ? 'may not be made' : 'exists, and may not be moved'
  throw new RegistryError('DENIED', `tag ${tag} ${what}`)
}

export interface Retyping {
  readonly repository: RepositoryName
  readonly repositoryId: RepositoryId
  readonly manifest: Manifest
}

/**
 * A manifest that does not state its media type takes that of its next push, and so would what its
 * tags name.
 *
 * @throws RegistryError DENIED when one of them may not be moved
 */
export async function checkMediaType(
  tx: Transaction,
  { repository, repositoryId, manifest }: Retyping,
  permits: PermitsTag,
): Promise<void> {
  if (statesMediaType(manifest)) return
  const { digest } = manifest
  const there = await findManifest(tx, repository, { kind: 'digest', digest })
  if (there === undefined || there.mediaType === manifest.mediaType) return
  const tags = await listTagsOfManifest(tx, repositoryId, digest)
  const kept = tags.find((tag) => !permits('overwrite', tag))
  if (kept === undefined) return
  throw new RegistryError('DENIED', `tag ${kept} would become another type, and may not be moved`)
}

/** @throws RegistryError DENIED when one of the tags may not be deleted */
export function refuseTags(tags: readonly Tag[], permits: PermitsTag): void {
  const kept = tags.find((tag) => !permits('delete', tag))
  if (kept !== undefined) throw new RegistryError('DENIED', `tag ${kept} may not be deleted`)
}
