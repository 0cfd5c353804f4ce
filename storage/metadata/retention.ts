/* What retention judges, and what it takes out; `retention-runs.ts` has what it said and did. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable, Transaction } from './database.ts'
import type { RepositoryId } from './repositories.ts'

export interface HostedRepository {
  readonly id: RepositoryId
  readonly name: RepositoryName
}

/** One page of the repositories that are pushed to, in byte order, those after `after`. */
export async function listHostedRepositories(
  db: Queryable,
  page: { readonly after: string; readonly limit: number },
): Promise<HostedRepository[]> {
  const { rows } = await db.query<HostedRepository>({
    text: `select id, name from repositories
           where kind = 'hosted' and name > $1
           order by name limit $2`,
    values: [page.after, page.limit],
  })
  return rows
}

/** A tag as it stands. */
export interface StandingTag {
  readonly tag: Tag
  readonly digest: Digest
  /** Another one when the tag has been pushed since, to the same digest too. */
  readonly version: string
  /** When it was pushed last. */
  readonly pushedAt: Date
  /** When its manifest was pulled last, as far as it has been recorded; null: never. */
  readonly pulledAt: Date | null
  /** A lease is on its manifest, or on one that it lists. */
  readonly isLeased: boolean
}

const STANDING = `select t.name as tag, m.digest,
    (extract(epoch from t.updated_at) * 1000000)::bigint::text || ' ' || t.manifest_id as version,
    t.updated_at as "pushedAt", m.used_at as "pulledAt",
    exists (
      select from leases l
      where l.repository_id = t.repository_id and l.expires_at > now()
        and (l.digest = m.digest
          or l.digest in (select c.digest from manifest_children c where c.manifest_id = m.id))
    ) as "isLeased"
  from tags t join manifests m on m.id = t.manifest_id`

/** One page of the repository's tags in byte order, those after `after`. */
export async function listStandingTags(
  db: Queryable,
  repositoryId: RepositoryId,
  page: { readonly after: string; readonly limit: number },
): Promise<StandingTag[]> {
  const { rows } = await db.query<StandingTag>({
    text: `${STANDING} where t.repository_id = $1 and t.name > $2 order by t.name limit $3`,
    values: [repositoryId, page.after, page.limit],
  })
  return rows
}

/** Those of the tags that are still there. */
export async function findStandingTags(
  db: Queryable,
  repositoryId: RepositoryId,
  tags: readonly Tag[],
): Promise<StandingTag[]> {
  const { rows } = await db.query<StandingTag>({
    text: `${STANDING} where t.repository_id = $1 and t.name = any($2)`,
    values: [repositoryId, tags],
  })
  return rows
}

export interface NewestTags {
  /** Regular expressions of Postgres, as of globs: of the tags, and of those that do not count. */
  readonly among: string
  readonly except: readonly string[]
  readonly limit: number
}

/** The tags that were pushed last, the newest first. It reads all of the repository: 0.2 s for 100,000. */
export async function listNewestTags(
  db: Queryable,
  repositoryId: RepositoryId,
  { among, except, limit }: NewestTags,
): Promise<Tag[]> {
  const { rows } = await db.query<{ name: Tag }>({
    text: `select name from tags
           where repository_id = $1 and name ~ $2 and name !~ all ($3)
           order by updated_at desc, name limit $4`,
    values: [repositoryId, among, except, limit],
  })
  return rows.map((row) => row.name)
}

/** Up to where the history of the repository's tags has been written. */
export async function findLastChange(db: Queryable, repositoryId: RepositoryId): Promise<string> {
  const { rows } = await db.query<{ last: string }>({
    text: `select coalesce(max(e.id), 0)::text as last from tag_events e where e.repository_id = $1`,
    values: [repositoryId],
  })
  return rows[0]!.last
}

/** Whether anybody but retention has deleted a tag since. */
export async function areTagsDeletedSince(
  db: Queryable,
  repositoryId: RepositoryId,
  change: string,
): Promise<boolean> {
  const { rowCount } = await db.query({
    text: `select from tag_events
           where repository_id = $1 and id > $2 and to_digest is null
             and cause is distinct from 'retention'
           limit 1`,
    values: [repositoryId, change],
  })
  return rowCount === 1
}

/** Deletes tags, and leaves what they name. @returns those that were there */
export async function deleteTagsForRetention(
  tx: Transaction,
  repositoryId: RepositoryId,
  tags: readonly Tag[],
  actor: string | undefined,
): Promise<Tag[]> {
  // Read by the trigger that writes the history of the tags.
  await tx.query({
    text: `select set_config('slipway.actor', $1, true), set_config('slipway.cause', 'retention', true)`,
    values: [actor ?? ''],
  })
  const { rows } = await tx.query<{ name: Tag }>({
    text: 'delete from tags where repository_id = $1 and name = any($2) returning name',
    values: [repositoryId, tags],
  })
  return rows.map((row) => row.name)
}

/** The time of the database, which is that of everything it has recorded. */
export async function currentTime(db: Queryable): Promise<Date> {
  const { rows } = await db.query<{ now: Date }>({ text: 'select now() as now' })
  return rows[0]!.now
}
