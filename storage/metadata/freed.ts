/*
 * What deleting a selection frees in the end: when nothing can be restored any more and nobody is
 * about to name anything. Three statements, each of which takes lists of ids from the one before: how
 * long those are the planner knows, and hashes them. How much a recursion finds it does not know, so
 * nothing is joined to one as a whole.
 */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable } from './database.ts'
import type { ManifestId } from './liveness.ts'

/** By name: repositories, tags, and manifests by their digests. */
export interface SelectedNames {
  readonly repositories: readonly RepositoryName[]
  readonly tags: readonly { readonly repository: RepositoryName; readonly tag: Tag }[]
  readonly manifests: readonly { readonly repository: RepositoryName; readonly digest: Digest }[]
}

/** Manifests that a selection reaches; flags at the same places. */
export interface Candidates {
  readonly ids: readonly ManifestId[]
  readonly bytes: readonly number[]
  /** It was selected by its digest: its tags go with it, and its subject does not keep it. */
  readonly doomed: readonly boolean[]
  /** Its repository was selected: all tags of it go. */
  readonly whole: readonly boolean[]
}

/** Tags that older clients put on what refers to a manifest: they go with the manifest. */
const FALLBACK_TAG = String.raw`'^sha(256|512)-[0-9a-f]+(\..+)?$'`

/** The digest that such a tag `t` is made of. */
const REFERRED = `replace(split_part(t.name, '.', 1), '-', ':')`

/**
 * Whether there is a row. Not `exists`: the planner may read a whole table for that, to have the answer
 * for all rows at once.
 */
const isAny = (query: string) => `coalesce((select true from ${query} limit 1), false)`

const isLeased = (manifest: string) =>
  isAny(`leases l where l.repository_id = ${manifest}.repository_id
    and l.digest = ${manifest}.digest and l.expires_at > now()`)

/** A tag `t` that goes with nothing: no fallback tag, or one of what is not there. */
const STANDS_ALONE = `(t.name !~ ${FALLBACK_TAG} or not ${isAny(
  `manifests s where s.repository_id = t.repository_id and s.digest = ${REFERRED}`,
)})`

const isTagged = (manifest: string) =>
  isAny(`tags t where t.manifest_id = ${manifest}.id and ${STANDS_ALONE}`)

/** Whether something keeps the manifest that is no manifest. */
const isRoot = (manifest: string) => `(${isLeased(manifest)}
  or ${manifest}.deleted_at is null and (
    select r.deleted_at is null and (r.kind = 'cache' or ${isTagged(manifest)})
    from repositories r where r.id = ${manifest}.repository_id))`

const columnsOf = (manifest: string) =>
  ['id', 'repository_id', 'digest', 'subject_digest', 'deleted_at']
    .map((column) => `${manifest}.${column}`)
    .join(', ')

/** One by one: of some manifests there are so many edges that the planner would read all manifests instead. */
const each = (manifest: string, id: string) =>
  `cross join lateral (select * from manifests where id = ${id} offset 0) ${manifest}`

/**
 * Whether an edge leads to the manifest. As a range: where few manifests are listed by many indexes, the
 * planner would expect as many edges of each, and read all of them each time.
 */
const lists = (edge: string, manifest: string) => `${edge}.repository_id = ${manifest}.repository_id
  and ${edge}.digest between ${manifest}.digest and ${manifest}.digest`

interface Conditions {
  /** On the id of what keeps it. */
  readonly id?: (column: string) => string
  /** When its subject counts. */
  readonly subject?: string
  /** On a fallback tag `t`. */
  readonly tag?: string
}

/** The manifests that keep one when they are kept: indexes, its subject, what its tags go with. */
const keepersOf = (
  manifest: string,
  { id = () => 'true', subject = 'true', tag = 'true' }: Conditions = {},
) => `
  select ${columnsOf('i')} from manifest_children e ${each('i', 'e.manifest_id')}
  where ${lists('e', manifest)} and ${id('e.manifest_id')}
  union all
  select ${columnsOf('s')} from manifests s
  where s.repository_id = ${manifest}.repository_id and s.digest = ${manifest}.subject_digest
    and ${subject} and ${id('s.id')}
  union all
  select ${columnsOf('s')} from tags t
  join manifests s on s.repository_id = t.repository_id and s.digest = ${REFERRED}
  where t.manifest_id = ${manifest}.id and t.name ~ ${FALLBACK_TAG} and ${tag} and ${id('s.id')}`

/** Whether an id is none of the list that is the first parameter; the planner takes it for even odds. */
const isOutside = (id: string) => `case when ${id} = any($1) then false else true end`

