import type { Annotations } from '../../oci/descriptor.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Reference, RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable, Transaction } from './database.ts'
import type { RepositoryId } from './repositories.ts'

export interface StoredManifest {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
}

const FIND = `select m.digest, m.media_type as "mediaType", m.bytes
  from repositories r`

const FIND_BY_DIGEST = `${FIND}
  join manifests m on m.repository_id = r.id and m.digest = $2 and m.deleted_at is null
  where r.name = $1`

const FIND_BY_TAG = `${FIND}
  join tags t on t.repository_id = r.id and t.name = $2
  join manifests m on m.id = t.manifest_id
  where r.name = $1`

export async function findManifest(
  db: Queryable,
  repository: RepositoryName,
  reference: Reference,
): Promise<StoredManifest | undefined> {
  const { rows } = await db.query<StoredManifest>(
    reference.kind === 'digest'
      ? {
          name: 'find_manifest_by_digest',
          text: FIND_BY_DIGEST,
          values: [repository, reference.digest],
        }
      : { name: 'find_manifest_by_tag', text: FIND_BY_TAG, values: [repository, reference.tag] },
  )
  return rows[0]
}

/**
 * Takes note that somebody is being told that the repository has the manifest, and may be about to
 * name it.
 *
 * @returns false when it has not, or no longer
 */
export async function promiseManifest(
  db: Queryable,
  repository: RepositoryName,
  digest: Digest,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'promise_manifest',
    text: `update manifests m set promised_at = now()
           from repositories r
           where r.name = $1 and m.repository_id = r.id and m.digest = $2 and m.deleted_at is null`,
    values: [repository, digest],
  })
  return rowCount === 1
}

/**
 * Locks what a manifest is about to name, so that nothing of it can be collected before the
 * transaction ends: live blobs with their links to the repository, and manifests it has.
 *
 * @returns the digests that are there
 */
export async function lockContent(
  tx: Transaction,
  repositoryId: RepositoryId,
  blobs: readonly Digest[],
  children: readonly Digest[],
): Promise<{ blobs: Set<Digest>; manifests: Set<Digest> }> {
  const [lockedBlobs, lockedManifests] = await Promise.all([
    tx.query<{ digest: Digest }>({
      name: 'lock_blobs',
      text: `select b.digest
             from blobs b
             join repository_blobs l on l.digest = b.digest and l.repository_id = $1
             where b.digest = any($2) and b.state = 'live'
             order by b.digest
             for key share of b, l`,
      values: [repositoryId, blobs],
    }),
    children.length === 0
      ? { rows: [] }
      : tx.query<{ digest: Digest }>({
          name: 'lock_children',
          text: `select digest from manifests
                 where repository_id = $1 and digest = any($2) and deleted_at is null
                 order by id
                 for key share`,
          values: [repositoryId, children],
        }),
  ])
  return { blobs: digestsOf(lockedBlobs.rows), manifests: digestsOf(lockedManifests.rows) }
}

export interface NewManifest extends StoredManifest {
  readonly artifactType: string | undefined
  readonly subjectDigest: Digest | undefined
  readonly annotations: Annotations | undefined
  /** Liveness edges: blobs, and manifests of the same repository, that this one needs. */
  readonly blobs: readonly Digest[]
  readonly children: readonly Digest[]
  readonly tags: readonly Tag[]
  readonly pushedBy: string | undefined
  /** Whether it was pulled from an upstream, which names it by its tags right now. */
  readonly pulled?: boolean
  /** When to look whether anything names it by then; undefined: something does, or it stays anyway. */
  readonly reviewSeconds?: number | undefined
}

