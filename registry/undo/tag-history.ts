import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable } from '../../storage/metadata/database.ts'
import { findRepositoryRow, type RepositoryId } from '../../storage/metadata/repositories.ts'
import { findManifestIds } from '../../storage/metadata/restoring.ts'
import { listTagEvents, type TagEvent } from '../../storage/metadata/tag-history.ts'
import { judge } from '../garbage/judge.ts'
import type { KeepingTerms } from '../keeping.ts'
import type { Restoring } from './restore-content.ts'

/** A digest that a tag named, and whether it can name it again. */
export interface NamedDigest {
  readonly digest: Digest
  readonly isRestorable: boolean
  /** Until when; undefined: as long as something names it, or never. */
  readonly until: Date | undefined
}

export interface TagChange extends Omit<TagEvent, 'from' | 'to'> {
  /** Undefined: the tag was new. */
  readonly from: NamedDigest | undefined
  /** Undefined: the tag was deleted. */
  readonly to: NamedDigest | undefined
}

export interface TagHistoryRequest {
  /** Of all tags when left out. */
  readonly tag?: Tag | undefined
  /** The id of the last change of the page before, '' to begin. */
  readonly before: string
  readonly limit: number
}

/**
 * One page of what was changed, the newest first.
 *
 * @throws RegistryError NAME_UNKNOWN
 */
export async function getTagHistory(
  { db, keeping }: Pick<Restoring, 'db' | 'keeping'>,
  repository: RepositoryName,
  { tag, before, limit }: TagHistoryRequest,
): Promise<TagChange[]> {
  const row = await findRepositoryRow(db, repository)
  if (row === undefined) throw new RegistryError('NAME_UNKNOWN', repository)
  const events = await listTagEvents(db, row.id, { tag, before, limit })
  const named = events.flatMap(({ from, to }) => [from, to]).filter((digest) => digest !== null)
  const digests = [...new Set(named)]
  // What was pulled is not restored, but pulled again.
  const kept = row.upstream === null ? await findKept(db, keeping, row.id, digests) : new Map()
  const show = (digest: Digest | null): NamedDigest | undefined =>
    digest === null
      ? undefined
      : (kept.get(digest) ?? { digest, isRestorable: false, until: undefined })
  return events.map((event) => ({ ...event, from: show(event.from), to: show(event.to) }))
}

/** Those of the digests that can be restored. */
async function findKept(
  db: Queryable,
  keeping: KeepingTerms,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<Map<Digest, NamedDigest>> {
  const ids = await findManifestIds(db, repositoryId, digests)
  const judged = await judge(
    db,
    keeping,
    ids.map(({ id }) => id),
  )
  const kept = judged.flatMap(({ manifest: { digest, isDeleted }, keeping: seconds }) => {
    // One that nobody deleted can be named as long as it was not collected.
    const isRestorable = !isDeleted || seconds !== 0
    const until = seconds === 'named' ? undefined : new Date(Date.now() + seconds * 1000)
    return isRestorable ? [[digest, { digest, isRestorable, until }] as const] : []
  })
  return new Map(kept)
}
