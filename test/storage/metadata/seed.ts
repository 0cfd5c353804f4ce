import { randomUUID } from 'node:crypto'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import { parseRepositoryName, parseTag, type Tag } from '../../../oci/reference.ts'
import { type Pool, transaction } from '../../../storage/metadata/database.ts'
import { commitManifest, type NewManifest } from '../../../storage/metadata/manifests.ts'
import { ensureRepository, type RepositoryId } from '../../../storage/metadata/repositories.ts'

export interface SeededRepository {
  readonly id: RepositoryId
  readonly name: ReturnType<typeof parseRepositoryName>
}

/** A repository whose name no other test has. */
export async function seedRepository(db: Pool, prefix = 'repo'): Promise<SeededRepository> {
  const name = parseRepositoryName(`${prefix}/${randomUUID()}`)
  return { name, id: await ensureRepository(db, name) }
}

/** A row of a blob, linked to the repository. There are no bytes behind it. */
export async function seedBlob(
  db: Pool,
  repositoryId: RepositoryId,
  text: string,
): Promise<Digest> {
  const digest = digestOf(Buffer.from(text))
  await db.query(
    `with blob as (
       insert into blobs (digest, size_bytes, location) values ($1, $2, $3) on conflict do nothing
     )
     insert into repository_blobs (repository_id, digest) values ($4, $1)`,
    [digest, text.length, `at ${text}`, repositoryId],
  )
  return digest
}

export type ManifestSeed = Partial<Omit<NewManifest, 'tags'>> & { readonly tags?: string[] }

/** A row of a manifest whose bytes are `text`. */
export async function seedManifest(
  db: Pool,
  repositoryId: RepositoryId,
  text: string,
  { tags = [], ...rest }: ManifestSeed = {},
): Promise<Digest> {
  const bytes = Buffer.from(text)
  const manifest: NewManifest = {
    digest: digestOf(bytes),
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    bytes,
    artifactType: undefined,
    subjectDigest: undefined,
    annotations: undefined,
    blobs: [],
    children: [],
    tags: tags.map((tag): Tag => parseTag(tag)),
    pushedBy: undefined,
    ...rest,
  }
  await transaction(db, (tx) => commitManifest(tx, repositoryId, manifest))
  return manifest.digest
}
