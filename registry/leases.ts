import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/errors.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { type Queryable, transaction } from '../storage/metadata/database.ts'
import {
  deleteExpiredLeases,
  deleteLease,
  type Lease,
  listLeases,
  lockLeased,
  upsertLease,
} from '../storage/metadata/leases.ts'
import { findRepositoryRow, lockRepository } from '../storage/metadata/repositories.ts'
import type { PageRequest } from './page.ts'
import type { Registry } from './registry.ts'

export type { Lease }

export interface LeaseRequest {
  readonly repository: RepositoryName
  /** Of a manifest or a blob. */
  readonly digest: Digest
  /** Who needs it, as that one calls itself. */
  readonly holder: string
  /** From now on. */
  readonly seconds: number
  readonly actor: string | undefined
}

/**
 * Keeps a manifest, or a blob, whatever becomes of what names it; of the same holder the lease ends at
 * the new time. What was deleted stays deleted, and can be restored as long.
 *
 * @throws RegistryError NAME_UNKNOWN, MANIFEST_UNKNOWN when the repository has neither a manifest nor a
 *   blob of the digest, UNSUPPORTED with status 409 for a repository that keeps what was pulled
 */
export async function addLease(
  { db }: Pick<Registry, 'db'>,
  { repository, digest, holder, seconds, actor }: LeaseRequest,
): Promise<Lease> {
  return transaction(db, async (tx) => {
    const row = await findRepositoryRow(tx, repository)
    if (row === undefined) throw new RegistryError('NAME_UNKNOWN', repository)
    if (row.upstream !== null) {
      const detail = `${repository} keeps what was pulled from ${row.upstream}: pin it instead`
      throw new RegistryError('UNSUPPORTED', detail, { status: 409 })
    }
    const repositoryId = row.id
    if (!(await lockRepository(tx, repositoryId))) {
      throw new RegistryError('NAME_UNKNOWN', repository)
    }
    if (!(await lockLeased(tx, repositoryId, digest, holder))) {
      throw new RegistryError('MANIFEST_UNKNOWN', `${repository}@${digest}`)
    }
    return upsertLease(tx, { repositoryId, digest, holder, seconds, createdBy: actor })
  })
}

/** One page of leases that are not over, the oldest first; of every repository when none is named. */
export function getLeases(
  { db }: Pick<Registry, 'db'>,
  repository: RepositoryName | undefined,
  page: PageRequest,
): Promise<Lease[]> {
  return listLeases(db, { repository }, page)
}

/**
 * Ends a lease before its time.
 *
 * @throws RegistryError NAME_UNKNOWN, also when there is no such lease
 */
export async function removeLease(
  { db }: Pick<Registry, 'db'>,
  { repository, digest, holder }: Pick<Lease, 'repository' | 'digest' | 'holder'>,
): Promise<void> {
  const row = await findRepositoryRow(db, repository)
  const isGone = row !== undefined && (await deleteLease(db, row.id, { digest, holder }))
  if (isGone) return
  throw new RegistryError('NAME_UNKNOWN', `${holder} has no lease on ${repository}@${digest}`)
}

const BATCH = 1000

/** Drops leases that are over; what only they kept is looked at then. @returns how many */
export async function pruneLeases(db: Queryable): Promise<number> {
  let pruned = 0
  for (;;) {
    const deleted = await deleteExpiredLeases(db, BATCH)
    pruned += deleted
    if (deleted < BATCH) return pruned
  }
}
