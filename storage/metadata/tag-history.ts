/* What tags named before: the events that a trigger writes with each change of a tag. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable } from './database.ts'
import type { RepositoryId } from './repositories.ts'

/** Why a tag was changed when nobody asked for it by its name; null: somebody did. */
type TagEventCause = 'garbage' | 'retention' | 'restore'

export interface TagEvent {
  /** Digits; greater for a later change of the same tag. */
  readonly id: string
  readonly at: Date
  readonly tag: Tag
  /** null: the tag was new. */
  readonly from: Digest | null
  /** null: the tag was deleted. */
  readonly to: Digest | null
  /** null: anonymous, or nobody. */
  readonly actor: string | null
  readonly cause: TagEventCause | null
}

/** One page, the newest first: events with ids below `before`, '' for the first page. */
export async function listTagEvents(
  db: Queryable,
  repositoryId: RepositoryId,
  page: { readonly tag: Tag | undefined; readonly before: string; readonly limit: number },
): Promise<TagEvent[]> {
  const { tag, limit } = page
  const before = page.before === '' ? NEWEST : page.before
  const columns = 'id, at, name as tag, from_digest as "from", to_digest as "to", actor, cause'
  // Rows compared as in the index, which then has to serve: that of ids alone would go through what
  // happened since in all other repositories.
  const { rows } = await db.query<TagEvent>(
    tag === undefined
      ? {
          text: `select ${columns} from tag_events
                 where (repository_id, id) > ($1, 0) and (repository_id, id) < ($1, $2)
                 order by repository_id desc, id desc limit $3`,
          values: [repositoryId, before, limit],
        }
      : {
          text: `select ${columns} from tag_events
                 where (repository_id, name, id) > ($1, $2, 0)
                   and (repository_id, name, id) < ($1, $2, $3)
                 order by repository_id desc, name desc, id desc limit $4`,
          values: [repositoryId, tag, before, limit],
        },
  )
  return rows
}

/** Above every id. */
const NEWEST = '9223372036854775807'

/**
 * What the tag named before it was last moved or deleted. Restoring it counts as no change, so that
 * doing so twice does it once.
 */
export async function findDigestBefore(
  db: Queryable,
  repositoryId: RepositoryId,
  tag: Tag,
): Promise<Digest | undefined> {
  const { rows } = await db.query<{ digest: Digest }>({
    text: `select from_digest as digest from tag_events
           where repository_id = $1 and name = $2 and from_digest is not null
             and cause is distinct from 'restore'
           order by id desc limit 1`,
    values: [repositoryId, tag],
  })
  return rows[0]?.digest
}

/** What the tag named at a time; undefined: it was not there. */
export async function findDigestAt(
  db: Queryable,
  repositoryId: RepositoryId,
  tag: Tag,
  at: Date,
): Promise<Digest | undefined> {
  const { rows } = await db.query<{ digest: Digest | null }>({
    text: `select to_digest as digest from tag_events
           where repository_id = $1 and name = $2 and at <= $3
           order by id desc limit 1`,
    values: [repositoryId, tag, at],
  })
  return rows[0]?.digest ?? undefined
}

/** Whether the tag ever named the digest; any tag when left out. */
export async function hasNamed(
  db: Queryable,
  repositoryId: RepositoryId,
  digest: Digest,
  tag?: Tag,
): Promise<boolean> {
  const { rowCount } = await db.query({
    text: `select from tag_events
           where repository_id = $1 and ($3::text is null or name = $3)
             and (to_digest = $2 or from_digest = $2)
           limit 1`,
    values: [repositoryId, digest, tag],
  })
  return rowCount === 1
}

/** Whether the tag was ever there. */
export async function hasHistory(
  db: Queryable,
  repositoryId: RepositoryId,
  tag: Tag,
): Promise<boolean> {
  const { rowCount } = await db.query({
    text: 'select from tag_events where repository_id = $1 and name = $2 limit 1',
    values: [repositoryId, tag],
  })
  return rowCount === 1
}

export interface RetentionRun {
  /** Inclusive. */
  readonly since: Date
  /** A regular expression of Postgres that names of repositories have to match. */
  readonly pattern: string
}

/** One page, by name, of repositories in which retention deleted tags. */
export async function listRepositoriesOfRun(
  db: Queryable,
  { since, pattern }: RetentionRun,
  page: { readonly after: string; readonly limit: number },
): Promise<RepositoryName[]> {
  const { rows } = await db.query<{ name: RepositoryName }>({
    text: `select r.name from repositories r
           where r.name > $1 and r.name ~ $3 and r.kind = 'hosted' and exists (
             select from tag_events e
             where e.repository_id = r.id and e.cause = 'retention' and e.at >= $4)
           order by r.name limit $2`,
    values: [page.after, page.limit, pattern, since],
  })
  return rows.map((row) => row.name)
}

export interface DeletedTag {
  readonly tag: Tag
  /** What it named. */
  readonly digest: Digest
}

/** The tags that retention deleted in a repository, by name, each with what it named last. */
export async function listTagsOfRun(
  db: Queryable,
  repository: RepositoryName,
  since: Date,
): Promise<DeletedTag[]> {
  const { rows } = await db.query<DeletedTag>({
    text: `select distinct on (e.name) e.name as tag, e.from_digest as digest
           from repositories r
           join tag_events e on e.repository_id = r.id
           where r.name = $1 and e.cause = 'retention' and e.at >= $2
             and e.from_digest is not null and e.to_digest is null
           order by e.name, e.id desc`,
    values: [repository, since],
  })
  return rows
}
