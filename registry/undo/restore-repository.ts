import { RegistryError } from '../../oci/errors.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable, Transaction } from '../../storage/metadata/database.ts'
import {
  type DeletedRepository,
  listDeletedRepositories as listDeletedRepositoryRows,
  listEveryTag,
  lockDeletedRepository,
  nameRepository,
  wasDeleted,
} from '../../storage/metadata/deleted-repositories.ts'
import { findRepository, type NamePatterns } from '../../storage/metadata/repositories.ts'
import type { PageRequest } from '../page.ts'
import { revoking } from '../revocation.ts'
import type { Restoring } from './restore-content.ts'

export type { DeletedRepository }

/** One page, by name, of repositories that can be restored, of those that `names` lets through. */
export function getDeletedRepositories(
  { db, keeping }: Pick<Restoring, 'db' | 'keeping'>,
  page: PageRequest,
  names: NamePatterns,
): Promise<DeletedRepository[]> {
  return listDeletedRepositoryRows(db, page, keeping.undoSeconds, names)
}

export interface RepositoryRestore {
  /** Another name than it had. */
  readonly as?: RepositoryName | undefined
  /** Whether each of its tags may be there again. */
  readonly permits: (tag: Tag) => boolean
}

/**
 * Gives the repository of the name that was deleted last its name back, or another one, with all that
 * it held.
 *
 * @throws RegistryError NAME_UNKNOWN that says whether the time is over, DENIED for one of its tags, and
 *   UNSUPPORTED with status 409 when the name is taken by now
 */
export async function restoreRepository(
  registry: Restoring,
  repository: RepositoryName,
  { as = repository, permits }: RepositoryRestore,
): Promise<void> {
  await revoking(registry, async (tx, revoke) => {
    await revoke({ repository })
    const id = await lockDeletedRepository(tx, repository, registry.keeping.undoSeconds)
    if (id === undefined) throw await unknown(tx, repository)
    await refuseTaken(tx, as)
    const denied = (await listEveryTag(tx, id)).find((tag) => !permits(tag))
    if (denied !== undefined) throw new RegistryError('DENIED', `tag ${denied} may not be made`)
    await registry.faultPoint('manifest locked')
    if (!(await nameRepository(tx, id, as))) throw taken(as)
  })
}

async function refuseTaken(db: Queryable, name: RepositoryName): Promise<void> {
  if ((await findRepository(db, name)) !== undefined) throw taken(name)
}

function taken(name: RepositoryName): RegistryError {
  return new RegistryError('UNSUPPORTED', `the name ${name} is taken`, { status: 409 })
}

async function unknown(tx: Transaction, name: RepositoryName): Promise<RegistryError> {
  const why = (await wasDeleted(tx, name))
    ? 'the time in which it could be restored is over'
    : 'no repository of that name was deleted, or it is gone'
  return new RegistryError('NAME_UNKNOWN', `${name}: ${why}`)
}
