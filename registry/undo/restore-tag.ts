import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable, Transaction } from '../../storage/metadata/database.ts'
import {
  findRepositoryRow,
  lockRepository,
  type RepositoryId,
} from '../../storage/metadata/repositories.ts'
import { putRestoredTag, reviewRestored } from '../../storage/metadata/restoring.ts'
import {
  findDigestAt,
  findDigestBefore,
  hasHistory,
  hasNamed,
} from '../../storage/metadata/tag-history.ts'
import { findTag, listTagsOfManifest, lockTags } from '../../storage/metadata/tags.ts'
import { untaggedSeconds } from '../keeping.ts'
import { type Revoke, revoking } from '../revocation.ts'
import type { PermitsTag } from '../tag-rights.ts'
import { type Restored, type Restoring, restoreContent } from './restore-content.ts'

export interface TagRestore {
  /** A digest that the tag named before. */
  readonly to?: Digest | undefined
  /** What the tag named at that time; without either what it named before its last change. */
  readonly at?: Date | undefined
  /** Leave a tag alone that is there. */
  readonly onlyMissing?: boolean
  readonly actor: string | undefined
  readonly permits: PermitsTag
}

export interface RestoredTag {
  readonly digest: Digest
  /** False: it named that already. */
  readonly isChanged: boolean
  /** Manifests that came back with it. */
  readonly manifests: number
}

/**
 * Lets a tag name again what it named before, with all that is needed to pull it. All of it happens or
 * nothing.
 *
 * @throws RegistryError NAME_UNKNOWN, MANIFEST_UNKNOWN that says whether it never was so or is over,
 *   MANIFEST_BLOB_UNKNOWN with status 409, DENIED for a tag that may not be made or moved, and for a
 *   repository that keeps what was pulled; UNSUPPORTED with status 409 for a tag that was to be missing
 */
export function restoreTag(
  registry: Restoring,
  repository: RepositoryName,
  tag: Tag,
  restore: TagRestore,
): Promise<RestoredTag> {
  return revoking(registry, (tx, revoke) =>
    restoreTagWithin(tx, revoke, registry, { ...restore, repository, tag }),
  )
}

export interface NamedTagRestore extends TagRestore {
  readonly repository: RepositoryName
  readonly tag: Tag
}

/** The same within a transaction that does nothing else. */
export async function restoreTagWithin(
  tx: Transaction,
  revoke: Revoke,
  registry: Restoring,
  restore: NamedTagRestore,
): Promise<RestoredTag> {
  const { repository, tag, actor } = restore
  const repositoryId = await lockHosted(tx, revoke, repository)
  await lockTags(tx, repositoryId, [tag])
  const current = await findTag(tx, repository, tag)
  refuse(restore, current)
  const digest = await resolve(tx, repositoryId, restore)
  const restored = await restoreContent(tx, registry, { repositoryId, repository, digest })
  const isChanged = digest !== current
  if (isChanged) {
    await putRestoredTag(tx, { repositoryId, tag, manifestId: restored.id, actor })
  }
  return { digest, isChanged, manifests: restored.count }
}

/**
 * Restores a manifest that was deleted by its digest, without a tag: it stays as long as one that was
 * pushed so.
 *
 * @returns how many manifests came back; 0: it was there
 * @throws RegistryError as {@link restoreTag}
 */
export function restoreManifest(
  registry: Restoring,
  repository: RepositoryName,
  digest: Digest,
): Promise<number> {
  return revoking(registry, async (tx, revoke) => {
    const repositoryId = await lockHosted(tx, revoke, repository)
    const restored = await restoreContent(tx, registry, { repositoryId, repository, digest })
    if (restored.count > 0)
      await review(tx, registry, { repository, repositoryId, digest }, restored)
    return restored.count
  })
}

interface Place {
  readonly repository: RepositoryName
  readonly repositoryId: RepositoryId
  readonly digest: Digest
}

async function review(
  tx: Transaction,
  { keeping }: Restoring,
  { repository, repositoryId, digest }: Place,
  { id }: Restored,
): Promise<void> {
  const seconds = untaggedSeconds(keeping, repository)
  const tags = await listTagsOfManifest(tx, repositoryId, digest)
  if (seconds !== undefined && tags.length === 0) await reviewRestored(tx, id, seconds)
}

/** @throws RegistryError NAME_UNKNOWN, DENIED */
async function lockHosted(
  tx: Transaction,
  revoke: Revoke,
  repository: RepositoryName,
): Promise<RepositoryId> {
  const id = await requireHosted(tx, repository)
  // All of it: what other tags named may be told by who remembers that they were not there.
  await revoke({ repository })
  if (!(await lockRepository(tx, id))) throw new RegistryError('NAME_UNKNOWN', repository)
  return id
}

/** @throws RegistryError NAME_UNKNOWN, DENIED for a repository that keeps what was pulled */
async function requireHosted(db: Queryable, repository: RepositoryName): Promise<RepositoryId> {
  const row = await findRepositoryRow(db, repository)
  if (row === undefined) throw new RegistryError('NAME_UNKNOWN', repository)
  if (row.upstream === null) return row.id
  throw new RegistryError('DENIED', `${repository} keeps what was pulled from ${row.upstream}`)
}

/** Before anything is said of its history. @throws RegistryError DENIED, UNSUPPORTED with status 409 */
function refuse(
  { tag, permits, onlyMissing = false }: NamedTagRestore,
  current: Digest | undefined,
): void {
  if (current === undefined ? !permits('push', tag) : !permits('overwrite', tag)) {
    const what = current === undefined ? 'may not be made' : 'exists, and may not be moved'
    throw new RegistryError('DENIED', `tag ${tag} ${what}`)
  }
  if (current === undefined || !onlyMissing) return
  throw new RegistryError('UNSUPPORTED', `tag ${tag} is there`, { status: 409 })
}

/** What the tag is to name. @throws RegistryError MANIFEST_UNKNOWN */
async function resolve(
  tx: Transaction,
  repositoryId: RepositoryId,
  { repository, tag, to, at }: NamedTagRestore,
): Promise<Digest> {
  const unknown = (why: string) =>
    new RegistryError('MANIFEST_UNKNOWN', `${repository}:${tag} ${why}`)
  if (to !== undefined) {
    if (await hasNamed(tx, repositoryId, to, tag)) return to
    throw unknown(`never named ${to}`)
  }
  const digest =
    at === undefined
      ? await findDigestBefore(tx, repositoryId, tag)
      : await findDigestAt(tx, repositoryId, tag, at)
  if (digest !== undefined) return digest
  if (at !== undefined) throw unknown(`was not there at ${at.toISOString()}`)
  if (await hasHistory(tx, repositoryId, tag)) throw unknown('named nothing else before')
  throw unknown('never was there')
}