const COMMIT = `with manifest as (
    insert into manifests (repository_id, digest, media_type, artifact_type,
      subject_digest, bytes, size_bytes, annotations, pushed_by, used_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, case when $13 then now() end)
    on conflict (repository_id, digest) do update
      set media_type = excluded.media_type, promised_at = now(), deleted_at = null,
          bytes = excluded.bytes -- the same, unless something damaged them
    returning id
  ), listed as (
    update repositories set listed = true where id = $1 and not listed
  ), blob_edges as (
    insert into manifest_blobs (manifest_id, digest, repository_id)
    select distinct id, unnest($10::text[]), $1::bigint from manifest
    on conflict do nothing
  ), child_edges as (
    insert into manifest_children (manifest_id, digest, repository_id)
    select distinct id, unnest($11::text[]), $1::bigint from manifest
    on conflict do nothing
  ), queued as (
    insert into gc_queue (kind, key, reason, due_at)
    select 'manifest', id, 'pushed without a tag', now() + make_interval(secs => $14)
    from manifest where $14 is not null
  )
  insert into tags (repository_id, name, manifest_id, updated_by, checked_at)
  select distinct $1::bigint, unnest($12::text[]), id, $9::text,
    case when $13 then now() end
  from manifest
  order by 2
  on conflict (repository_id, name) do update
    set manifest_id = excluded.manifest_id, updated_at = now(),
        updated_by = excluded.updated_by, checked_at = excluded.checked_at,
        due = false`

/**
 * Inserts the manifest with its edges, points its tags at it, and commits. A digest that the
 * repository already has keeps its row, also when it was deleted lately and is so no longer; the media
 * type follows the newest push.
 */
export async function commitManifest(
  tx: Transaction,
  repositoryId: RepositoryId,
  manifest: NewManifest,
): Promise<void> {
  await tx.commitWith({
    name: 'commit_manifest',
    text: COMMIT,
    values: [
      repositoryId,
      manifest.digest,
      manifest.mediaType,
      manifest.artifactType,
      manifest.subjectDigest,
      manifest.bytes,
      manifest.bytes.length,
      manifest.annotations,
      manifest.pushedBy,
      manifest.blobs,
      manifest.children,
      manifest.tags,
      manifest.pulled ?? false,
      manifest.reviewSeconds,
    ],
  })
}

/** An index of the repository that lists the manifest, if there is one. */
export async function findParent(
  db: Queryable,
  repositoryId: RepositoryId,
  digest: Digest,
): Promise<Digest | undefined> {
  const { rows } = await db.query<{ digest: Digest }>({
    text: `select m.digest
           from manifest_children e
           join manifests m on m.id = e.manifest_id
           where e.repository_id = $1 and e.digest = $2 and m.digest <> $2 and m.deleted_at is null
           limit 1`,
    values: [repositoryId, digest],
  })
  return rows[0]?.digest
}

/**
 * Deletes a manifest and every tag that names it. Nobody finds it any more; the row and its edges stay
 * until it cannot be restored any more.
 *
 * @returns the tags deleted, or undefined when the repository has no such manifest
 */
export async function deleteManifest(
  tx: Transaction,
  repositoryId: RepositoryId,
  digest: Digest,
  actor: string | undefined,
): Promise<Tag[] | undefined> {
  // Read by the trigger that writes the history of the tags.
  await tx.query({
    text: `select set_config('slipway.actor', $1, true)`,
    values: [actor ?? ''],
  })
  const { rows } = await tx.query<{ id: string }>({
    text: `select id from manifests
           where repository_id = $1 and digest = $2 and deleted_at is null for update`,
    values: [repositoryId, digest],
  })
  const id = rows[0]?.id
  if (id === undefined) return undefined
  // A statement of its own: a tag that was put on the manifest while the lock was waited for is
  // seen only by a statement that begins after it. No other can come now.
  const tags = await tx.query<{ name: Tag }>({
    text: 'delete from tags where manifest_id = $1 returning name',
    values: [id],
  })
  await tx.query({
    text: `with deleted as (
             update manifests set deleted_at = now() where id = $1 returning id
           )
           insert into gc_queue (kind, key, reason) select 'manifest', id, 'deleted' from deleted`,
    values: [id],
  })
  return tags.rows.map((row) => row.name)
}

function digestsOf(rows: { digest: Digest }[]): Set<Digest> {
  return new Set(rows.map((row) => row.digest))
}
