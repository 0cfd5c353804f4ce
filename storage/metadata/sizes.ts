/* How large what is there is, and whether what somebody names is there. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable } from './database.ts'
import type { SelectedNames } from './freed.ts'
import type { ManifestId } from './liveness.ts'

export interface PulledTag {
  readonly tag: Tag
  readonly digest: Digest
  /** What a pull of everything takes: its manifest, and those that it lists, and so on. */
  readonly manifestIds: readonly ManifestId[]
  /** Of these, and of the distinct blobs they name that are stored. */
  readonly bytes: number
}

/** One page of tags in byte order, those after `after`; none for no such repository. */
export async function listPulledTags(
  db: Queryable,
  repository: RepositoryName,
  page: { readonly after: string; readonly limit: number },
): Promise<PulledTag[]> {
  const { rows } = await db.query<PulledTag>({
    text: `with recursive page as materialized (
             select t.name, t.manifest_id, t.repository_id
             from repositories r join tags t on t.repository_id = r.id
             where r.name = $1 and t.name > $2
             order by t.name limit $3
           ), pulled (name, id) as (
             select name, manifest_id from page
             union
             select p.name, k.id
             from pulled p
             join manifest_children e on e.manifest_id = p.id
             join manifests k on k.repository_id = e.repository_id and k.digest = e.digest
               and k.deleted_at is null
           ), manifest as (
             select p.name, array_agg(p.id) as ids, sum(m.size_bytes) as bytes
             from pulled p join manifests m on m.id = p.id
             group by p.name
           ), blob as (
             select e.name, sum(b.size_bytes) as bytes
             from (select distinct p.name, e.digest
                   from pulled p join manifest_blobs e on e.manifest_id = p.id) e
             join blobs b on b.digest = e.digest and b.state <> 'deleting'
             group by e.name
           )
           select page.name as tag, m.digest, manifest.ids as "manifestIds",
             (manifest.bytes + coalesce(blob.bytes, 0))::float8 as bytes
           from page
           join manifests m on m.id = page.manifest_id
           join manifest on manifest.name = page.name
           left join blob on blob.name = page.name
           order by page.name`,
    values: [repository, page.after, page.limit],
  })
  return rows
}

export interface RepositoryTotals {
  readonly tags: number
  readonly manifests: number
  /** Distinct, that its manifests name and that are stored. */
  readonly blobs: number
  /** Of manifests and blobs. */
  readonly bytes: number
}

/** Of all that is not deleted; undefined for no such repository. Reads every edge of it. */
export async function findRepositoryTotals(
  db: Queryable,
  repository: RepositoryName,
): Promise<RepositoryTotals | undefined> {
  const { rows } = await db.query<RepositoryTotals>({
    text: `with mine as materialized (
             select m.id, m.size_bytes
             from repositories r join manifests m on m.repository_id = r.id
             where r.name = $1 and m.deleted_at is null
           ), blob as (
             select count(*) as count, coalesce(sum(b.size_bytes), 0) as bytes
             from (select distinct e.digest
                   from mine join manifest_blobs e on e.manifest_id = mine.id) e
             join blobs b on b.digest = e.digest and b.state <> 'deleting'
           )
           select (select count(*) from tags t where t.repository_id = r.id)::float8 as tags,
             (select count(*) from mine)::float8 as manifests, blob.count::float8 as blobs,
             (blob.bytes + (select coalesce(sum(size_bytes), 0) from mine))::float8 as bytes
           from repositories r, blob where r.name = $1`,
    values: [repository],
  })
  return rows[0]
}

/** Something that was named and is not there: a repository, or a tag or a manifest of one. */
export interface Missing {
  readonly repository: RepositoryName
  /** `:tag` or `@digest`; null: there is no such repository. */
  readonly reference: string | null
}

export async function findMissing(
  db: Queryable,
  { repositories, tags, manifests }: SelectedNames,
): Promise<Missing | undefined> {
  const { rows } = await db.query<Missing>({
    text: `with wanted (repository, tag, digest) as (
             select unnest($1::text[]), null::text, null::text
             union all select w.repository, w.tag, null
             from unnest($2::text[], $3::text[]) as w (repository, tag)
             union all select w.repository, null, w.digest
             from unnest($4::text[], $5::text[]) as w (repository, digest)
           )
           select w.repository, case when r.id is not null
             then coalesce(':' || w.tag, '@' || w.digest) end as reference
           from wanted w
           left join repositories r on r.name = w.repository
           left join tags t on t.repository_id = r.id and t.name = w.tag
           left join manifests m on m.repository_id = r.id and m.digest = w.digest
             and m.deleted_at is null
           where r.id is null or w.tag is not null and t.name is null
             or w.digest is not null and m.id is null
           order by w.repository, reference nulls first limit 1`,
    values: [
      repositories,
      tags.map(({ repository }) => repository),
      tags.map(({ tag }) => tag),
      manifests.map(({ repository }) => repository),
      manifests.map(({ digest }) => digest),
    ],
  })
  return rows[0]
}
