/* How manifests, blobs and repositories go that nothing keeps. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { StoredBlob } from './blobs.ts'
import type { Queryable, Transaction } from './database.ts'
import type { GarbageKind } from './gc-queue.ts'
import type { ManifestId } from './liveness.ts'
import type { RepositoryId } from './repositories.ts'

/**
 * Waits for locks no longer than this: who collects comes back later, and nobody queues behind one
 * who waits.
 */
export async function waitBriefly(tx: Transaction): Promise<void> {
  await tx.query({ text: `select set_config('lock_timeout', '500ms', true)` })
}

/** Keeps pushes from naming the manifest until the transaction ends. @returns false when it is gone */
export async function lockManifestAlone(tx: Transaction, id: ManifestId): Promise<boolean> {
  // An update alone would pass by those who hold it shared.
  const { rowCount } = await tx.query({
    text: 'select from manifests where id = $1 for update',
    values: [id],
  })
  return rowCount === 1
}

/** Tags by which clients without the referrers API find what refers to the manifest. */
export async function listFallbackTags(
  db: Queryable,
  repositoryId: RepositoryId,
  subject: Digest,
): Promise<Tag[]> {
  const prefix = subject.replace(':', '-')
  const { rows } = await db.query<{ name: Tag }>({
    // '/' follows '.' and '-' in byte order, and is in no tag.
    text: `select name from tags
           where repository_id = $1 and (name = $2 or name > $2 || '.' and name < $2 || '/')`,
    values: [repositoryId, prefix],
  })
  return rows.map((row) => row.name)
}

/** Deletes tags that go with what they refer to: they cannot be restored by themselves. */
export async function deleteFallbackTags(
  tx: Transaction,
  repositoryId: RepositoryId,
  tags: readonly Tag[],
): Promise<void> {
  await tx.query({
    text: `select set_config('slipway.cause', 'garbage', true), set_config('slipway.actor', '', true)`,
  })
  await tx.query({
    text: 'delete from tags where repository_id = $1 and name = any($2)',
    values: [repositoryId, tags],
  })
}

/**
 * Queues the indexes that list a manifest which is locked alone: it goes after them. A cache may lack
 * what its indexes list. @returns how many
 */
export async function queueParents(tx: Transaction, id: ManifestId): Promise<number> {
  const { rowCount } = await tx.query({
    text: `insert into gc_queue (kind, key, reason)
           select 'manifest', e.manifest_id, 'child is garbage'
           from manifests m
           join repositories r on r.id = m.repository_id and r.kind = 'hosted'
           -- By itself: joined, all that indexes of the repository list may be gone through.
           cross join lateral (
             select e.manifest_id from manifest_children e
             where e.repository_id = m.repository_id and e.digest = m.digest offset 0
           ) e
           where m.id = $1 and e.manifest_id <> m.id`,
    values: [id],
  })
  return rowCount ?? 0
}

/**
 * Deletes a manifest that is locked alone. What it listed, what refers to it, and whether the repository
 * holds anything yet is looked at next; so is what it named, by a trigger.
 */
export async function deleteGarbageManifest(tx: Transaction, id: ManifestId): Promise<void> {
  await tx.query({
    text: `insert into gc_queue (kind, key, reason)
           select 'manifest', child.id, 'index collected'
           from manifest_children e
           join manifests child on child.repository_id = e.repository_id and child.digest = e.digest
           where e.manifest_id = $1
           union all
           select 'manifest', referrer.id, 'subject collected'
           from manifests m
           join manifests referrer
             on referrer.repository_id = m.repository_id and referrer.subject_digest = m.digest
           where m.id = $1
           union all
           select 'repository', m.repository_id, 'manifest collected'
           from manifests m where m.id = $1 and m.deleted_at is null`,
    values: [id],
  })
  await tx.query({ text: 'delete from manifests where id = $1', values: [id] })
  await removeKeys(tx, 'manifest', [id])
}

export interface MarkedBlobs {
  /** Whose bytes are to be deleted. */
  readonly blobs: readonly StoredBlob[]
  /** What served them. */
  readonly links: readonly { readonly repository: RepositoryName; readonly digest: Digest }[]
}

/** Marks blobs that are locked alone: from now on they are absent, and served by nobody. */
export async function markGarbageBlobs(
  tx: Transaction,
  digests: readonly Digest[],
): Promise<MarkedBlobs> {
  const [marked, links] = await Promise.all([
    tx.query<StoredBlob>({
      text: `update blobs b set state = 'deleting'
             where b.digest = any($1) and b.state <> 'deleting'
             returning b.digest, b.size_bytes::float8 as "sizeBytes", b.location`,
      values: [digests],
    }),
    tx.query<{ repository: RepositoryName | null; digest: Digest }>({
      text: `delete from repository_blobs l using repositories r
             where l.digest = any($1) and r.id = l.repository_id
             returning r.name as repository, l.digest`,
      values: [digests],
    }),
  ])
  await removeKeys(tx, 'blob', digests)
  const served = links.rows.flatMap(({ repository, digest }) =>
    repository === null ? [] : [{ repository, digest }],
  )
  return { blobs: marked.rows, links: served }
}

/** Nothing is to be looked at any more of what is gone. */
async function removeKeys(
  tx: Transaction,
  kind: GarbageKind,
  keys: readonly string[],
): Promise<void> {
  await tx.query({
    // Whoever has one of them locked finds out by itself; nobody waits while it holds what is going.
    text: `delete from gc_queue where id in (
             select id from gc_queue where kind = $1 and key = any($2) for update skip locked)`,
    values: [kind, keys],
  })
}

/** Ends the time in which what is deleted by now can be restored. @returns how many repositories */
export async function forgetDeleted(
  db: Queryable,
  repository: RepositoryName | undefined,
): Promise<number> {
  const { rowCount } = await db.query({
    text: `update repositories set forgotten_before = now()
           where kind = 'hosted' and ($1::text is null or name = $1 or deleted_name = $1)`,
    values: [repository],
  })
  return rowCount ?? 0
}

/** What was freed. */
export interface Freed {
  readonly manifests: number
  readonly blobs: number
  /** Of these blobs. */
  readonly bytes: number
}

/** Adds to what was freed today. */
export async function recordFreed(
  db: Queryable,
  { manifests, blobs, bytes }: Freed,
): Promise<void> {
  await db.query({
    text: `insert into gc_days as d (day, manifests, blobs, bytes) values (current_date, $1, $2, $3)
           on conflict (day) do update
             set manifests = d.manifests + $1, blobs = d.blobs + $2, bytes = d.bytes + $3`,
    values: [manifests, blobs, bytes],
  })
}

/** What was freed in the last so many days, today included. */
export async function findFreed(db: Queryable, days: number): Promise<Freed> {
  const { rows } = await db.query<Freed>({
    text: `select coalesce(sum(manifests), 0)::float8 as manifests,
             coalesce(sum(blobs), 0)::float8 as blobs, coalesce(sum(bytes), 0)::float8 as bytes
           from gc_days where day > current_date - $1::int`,
    values: [days],
  })
  return rows[0]!
}

/** Blobs whose bytes are about to be deleted. */
export async function findDeletingState(
  db: Queryable,
): Promise<{ readonly blobs: number; readonly bytes: number }> {
  const { rows } = await db.query<{ blobs: number; bytes: number }>({
    text: `select count(*)::int as blobs, coalesce(sum(size_bytes), 0)::float8 as bytes
           from blobs where state <> 'live' and state = 'deleting'`,
  })
  return rows[0]!
}
