/* When content was asked for last. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Queryable } from './database.ts'

/** Something of a repository that was asked for. */
export interface Use {
  readonly repository: RepositoryName
  readonly digest: Digest
}

/** Seconds that a use may be older than it is recorded to be, for the sake of fewer writes. */
const USE_GRAIN_SECONDS = 600

/** Records uses of now, but not of what was used shortly before, or is being written to. */
export async function recordUses(
  db: Queryable,
  kind: 'blobs' | 'manifests',
  uses: readonly Use[],
): Promise<void> {
  const table = kind === 'blobs' ? 'repository_blobs' : 'manifests'
  await db.query({
    text: `with due as (
             select c.repository_id, c.digest
             from unnest($1::text[], $2::text[]) as u (repository, digest)
             join repositories r on r.name = u.repository
             join ${table} c on c.repository_id = r.id and c.digest = u.digest
             where c.used_at is null or c.used_at < now() - make_interval(secs => $3)
             for no key update of c skip locked
           )
           update ${table} c set used_at = now() from due
           where c.repository_id = due.repository_id and c.digest = due.digest`,
    values: [uses.map((use) => use.repository), uses.map((use) => use.digest), USE_GRAIN_SECONDS],
  })
}