/** The manifests that one keeps, by the same ways; `isListed` is false where a delete does not care. */
const keptBy = (manifest: string, { tag = 'true' } = {}) => `
  select k.*, true as is_listed from manifest_children e
  join manifests k on k.repository_id = e.repository_id and k.digest = e.digest
  where e.manifest_id = ${manifest}.id
  union all
  select k.*, false from manifests k
  where k.repository_id = ${manifest}.repository_id and k.subject_digest = ${manifest}.digest
  union all
  select k.*, false from (select replace(${manifest}.digest, ':', '-') as prefix) p
  join tags t on t.repository_id = ${manifest}.repository_id
    and t.name >= p.prefix and t.name < p.prefix || '/'
    and (t.name = p.prefix or t.name > p.prefix || '.') and ${tag}
  join manifests k on k.id = t.manifest_id`

/**
 * The selected manifests, and all that could go with them. Of a cache only what was selected itself:
 * nothing else of it goes by being deleted, and its tags keep nothing.
 */
export async function findCandidates(
  db: Queryable,
  { repositories, tags, manifests }: SelectedNames,
): Promise<Candidates> {
  const { rows } = await db.query<Candidates>({
    text: `with recursive whole as materialized (
             select id from repositories where name = any($1)
           ), doomed as materialized (
             select distinct m.id
             from unnest($4::text[], $5::text[]) as w (repository, digest)
             join repositories r on r.name = w.repository
             join manifests m on m.repository_id = r.id and m.digest = w.digest
               and m.deleted_at is null
           ), tagged as materialized (
             select distinct t.manifest_id as id
             from unnest($2::text[], $3::text[]) as w (repository, tag)
             join repositories r on r.name = w.repository and r.kind = 'hosted'
             join tags t on t.repository_id = r.id and t.name = w.tag
           ), candidate (id, repository_id, digest, size_bytes, spreads) as (
             select m.id, m.repository_id, m.digest, m.size_bytes, r.kind = 'hosted'
             from (select id from doomed union select id from tagged) d
             join manifests m on m.id = d.id
             join repositories r on r.id = m.repository_id
             union
             select m.id, m.repository_id, m.digest, m.size_bytes, false
             from whole w join manifests m on m.repository_id = w.id and m.deleted_at is null
             union
             select k.id, k.repository_id, k.digest, k.size_bytes, true
             from candidate c cross join lateral (${keptBy('c')}) k
             where c.spreads and k.deleted_at is null
           )
           select coalesce(array_agg(c.id), '{}') as ids,
             coalesce(array_agg(c.size_bytes), '{}') as bytes,
             coalesce(array_agg(d.id is not null), '{}') as doomed,
             coalesce(array_agg(w.id is not null), '{}') as whole
           from (select distinct id, repository_id, size_bytes from candidate) c
           left join doomed d on d.id = c.id
           left join whole w on w.id = c.repository_id`,
    values: [
      repositories,
      tags.map(({ repository }) => repository),
      tags.map(({ tag }) => tag),
      manifests.map(({ repository }) => repository),
      manifests.map(({ digest }) => digest),
    ],
  })
  return rows[0]!
}

/** Whether the selection leaves this tag of a candidate. */
const STAYS = `not c.whole and (c.repository || ':' || t.name = any($4::text[])) is not true`

/** What keeps a candidate from outside of them. */
const keepersOutside = keepersOf('c', {
  id: isOutside,
  subject: 'not c.doomed',
  tag: `not c.doomed and ${STAYS}`,
})

/**
 * Those of the candidates that something keeps when the selected tags are gone: another tag, a lease,
 * or a manifest that stays. The rest is freed.
 */
export async function findKeptCandidates(
  db: Queryable,
  { ids, doomed, whole }: Candidates,
  tags: SelectedNames['tags'],
): Promise<Set<ManifestId>> {
  const { rows } = await db.query<{ id: ManifestId }>({
    // Outside of the candidates nothing changes. So what keeps one from there is looked for first: one
    // step up, up to the first that is sure, and only where there is none, all the way.
    text: `with recursive candidate as materialized (
             select m.id, m.repository_id, m.digest, m.subject_digest,
               r.name as repository, w.doomed, w.whole
             from unnest($1::bigint[], $2::boolean[], $3::boolean[]) as w (id, doomed, whole)
             join manifests m on m.id = w.id
             join repositories r on r.id = m.repository_id
           ), judged as materialized (
             select c.id, ${isLeased('c')}
               or not c.doomed and ${isAny(
                 `tags t where t.manifest_id = c.id and ${STAYS} and ${STANDS_ALONE}`,
               )}
               or ${isAny(`(${keepersOutside}) k where ${isRoot('k')}`)} as is_kept
             from candidate c
           ), up as (
             select c.id as start, ${columnsOf('k')}
             from judged j
             join candidate c on c.id = j.id
             cross join lateral (${keepersOutside}) k
             where not j.is_kept
             union
             select u.start, ${columnsOf('k')}
             from up u cross join lateral (${keepersOf('u')}) k
             where u.deleted_at is null
           ), kept as (
             select c.id, c.repository_id, c.digest, c.repository, c.whole
             from (select id from judged where is_kept
                   union select u.start from up u where ${isRoot('u')}) j
             join candidate c on c.id = j.id
             union
             select k.id, k.repository_id, k.digest, k.repository, k.whole
             from kept c
             cross join lateral (${keptBy('c', { tag: STAYS })}) x
             join candidate k on k.id = x.id
             where x.is_listed or not k.doomed
           )
           select id from kept`,
    values: [ids, doomed, whole, tags.map(({ repository, tag }) => `${repository}:${tag}`)],
  })
  return new Set(rows.map(({ id }) => id))
}

