/* What operators mark of what is kept of upstreams: to stay, and to be asked for again. */
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable } from './database.ts'
import type { RepositoryId } from './repositories.ts'

/** All that a repository of an upstream keeps stays, or does no longer. */
export async function markCachePinned(
  db: Queryable,
  id: RepositoryId,
  pinned: boolean,
): Promise<boolean> {
  const { rowCount } = await db.query({
    text: `update repositories set pinned = $2 where id = $1 and kind = 'cache'`,
    values: [id, pinned],
  })
  return rowCount === 1
}

/** What the tag names stays, or does no longer. @returns false when there is no such tag */
export async function markTagPinned(
  db: Queryable,
  id: RepositoryId,
  tag: Tag,
  pinned: boolean,
): Promise<boolean> {
  const { rowCount } = await db.query({
    text: 'update tags set pinned = $3 where repository_id = $1 and name = $2',
    values: [id, tag, pinned],
  })
  return rowCount === 1
}

/** Which tags of caches are meant; each further field narrows it. */
export interface TagsOfCaches {
  readonly upstream?: string
  readonly repository?: RepositoryName
  readonly tag?: Tag
}

/**
 * Lets some tags, at most `limit`, be asked for again at their next pull, however fresh they are.
 *
 * @returns how many it did; fewer than `limit`: none is left
 */
export async function markTagsDue(
  db: Queryable,
  { upstream, repository, tag }: TagsOfCaches,
  limit: number,
): Promise<number> {
  const { rowCount } = await db.query({
    text: `with fresh as (
             select t.repository_id, t.name
             from repositories r
             join tags t on t.repository_id = r.id
             where r.kind = 'cache' and not t.due
               and ($1::text is null or r.upstream = $1)
               and ($2::text is null or r.name = $2)
               and ($3::text is null or t.name = $3)
             order by t.repository_id, t.name limit $4
             for no key update of t
           )
           update tags t set due = true from fresh
           where t.repository_id = fresh.repository_id and t.name = fresh.name`,
    values: [upstream, repository, tag, limit],
  })
  return rowCount ?? 0
}
