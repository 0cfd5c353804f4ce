import type { Digest } from '../../../oci/digest.ts'
import { RegistryError } from '../../../oci/errors.ts'
import { parseReference, parseTag, type RepositoryName } from '../../../oci/reference.ts'
import { promiseManifest } from '../../../registry/manifests.ts'
import type { Registry } from '../../../registry/registry.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { deleteGarbageManifest, lockManifestAlone } from '../../../storage/metadata/garbage.ts'
import { gate } from '../gate.ts'
import { type Image, pushImage } from './client.ts'
import type { Stage } from './stage.ts'
import { holding } from './steps.ts'

export const WINDOWS = {
  graceSeconds: 100,
  undoSeconds: 1000,
  untagged: () => 0,
  blobSeconds: 0,
}
/** Longer than anything stays by these that nothing names. */
export const LONG = 1101

let contents = 0

/** An image that no other test has. */
export const newImage = (): Image => ({ layers: [Buffer.from(`image ${contents++}`)] })

/** An image that had a tag, and whose time is over; but it is still there. */
export async function pushOld(
  stage: Stage,
  repository: RepositoryName,
): Promise<{ readonly image: Image; readonly digest: Digest }> {
  const image = newImage()
  const digest = await pushImage(stage.registry, repository, image, 'old')
  await deleteTag(stage.registry, repository, parseTag('old'), undefined)
  await stage.age(LONG)
  return { image, digest }
}

/** Answers a HEAD of a manifest by its digest. */
export async function isManifestThere(
  registry: Registry,
  repository: RepositoryName,
  digest: Digest,
): Promise<boolean> {
  return promiseManifest(registry, repository, parseReference(digest)).then(
    () => true,
    (error: unknown) => {
      if (error instanceof RegistryError && error.code === 'MANIFEST_UNKNOWN') return false
      throw error
    },
  )
}

/** Row id of the manifest. */
export async function idOf({ db }: Registry, digest: Digest): Promise<string | undefined> {
  const text = 'select id from manifests where digest = $1'
  return (await db.query<{ id: string }>(text, [digest])).rows[0]?.id
}

/** Deletes a manifest as a collector does, and stops before the commit. */
export async function deleting(
  registry: Registry,
  digest: Digest,
): Promise<{ commit(this: void): Promise<void> }> {
  const id = await idOf(registry, digest)
  if (id === undefined) throw new Error(`${digest} is not there`)
  const barrier = gate()
  const deleted = holding(registry, barrier, async (tx) => {
    await lockManifestAlone(tx, id)
    await deleteGarbageManifest(tx, id)
  })
  await barrier.reached
  const commit = () => {
    barrier.open()
    return deleted
  }
  return { commit }
}
