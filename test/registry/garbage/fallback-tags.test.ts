import { expect, it } from 'vitest'
import { parseReference, parseTag } from '../../../oci/reference.ts'
import { getManifest } from '../../../registry/manifests.ts'
import { deleteTag, getTags } from '../../../registry/tags.ts'
import { imageOf, indexOf, pushManifest } from '../push.ts'
import { pushImage } from './images.ts'
import { AT_ONCE, openStage } from './stage.ts'

/** More than others are told of in one message. */
const MANY = 60

it('fallback tags go with their subject, also where a process that is alone remembers them', async () => {
  const stage = await openStage(AT_ONCE)
  try {
    const { registry } = stage
    const repository = stage.newRepository()
    const { manifest } = await pushImage(stage, repository, 'subject', 'v1')
    const names = Array.from({ length: MANY }, (_, n) => `${manifest.replace(':', '-')}.${n}`)
    const signature = imageOf([], 'signature')
    for (const reference of names)
      await pushManifest(registry, repository, signature, { reference })
    const { digest } = await getManifest(registry, repository, parseReference(names[0]!))
    // What they name stays, so only the tags can be what is not found.
    await pushManifest(registry, repository, indexOf([digest]), { reference: 'index' })
    for (const name of names) await getManifest(registry, repository, parseReference(name))
    await deleteTag(registry, repository, parseTag('v1'), undefined)
    await stage.collect()
    expect(await stage.hasManifest(manifest)).toBe(false)
    expect(await stage.hasManifest(digest)).toBe(true)
    const page = { after: '', limit: 1000 }
    expect((await getTags(registry, repository, page)).names).toEqual(['index'])
    for (const name of names) {
      await expect(getManifest(registry, repository, parseReference(name))).rejects.toMatchObject({
        code: 'MANIFEST_UNKNOWN',
      })
    }
  } finally {
    await stage.test.close()
  }
})