export interface FreedBlobs {
  readonly blobs: number
  readonly bytes: number
  /** Of those that some manifests name which were asked about. */
  readonly bytesOfPart: number
}

/**
 * Whether `m`, which is not freed, is certain to stay, by a look at it and what lists it. What has a tag
 * stays then, selected or not: else it would be a candidate that was not kept.
 */
const SURELY_STAYS = `(${isRoot('m')} or m.deleted_at is null and ${isAny(
  `manifest_children c
  join tags t on t.manifest_id = c.manifest_id and t.name !~ ${FALLBACK_TAG}
  join repositories r on r.id = c.repository_id and r.deleted_at is null
  where ${lists('c', 'm')}`,
)})`

/** Whether a blob `b` stays whatever names it. */
const IS_HELD = `(${isAny('leases l where l.digest = b.digest and l.expires_at > now()')}
  or ${isAny(`repositories r
    join repository_blobs l on l.repository_id = r.id and l.digest = b.digest
    where r.kind = 'cache' and r.pinned and r.name <> all($2)`)})`

/**
 * The blobs that only the freed manifests name, or others that are garbage already. A blob that a
 * pinned cache serves stays, and so does one with a lease.
 *
 * @param freed every candidate that is not kept, as what follows from that is relied on
 * @param repositories those that were selected: what they link keeps nothing
 * @param part manifests whose blobs are told apart
 */
export async function findFreedBlobs(
  db: Queryable,
  freed: readonly ManifestId[],
  repositories: SelectedNames['repositories'],
  part: readonly ManifestId[],
): Promise<FreedBlobs> {
  const { rows } = await db.query<FreedBlobs>({
    // Of a blob in a million manifests one is read, as a rule: in the order of the index, or a planner
    // that expects one soon would begin to read the table.
    text: `with recursive named as materialized (
             select b.digest, b.size_bytes
             from (select distinct e.digest
                   from unnest($1::bigint[]) as f (id)
                   join manifest_blobs e on e.manifest_id = f.id) e
             join blobs b on b.digest = e.digest and b.state <> 'deleting'
             where not ${IS_HELD}
           ), lonely as materialized (
             select n.digest, n.size_bytes from named n
             where not ${isAny(`manifest_blobs e
               where e.digest = n.digest and ${isOutside('e.manifest_id')}
                 and (select ${SURELY_STAYS} from manifests m where m.id = e.manifest_id)
               order by e.digest, e.repository_id`)}
           ), up as (
             select n.digest as blob, ${columnsOf('m')}
             from lonely n cross join lateral (
               select e.manifest_id from manifest_blobs e
               where e.digest = n.digest and ${isOutside('e.manifest_id')}
               order by e.digest, e.repository_id offset 0
             ) e
             ${each('m', 'e.manifest_id')}
             join repositories r on r.id = m.repository_id and (r.deleted_at is null
               or ${isAny('leases l where l.repository_id = r.id')})
             where m.deleted_at is null
             union
             select u.blob, ${columnsOf('k')}
             from up u cross join lateral (${keepersOf('u')}) k
             where u.deleted_at is null
           ), freed as (
             select n.digest, n.size_bytes from lonely n
             where (n.digest = any(array(select u.blob from up u where ${isRoot('u')}))) is not true
           ), part as (
             select distinct e.digest
             from unnest($3::bigint[]) as p (id) join manifest_blobs e on e.manifest_id = p.id
           )
           select count(*)::float8 as blobs, coalesce(sum(f.size_bytes), 0)::float8 as bytes,
             coalesce(sum(f.size_bytes) filter (where p.digest is not null), 0)::float8
               as "bytesOfPart"
           from freed f left join part p on p.digest = f.digest`,
    values: [freed, repositories, part],
  })
  return rows[0]!
}
