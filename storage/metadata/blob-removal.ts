import type { Digest } from '../../oci/digest.ts'
import type { StoredBlob } from './blobs.ts'
import type { Queryable, Transaction } from './database.ts'

/**
 * Takes the locks of the digests and of their blobs until the transaction ends: nobody places or
 * deletes bytes of theirs meanwhile, or links them. What is read afterwards stays so.
 */
export async function lockBlobsAlone(tx: Transaction, digests: readonly Digest[]): Promise<void> {
  await Promise.all([
    tx.query({
      // As `lockDigest` does. One order for all, or two that lock several would wait for each other.
      text: `select pg_advisory_xact_lock(hashtextextended(digest, 0))
             from (select distinct unnest($1::text[]) as digest order by digest) d`,
      values: [digests],
    }),
    tx.query({
      text: 'select from blobs where digest = any($1) order by digest for update',
      values: [digests],
    }),
  ])
}

/**
 * Marks those of the blobs that no repository links any more, and that no manifest names which was pushed
 * here, be it one that could be restored: from now on they are treated as
 * absent, and their bytes are to be deleted. {@link lockBlobsAlone} has locked them.
 */
export async function markUnlinkedBlobs(
  tx: Transaction,
  digests: readonly Digest[],
): Promise<StoredBlob[]> {
  const { rows } = await tx.query<StoredBlob>({
    text: `update blobs b set state = 'deleting'
           where b.digest = any($1) and b.state = 'live'
             and not exists (select from repository_blobs l where l.digest = b.digest)
             and not exists (
               select from leases l where l.digest = b.digest and l.expires_at > now())
             and not exists (
               select from manifest_blobs e
               join repositories r on r.id = e.repository_id and r.kind = 'hosted'
               where e.digest = b.digest)
           returning b.digest, b.size_bytes::float8 as "sizeBytes", b.location`,
    values: [digests],
  })
  return rows
}

/** One page, by digest, of blobs whose bytes are to be deleted. */
export async function listDeletingBlobs(
  db: Queryable,
  page: { readonly after: string; readonly limit: number },
): Promise<StoredBlob[]> {
  const { rows } = await db.query<StoredBlob>({
    text: `select digest, size_bytes::float8 as "sizeBytes", location
           from blobs where state <> 'live' and state = 'deleting' and digest > $1
           order by digest limit $2`,
    values: [page.after, page.limit],
  })
  return rows
}

/** Where the bytes of a digest lie, and whether they are to be deleted: for sure while it is locked. */
export async function findBlobState(
  db: Queryable,
  digest: Digest,
): Promise<{ readonly location: string; readonly isDeleting: boolean } | undefined> {
  const { rows } = await db.query<{ location: string; isDeleting: boolean }>({
    // One that is linked all the same is not deleted, whatever its state says.
    text: `select b.location, b.state = 'deleting' and not exists (
             select from repository_blobs l where l.digest = b.digest) as "isDeleting"
           from blobs b where b.digest = $1`,
    values: [digest],
  })
  return rows[0]
}

/** For a blob whose bytes are deleted. */
export async function deleteBlob(tx: Transaction, digest: Digest): Promise<void> {
  await tx.query({
    text: `delete from blobs where digest = $1 and state = 'deleting'`,
    values: [digest],
  })
}
