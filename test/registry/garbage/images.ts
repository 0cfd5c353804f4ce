import type { Digest } from '../../../oci/digest.ts'
import type { RepositoryName } from '../../../oci/reference.ts'
import { imageOf, pushManifest } from '../push.ts'
import type { Stage } from './stage.ts'

/** An image of one layer of its own, which is `text`; below a tag when one is named. */
export async function pushImage(
  { registry, pushBlob }: Stage,
  repository: RepositoryName,
  text: string,
  tag?: string,
): Promise<{ readonly layer: Digest; readonly manifest: Digest }> {
  const layer = await pushBlob(repository, text)
  const reference = tag === undefined ? {} : { reference: tag }
  return {
    layer,
    manifest: await pushManifest(registry, repository, imageOf([layer], text), reference),
  }
}
