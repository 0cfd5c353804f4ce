import { RegistryError } from '../oci/errors.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { isForeignKeyViolation } from '../storage/metadata/database.ts'
import {
  deleteRepository as deleteRepositoryRow,
  ensureRepository,
  findRepository,
  listRepositories,
  type RepositoryId,
} from '../storage/metadata/repositories.ts'
import { type Page, type PageRequest, pageOf } from './page.ts'
import type { Registry } from './registry.ts'
import { revoking } from './revocation.ts'

/** One page of repository names in byte order. */
export async function getRepositories(
  { db }: Registry,
  request: PageRequest,
): Promise<Page<RepositoryName>> {
  return pageOf(request, (page) => listRepositories(db, page))
}

/**
 * Deletes a repository with all it holds; blobs that others serve stay theirs.
 *
 * @throws RegistryError NAME_UNKNOWN
 */
export async function deleteRepository(
  registry: Registry,
  repository: RepositoryName,
): Promise<void> {
  const deleted = await revoking(registry, async (tx, revoke) => {
    await revoke({ repository })
    return deleteRepositoryRow(tx, repository)
  })
  if (!deleted) throw new RegistryError('NAME_UNKNOWN', repository)
}

/** @throws RegistryError NAME_UNKNOWN */
export async function requireRepository(
  { db }: Registry,
  repository: RepositoryName,
): Promise<RepositoryId> {
  const id = await findRepository(db, repository)
  if (id === undefined) throw new RegistryError('NAME_UNKNOWN', repository)
  return id
}

/** A remembered repository was deleted meanwhile. */
export class RepositoryGone extends Error {
  override readonly name = 'RepositoryGone'

  constructor() {
    super('the repository was deleted meanwhile')
  }
}

/**
 * Runs `work` with the id of a repository, which is created when it is new. Ids are remembered;
 * when the repository was deleted meanwhile, `work` runs once more with the id of its successor,
 * so it must leave nothing behind when it throws.
 */
export async function inRepository<T>(
  { db, cache }: Registry,
  repository: RepositoryName,
  work: (id: RepositoryId) => Promise<T>,
): Promise<T> {
  const remembered = cache.repositoryId(repository)
  if (remembered !== undefined) {
    try {
      return await work(remembered)
    } catch (error) {
      if (!(error instanceof RepositoryGone) && !isForeignKeyViolation(error)) throw error
      cache.forgetRepositoryId(repository)
    }
  }
  const id = (await findRepository(db, repository)) ?? (await ensureRepository(db, repository))
  cache.rememberRepositoryId(repository, id)
  return work(id)
}
