/* What a collector may take at any moment. */
import { type Digest, digestOf } from '../../../oci/digest.ts'
import { parseTag, type RepositoryName } from '../../../oci/reference.ts'
import type { Registry } from '../../../registry/registry.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { lockBlobsAlone } from '../../../storage/metadata/blob-removal.ts'
import type { Transaction } from '../../../storage/metadata/database.ts'
import { markGarbageBlobs } from '../../../storage/metadata/garbage.ts'
import { pushBlob } from '../push.ts'
import { type Image, pushImage } from './client.ts'
import type { Stage } from './stage.ts'

/** Only what was promised lately stays. */
export const GRACE = { graceSeconds: 100, undoSeconds: 0, untagged: () => 0, blobSeconds: 0 }

let layers = 0
export const newLayer = () => Buffer.from(`layer ${layers++}`)

/** A layer that nothing names, and whose grace period is over. */
export async function pushGarbage(
  { registry, age }: Stage,
  repository: RepositoryName,
  content = newLayer(),
) {
  await pushBlob(registry, repository, content)
  await age(101)
  return { content, digest: digestOf(content) }
}

/** An image whose tag was deleted, and which nothing keeps any more. */
export async function pushDeleted(
  { registry, age }: Stage,
  repository: RepositoryName,
): Promise<Image> {
  const image = { layers: [newLayer(), newLayer()] }
  await pushImage(registry, repository, image, 'old')
  await deleteTag(registry, repository, parseTag('old'), undefined)
  await age(101)
  return image
}

/** Marks a blob as a collector does, and stops before the commit. */
export const marking = (registry: Registry, digest: Digest) => async (tx: Transaction) => {
  await lockBlobsAlone(tx, [digest])
  await markGarbageBlobs(tx, [digest])
  registry.cache.revoke({ digest })
}
