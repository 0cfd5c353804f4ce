import { RegistryError } from '../../oci/errors.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import { markCachePinned, markTagPinned } from '../../storage/metadata/cache-marks.ts'
import type { CacheRepository } from '../../storage/metadata/cached-content.ts'
import { type Queryable, transaction } from '../../storage/metadata/database.ts'
import { findRepositoryRow, lockRepository } from '../../storage/metadata/repositories.ts'
import type { Registry } from '../registry.ts'

/**
 * What a repository keeps of its upstream is not evicted; with a tag, what that tag names, and goes
 * on to name when it moves.
 *
 * @throws RegistryError NAME_UNKNOWN, also for a hosted repository, and MANIFEST_UNKNOWN
 */
export function pin(
  registry: Pick<Registry, 'db'>,
  repository: RepositoryName,
  tag?: Tag,
): Promise<void> {
  return mark(registry, { repository, tag, pinned: true })
}

/** Undoes {@link pin}, of the same. @throws as it does */
export function unpin(
  registry: Pick<Registry, 'db'>,
  repository: RepositoryName,
  tag?: Tag,
): Promise<void> {
  return mark(registry, { repository, tag, pinned: false })
}

interface Pinning {
  readonly repository: RepositoryName
  readonly tag: Tag | undefined
  readonly pinned: boolean
}

async function mark(
  { db }: Pick<Registry, 'db'>,
  { repository, tag, pinned }: Pinning,
): Promise<void> {
  await transaction(db, async (tx) => {
    const { id } = await requireCache(tx, repository)
    // Keeps out who removes what was idle until now.
    if (!(await lockRepository(tx, id))) throw unknownCache(repository)
    if (tag === undefined) {
      await markCachePinned(tx, id, pinned)
      return
    }
    if (!(await markTagPinned(tx, id, tag, pinned))) throw unknownTag(repository, tag)
  })
}

/** @throws RegistryError NAME_UNKNOWN */
export async function requireCache(
  db: Queryable,
  repository: RepositoryName,
): Promise<CacheRepository> {
  const row = await findRepositoryRow(db, repository)
  if (row === undefined || row.upstream === null) throw unknownCache(repository)
  return { id: row.id, name: repository }
}

function unknownCache(repository: RepositoryName): RegistryError {
  return new RegistryError('NAME_UNKNOWN', `nothing is kept of an upstream as ${repository}`)
}

export function unknownTag(repository: RepositoryName, tag: Tag): RegistryError {
  return new RegistryError('MANIFEST_UNKNOWN', `no tag ${tag} is kept of ${repository}`)
}
