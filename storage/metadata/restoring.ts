/* How what was deleted from a hosted repository comes back, as long as its rows are there. */
import type { Digest } from '../../oci/digest.ts'
import type { Tag } from '../../oci/reference.ts'
import type { Queryable, Transaction } from './database.ts'
import type { RepositoryId } from './repositories.ts'

export interface RestorableManifest {
  readonly id: string
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
  readonly isDeleted: boolean
  /** Of what it names. */
  readonly blobs: readonly Digest[]
  /** Manifests that it lists and the repository does not have any more. */
  readonly absent: readonly Digest[]
}

/**
 * A manifest of the repository with all that comes back with it, by id, deleted or not: what it lists,
 * down to the leaves, and what referred to it and was deleted since it was. What was deleted while its
 * subject was there was meant to go.
 *
 * @returns nothing when the manifest is not there
 */
export async function findWithDescendants(
  db: Queryable,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<RestorableManifest[]> {
  const { rows } = await db.query<RestorableManifest>({
    text: `with recursive needed as (
             select m.id, m.digest, m.deleted_at
             from manifests m where m.repository_id = $1 and m.digest = $2
             union
             select k.id, k.digest, k.deleted_at
             from needed n
             cross join lateral (
               select c.id, c.digest, c.deleted_at
               from manifest_children e
               join manifests c on c.repository_id = $1 and c.digest = e.digest
               where e.manifest_id = n.id
               union all
               select s.id, s.digest, s.deleted_at
               from manifests s
               where s.repository_id = $1 and s.subject_digest = n.digest
                 and s.deleted_at >= n.deleted_at
             ) k
           )
           select m.id, m.digest, m.media_type as "mediaType", m.bytes,
             m.deleted_at is not null as "isDeleted",
             array(select b.digest from manifest_blobs b
                   where b.manifest_id = m.id order by b.digest) as blobs,
             array(select e.digest from manifest_children e
                   where e.manifest_id = m.id and not exists (
                     select from manifests c
                     where c.repository_id = $1 and c.digest = e.digest)) as absent
           from needed n join manifests m on m.id = n.id
           order by m.id`,
    values: [repositoryId, digest],
  })
  return rows
}

/**
 * Makes the repository serve those of the blobs that are live. For blobs that it served before: a
 * digest is no right to what others have.
 */
export async function linkAgain(
  tx: Transaction,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<void> {
  await tx.query({
    text: `with live as (
             select digest from blobs where digest = any($2) and state = 'live'
             order by digest for key share
           )
           insert into repository_blobs (repository_id, digest)
           select $1, digest from live order by digest
           on conflict do nothing`,
    values: [repositoryId, digests],
  })
}

/** Nobody deletes or restores them until the transaction ends; pushes may go on to name them. */
export async function lockManifests(tx: Transaction, ids: readonly string[]): Promise<void> {
  await tx.query({
    text: 'select from manifests where id = any($1) order by id for no key update',
    values: [ids],
  })
}

/** For manifests that are locked: they are there again, and so is the repository in the catalog. */
export async function undeleteManifests(
  tx: Transaction,
  repositoryId: RepositoryId,
  ids: readonly string[],
): Promise<void> {
  await tx.query({
    text: `with listed as (
             update repositories set listed = true where id = $1 and not listed
           )
           update manifests set deleted_at = null, promised_at = now()
           where id = any($2) and deleted_at is not null`,
    values: [repositoryId, ids],
  })
}

/** For a manifest that was restored without a tag: when to look whether anything names it by then. */
export async function reviewRestored(
  tx: Transaction,
  id: string,
  reviewSeconds: number,
): Promise<void> {
  await tx.query({
    text: `insert into gc_queue (kind, key, reason, due_at)
           values ('manifest', $1, 'restored without a tag', now() + make_interval(secs => $2))`,
    values: [id, reviewSeconds],
  })
}

export interface RestoredTagRow {
  readonly repositoryId: RepositoryId
  readonly tag: Tag
  readonly manifestId: string
  readonly actor: string | undefined
}

/** Makes or moves a tag that is locked; its history tells that it was restored. */
export async function putRestoredTag(
  tx: Transaction,
  { repositoryId, tag, manifestId, actor }: RestoredTagRow,
): Promise<void> {
  await tx.query({ text: `select set_config('slipway.cause', 'restore', true)` })
  await tx.query({
    text: `insert into tags (repository_id, name, manifest_id, updated_by) values ($1, $2, $3, $4)
           on conflict (repository_id, name) do update
             set manifest_id = excluded.manifest_id, updated_at = now(),
                 updated_by = excluded.updated_by`,
    values: [repositoryId, tag, manifestId, actor],
  })
}

/** Row ids of those of the manifests that the repository has, deleted or not. */
export async function findManifestIds(
  db: Queryable,
  repositoryId: RepositoryId,
  digests: readonly Digest[],
): Promise<{ readonly id: string; readonly digest: Digest }[]> {
  const { rows } = await db.query<{ id: string; digest: Digest }>({
    text: 'select id, digest from manifests where repository_id = $1 and digest = any($2)',
    values: [repositoryId, digests],
  })
  return rows
}
