import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable } from './database.ts'
import type { StoredManifest } from './manifests.ts'

/** What a tag of a cache named when its upstream was asked last. */
export interface UpstreamTag extends StoredManifest {
  /** Since the upstream said so. */
  readonly ageSeconds: number
  /** It is to be asked again, however fresh its word is. */
  readonly due: boolean
}

export async function findUpstreamTag(
  db: Queryable,
  repository: RepositoryName,
  tag: Tag,
): Promise<UpstreamTag | undefined> {
  const { rows } = await db.query<UpstreamTag>({
    name: 'find_upstream_tag',
    text: `select m.digest, m.media_type as "mediaType", m.bytes, t.due,
             extract(epoch from now() - t.checked_at)::float8 as "ageSeconds"
           from repositories r
           join tags t on t.repository_id = r.id and t.name = $2
           join manifests m on m.id = t.manifest_id
           where r.name = $1 and t.checked_at is not null`,
    values: [repository, tag],
  })
  return rows[0]
}

/** Records that the upstream has just said the tag still names `digest`. */
export async function markTagChecked(
  db: Queryable,
  repository: RepositoryName,
  { tag, digest }: { readonly tag: Tag; readonly digest: Digest },
): Promise<void> {
  await db.query({
    name: 'mark_tag_checked',
    text: `update tags t set checked_at = now(), due = false
           from repositories r, manifests m
           where r.name = $1 and t.repository_id = r.id and t.name = $2
             and m.id = t.manifest_id and m.digest = $3`,
    values: [repository, tag, digest],
  })
}

/** Some manifest of the repository that names the blob. */
export async function findManifestNaming(
  db: Queryable,
  repository: RepositoryName,
  blob: Digest,
): Promise<StoredManifest | undefined> {
  const { rows } = await db.query<StoredManifest>({
    name: 'find_manifest_naming',
    text: `select m.digest, m.media_type as "mediaType", m.bytes
           from repositories r
           join manifest_blobs e on e.repository_id = r.id and e.digest = $2
           join manifests m on m.id = e.manifest_id and m.deleted_at is null
           where r.name = $1
           limit 1`,
    values: [repository, blob],
  })
  return rows[0]
}
