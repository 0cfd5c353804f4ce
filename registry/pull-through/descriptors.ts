import type { Digest } from '../../oci/digest.ts'
import { parseManifest } from '../../oci/manifest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Queryable } from '../../storage/metadata/database.ts'
import { findManifestNaming } from '../../storage/metadata/upstream-tags.ts'

/** The size in bytes that a manifest of the repository states of the blob, if one names it. */
export async function statedSize(
  db: Queryable,
  repository: RepositoryName,
  blob: Digest,
): Promise<number | undefined> {
  const found = await findManifestNaming(db, repository, blob)
  if (found === undefined) return undefined
  const { blobs, optionalBlobs } = parseManifest(found.bytes, found.mediaType)
  return [...blobs, ...optionalBlobs].find(({ digest }) => digest === blob)?.sizeBytes
}
