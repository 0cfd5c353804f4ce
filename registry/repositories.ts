import { RegistryError } from '../oci/errors.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { isForeignKeyViolation } from '../storage/metadata/database.ts'
import {
  deleteRepository as deleteRepositoryRow,
  ensureCache,
  ensureRepository,
  findRepository,
  findRepositoryRow,
  listRepositories,
  lockRepositoryAlone,
  type NamePatterns,
  type RepositoryId,
  retireRepository,
} from '../storage/metadata/repositories.ts'
import { listTags } from '../storage/metadata/tags.ts'
import { forgetting, type RepositoryKind } from './metadata-cache.ts'
import { type Page, type PageRequest, pageOf } from './page.ts'
import type { Registry } from './registry.ts'
import { type Revoking, revoking } from './revocation.ts'
import { type Deletion, refuseTags } from './tag-rights.ts'

export type { NamePatterns }

const EVERY_TAG = { after: '', limit: 2 ** 31 - 1 }

/** One page of repository names in byte order, of those that `names` lets through. */
export async function getRepositories(
  { db }: Registry,
  request: PageRequest,
  names: NamePatterns,
): Promise<Page<RepositoryName>> {
  return pageOf(request, (page) => listRepositories(db, page, names))
}

/**
 * Deletes a repository with all it holds; blobs that others serve stay theirs. A hosted one can be
 * restored for a while; what was pulled from an upstream can be pulled again.
 *
 * @throws RegistryError NAME_UNKNOWN, DENIED when one of its tags may not be deleted
 */
export async function deleteRepository(
  registry: Revoking,
  repository: RepositoryName,
  { actor, permits }: Deletion,
): Promise<void> {
  const deleted = await revoking(registry, async (tx, revoke) => {
    await revoke({ repository })
    const id = await findRepository(tx, repository)
    if (id === undefined) return false
    await lockRepositoryAlone(tx, id)
    refuseTags((await listTags(tx, repository, EVERY_TAG)) ?? [], permits)
    return (await retireRepository(tx, repository, actor)) || deleteRepositoryRow(tx, repository)
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

/** Whether it is hosted, keeps what is pulled from an upstream, or is not there. */
export function kindOf(
  { db, cache }: Registry,
  repository: RepositoryName,
): Promise<RepositoryKind> | RepositoryKind {
  return cache.kind(repository, async () => {
    const row = await findRepositoryRow(db, repository)
    if (row === undefined) return 'none'
    return row.upstream === null ? 'hosted' : 'cache'
  })
}

/** A remembered repository was deleted meanwhile. */
export class RepositoryGone extends Error {
  override readonly name = 'RepositoryGone'

  constructor() {
    super('the repository was deleted meanwhile')
  }
}

/**
 * Runs `work` with the id of a repository that can be pushed to, which is created when it is new.
 * Ids are remembered; when the repository was deleted meanwhile, `work` runs again with the id
 * of its successor, so it must leave nothing behind when it throws.
 *
 * @throws RegistryError UNAVAILABLE when that goes on, DENIED when it keeps what was pulled from an upstream
 */
export async function inRepository<T>(
  registry: Registry,
  repository: RepositoryName,
  work: (id: RepositoryId) => Promise<T>,
): Promise<T> {
  const { cache } = registry
  for (let tries = 0; tries < TRIES; tries++) {
    const id = cache.repositoryId(repository) ?? (await ensureHosted(registry, repository))
    cache.rememberRepositoryId(repository, id)
    try {
      return await work(id)
    } catch (error) {
      if (!isGone(error)) throw error
      cache.forgetRepositoryId(repository)
    }
  }
  throw isGoneAgain(repository)
}

/** Somebody else deletes it each time. */
const TRIES = 5

async function ensureHosted(
  { db, cache }: Registry,
  repository: RepositoryName,
): Promise<RepositoryId> {
  const row = await findRepositoryRow(db, repository)
  if (row === undefined) {
    const forget = () => cache.forgetKind(repository)
    return forgetting(forget, () => ensureRepository(db, repository))
  }
  if (row.upstream === null) return row.id
  throw new RegistryError('DENIED', `${repository} keeps what was pulled from ${row.upstream}`)
}

/** The same for a repository that keeps what is pulled from an upstream. */
export async function inCache<T>(
  { db, cache }: Registry,
  { repository, upstream }: { readonly repository: RepositoryName; readonly upstream: string },
  work: (id: RepositoryId) => Promise<T>,
): Promise<T> {
  const forget = () => cache.forgetKind(repository)
  for (let tries = 0; tries < TRIES; tries++) {
    const found = await findRepositoryRow(db, repository)
    const id =
      found?.upstream === upstream
        ? found.id
        : await forgetting(forget, () => ensureCache(db, repository, upstream))
    if (id === undefined) throw new RegistryError('DENIED', `${repository} is hosted here by now`)
    try {
      return await work(id)
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }
  throw isGoneAgain(repository)
}

function isGoneAgain(repository: RepositoryName): RegistryError {
  return new RegistryError('UNAVAILABLE', `${repository} is being deleted again and again`)
}

function isGone(error: unknown): boolean {
  return error instanceof RepositoryGone || isForeignKeyViolation(error)
}
