import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable, Transaction } from './database.ts'
import type { RepositoryId } from './repositories.ts'

/** One page of tag names in byte order, those after `after`; undefined for no such repository. */
export async function listTags(
  db: Queryable,
  repository: RepositoryName,
  page: { readonly after: string; readonly limit: number },
): Promise<Tag[] | undefined> {
  const { rows } = await db.query<{ tags: Tag[] }>({
    name: 'list_tags',
    text: `select array(
             select name from tags t
             where t.repository_id = r.id and t.name > $2
             order by name limit $3
           ) as tags
           from repositories r where r.name = $1`,
    values: [repository, page.after, page.limit],
  })
  return rows[0]?.tags
}

/** The digest a tag names right now. */
export async function findTag(
  db: Queryable,
  repository: RepositoryName,
  tag: Tag,
): Promise<Digest | undefined> {
  const { rows } = await db.query<{ digest: Digest }>({
    name: 'find_tag',
    text: `select m.digest
           from repositories r
           join tags t on t.repository_id = r.id and t.name = $2
           join manifests m on m.id = t.manifest_id
           where r.name = $1`,
    values: [repository, tag],
  })
  return rows[0]?.digest
}

export interface NamedTag {
  readonly repository: RepositoryName
  readonly tag: Tag
}

/** The same for many at once, in their order; undefined for those that are not there. */
export async function findTags(
  db: Queryable,
  tags: readonly NamedTag[],
): Promise<(Digest | undefined)[]> {
  const { rows } = await db.query<{ place: number; digest: Digest }>({
    name: 'find_tags',
    text: `select asked.place::int, m.digest
           from unnest($1::text[], $2::text[]) with ordinality as asked (repository, tag, place)
           join repositories r on r.name = asked.repository
           join tags t on t.repository_id = r.id and t.name = asked.tag
           join manifests m on m.id = t.manifest_id`,
    values: [tags.map(({ repository }) => repository), tags.map(({ tag }) => tag)],
  })
  const found: (Digest | undefined)[] = tags.map(() => undefined)
  for (const { place, digest } of rows) found[place - 1] = digest
  return found
}

/** The tags that name a manifest, in byte order. */
export async function listTagsOfManifest(
  db: Queryable,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<Tag[]> {
  const { rows } = await db.query<{ name: Tag }>({
    text: `select t.name
           from manifests m
           join tags t on t.manifest_id = m.id
           where m.repository_id = $1 and m.digest = $2
           order by t.name`,
    values: [repositoryId, digest],
  })
  return rows.map((row) => row.name)
}

/** Locks tags until the transaction ends, also those that do not exist yet. Every change of a tag does. */
export async function lockTags(
  tx: Transaction,
  repositoryId: RepositoryId,
  tags: readonly Tag[],
): Promise<void> {
  await tx.query({
    name: 'lock_tags',
    // One order for all, or two pushes of several tags would wait for each other.
    text: `select pg_advisory_xact_lock(hashtextextended($1::text || ':' || tag, 1))
           from (select distinct unnest($2::text[]) as tag order by tag) t`,
    values: [repositoryId, tags],
  })
}

/** Deletes the tag and leaves its manifest. @returns false when there was no such tag */
export async function deleteTag(
  tx: Transaction,
  repositoryId: RepositoryId,
  tag: Tag,
  actor: string | undefined,
): Promise<boolean> {
  await tx.query({
    text: `select set_config('slipway.actor', $1, true)`,
    values: [actor ?? ''],
  })
  const { rowCount } = await tx.query({
    text: 'delete from tags where repository_id = $1 and name = $2',
    values: [repositoryId, tag],
  })
  return rowCount === 1
}
