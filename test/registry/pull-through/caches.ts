import { randomBytes, randomUUID } from 'node:crypto'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import { OCI_MANIFEST } from '../../../oci/media-types.ts'
import { parseRepositoryName, parseTag, type RepositoryName } from '../../../oci/reference.ts'
import type { Registry } from '../../../registry/registry.ts'
import { transaction } from '../../../storage/metadata/database.ts'
import { commitManifest } from '../../../storage/metadata/manifests.ts'
import { ensureCache, type RepositoryId } from '../../../storage/metadata/repositories.ts'
import { pushBlob } from '../push.ts'

export interface Cache {
  readonly id: RepositoryId
  readonly name: RepositoryName
}

/** The name of an upstream that no other test has. */
export function newUpstream(): string {
  return `${randomUUID()}.example`
}

export async function openCache(
  { db }: Pick<Registry, 'db'>,
  upstream: string,
  remote = 'library/x',
): Promise<Cache> {
  const name = parseRepositoryName(`${upstream}/${remote}`)
  const id = await ensureCache(db, name, upstream)
  if (id === undefined) throw new Error(`${name} is hosted`)
  await db.query(`update repositories set created_at = now() - interval '1 day' where id = $1`, [
    id,
  ])
  return { id, name }
}

const SCRATCH = parseRepositoryName('scratch/pad')

export interface CachedBlobOptions {
  readonly content?: Buffer
  /** Seconds since it was used; null: never. */
  readonly usedSeconds?: number | null
  readonly linkedSeconds?: number
}

/** A blob of the cache, with its bytes. */
export async function cacheBlob(
  registry: Registry,
  cache: Cache,
  {
    content = Buffer.from(randomUUID()),
    usedSeconds = 3600,
    linkedSeconds = 7200,
  }: CachedBlobOptions = {},
): Promise<Digest> {
  const digest = await pushBlob(registry, SCRATCH, content)
  await registry.db.query(
    `with moved as (
       delete from repository_blobs l using repositories r
       where r.id = l.repository_id and r.name = $1 and l.digest = $2
       returning l.digest
     )
     insert into repository_blobs (repository_id, digest, linked_at, used_at)
     select $3, digest, now() - make_interval(secs => $4), now() - make_interval(secs => $5)
     from moved`,
    [SCRATCH, digest, cache.id, linkedSeconds, usedSeconds],
  )
  registry.cache.forgetAll()
  return digest
}

export interface CachedManifestOptions {
  readonly tags?: readonly string[]
  readonly blobs?: readonly Digest[]
  readonly children?: readonly Digest[]
  /** Seconds since it was used. */
  readonly usedSeconds?: number
}

/** A manifest of the cache, whose edges may lead to what is not there. */
export async function cacheManifest(
  { db }: Pick<Registry, 'db'>,
  cache: Cache,
  { tags = [], blobs = [], children = [], usedSeconds = 3600 }: CachedManifestOptions = {},
): Promise<Digest> {
  const note = randomUUID()
  const bytes = Buffer.from(JSON.stringify({ mediaType: OCI_MANIFEST, note }))
  const digest = digestOf(bytes)
  await transaction(db, (tx) =>
    commitManifest(tx, cache.id, {
      digest,
      mediaType: OCI_MANIFEST,
      bytes,
      artifactType: undefined,
      subjectDigest: undefined,
      annotations: undefined,
      blobs,
      children,
      tags: tags.map((tag) => parseTag(tag)),
      pushedBy: undefined,
      pulled: true,
    }),
  )
  await db.query(
    `update manifests set used_at = now() - make_interval(secs => $3)
     where repository_id = $1 and digest = $2`,
    [cache.id, digest, usedSeconds],
  )
  return digest
}

/** Digests that the cache serves, in the order of the list given. */
export async function linked(
  { db }: Pick<Registry, 'db'>,
  { id }: Cache,
  digests: readonly Digest[],
): Promise<Digest[]> {
  const { rows } = await db.query<{ digest: Digest }>(
    'select digest from repository_blobs where repository_id = $1',
    [id],
  )
  const found = new Set(rows.map((row) => row.digest))
  return digests.filter((digest) => found.has(digest))
}

/** The state of a blob's row, `undefined` for none. */
export async function stateOf(
  { db }: Pick<Registry, 'db'>,
  digest: Digest,
): Promise<string | undefined> {
  const { rows } = await db.query<{ state: string }>('select state from blobs where digest = $1', [
    digest,
  ])
  return rows[0]?.state
}

/** Links a blob that is there to another repository. */
export async function linkTo(
  { db }: Pick<Registry, 'db'>,
  repositoryId: RepositoryId,
  digest: Digest,
  usedSeconds = 3600,
): Promise<void> {
  await db.query(
    `insert into repository_blobs (repository_id, digest, used_at)
     values ($1, $2, now() - make_interval(secs => $3))`,
    [repositoryId, digest, usedSeconds],
  )
}

/** A digest of nothing that is there. */
export function absent(): Digest {
  return digestOf(randomBytes(32))
}

export interface FetchSeed {
  readonly digest: Digest
  /** Until the claim on it runs out; negative: since it did. */
  readonly claimedSeconds: number
  readonly uploadId?: string
  readonly repositoryId?: RepositoryId
}

export async function addFetch(
  { db }: Pick<Registry, 'db'>,
  { digest, claimedSeconds, uploadId, repositoryId }: FetchSeed,
): Promise<void> {
  await db.query(
    `insert into fetches (upstream, kind, digest, process, claimed_until, upload_id, repository_id)
     values ('some.example', 'blob', $1, $2, now() + make_interval(secs => $3), $4, $5)`,
    [digest, randomUUID(), claimedSeconds, uploadId, repositoryId],
  )
}

/** An upload session whose bytes have this digest so far. @returns its id */
export async function addSession(
  { db }: Pick<Registry, 'db'>,
  digest: Digest | undefined,
  expiresSeconds: number,
): Promise<string> {
  const id = randomUUID()
  await db.query(
    `insert into upload_sessions (id, driver_state, digest, expires_at)
     values ($1, '{}', $2, now() + make_interval(secs => $3))`,
    [id, digest, expiresSeconds],
  )
  return id
}

const BYTES = 1000

/** A cache with blobs of 1000 bytes each, the first used longest ago. */
export async function openFullCache(registry: Registry, count: number) {
  const upstream = newUpstream()
  const cache = await openCache(registry, upstream)
  const blobs: Digest[] = []
  for (let index = 0; index < count; index++) {
    const usedSeconds = (count - index) * 1000
    blobs.push(await cacheBlob(registry, cache, { content: randomBytes(BYTES), usedSeconds }))
  }
  return { upstream, cache, blobs }
}
