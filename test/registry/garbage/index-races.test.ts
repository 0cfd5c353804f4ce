import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import { parseTag, type RepositoryName } from '../../../oci/reference.ts'
import type { Registry } from '../../../registry/registry.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { gate, isWaiting, stoppingAt } from '../gate.ts'
import { indexOf, pushManifest } from '../push.ts'
import { otherProcess, pullWhole, pushImage } from './client.ts'
import { deleting, isManifestThere, LONG, newImage, WINDOWS } from './old-images.ts'
import { openStage, type Stage } from './stage.ts'
import { atEachStep, collectUpTo } from './steps.ts'

const WALK_MS = 90_000

let stage: Stage
let registry: Registry
let repository: RepositoryName
beforeEach(async () => {
  stage = await openStage(WINDOWS)
  registry = stage.registry
  repository = stage.newRepository()
})
afterEach(() => stage.test.close())

/** Children that nothing names any more, and an index of them that was never pushed. */
async function pushChildren() {
  const images = [newImage(), newImage()]
  const children: Digest[] = []
  for (const image of images) children.push(await pushImage(registry, repository, image))
  await stage.age(LONG)
  return { images, children, bytes: indexOf(children) }
}

describe('an index', () => {
  it('keeps children that had been judged as garbage', async () => {
    const { bytes } = await pushChildren()
    const collector = await collectUpTo(registry, 'manifest reviewed')
    const digest = await pushManifest(registry, repository, bytes, { reference: 'new' })
    expect(await collector.goOn()).toMatchObject({ manifests: 0 })
    expect(await pullWhole(registry, repository, 'new')).toBe(digest)
  })

  it('makes the collector of a child give way when its push came first', async () => {
    const { bytes } = await pushChildren()
    const collector = await collectUpTo(registry, 'manifest reviewed')
    const barrier = gate()
    const stopping = stoppingAt(registry, 'manifest locked', barrier)
    const push = pushManifest(stopping, repository, bytes, { reference: 'new' })
    await barrier.reached
    expect(await collector.goOn()).toMatchObject({ manifests: 0 })
    barrier.open()
    const digest = await push
    await stage.bringDue()
    await stage.collect()
    expect(await pullWhole(registry, repository, 'new')).toBe(digest)
  })

  it('is seen by the collector of a child that waited for its push', async () => {
    const { bytes } = await pushChildren()
    const collector = await collectUpTo(registry, 'manifest reviewed')
    const barrier = gate()
    const stopping = stoppingAt(registry, 'manifest locked', barrier)
    const push = pushManifest(stopping, repository, bytes, { reference: 'new' })
    await barrier.reached
    const collecting = collector.goOn()
    expect(await isWaiting(collecting)).toBe(true)
    barrier.open()
    expect(await collecting).toMatchObject({ manifests: 0 })
    const digest = await push
    expect(await pullWhole(registry, repository, 'new')).toBe(digest)
  })

  it('is refused when the collector of a child came first', async () => {
    const { images, children, bytes } = await pushChildren()
    const collector = await deleting(registry, children[1]!)
    const push = pushManifest(registry, repository, bytes, { reference: 'new' })
    push.catch(() => {})
    expect(await isWaiting(push)).toBe(true)
    await collector.commit()
    await expect(push).rejects.toMatchObject({
      code: 'MANIFEST_BLOB_UNKNOWN',
      details: [children[1]],
    })
    await pushImage(registry, repository, images[1]!)
    await pushManifest(registry, repository, bytes, { reference: 'new' })
    await pullWhole(registry, repository, 'new')
  })

  it('of children that a client was told to be there is taken', { timeout: WALK_MS }, async () => {
    let pushed: Awaited<ReturnType<typeof pushChildren>>
    await atEachStep({
      prepare: async () => {
        repository = stage.newRepository()
        pushed = await pushChildren()
        return registry
      },
      during: async () => {
        const process = otherProcess(registry)
        for (const [index, child] of pushed.children.entries()) {
          if (await isManifestThere(process, repository, child)) continue
          await pushImage(process, repository, pushed.images[index]!)
        }
      },
      after: async (at) => {
        const { bytes } = pushed
        const digest = await pushManifest(registry, repository, bytes, { reference: 'new' })
        await stage.age(10 * LONG)
        await stage.collect()
        expect([at, await pullWhole(registry, repository, 'new')]).toEqual([at, digest])
      },
    })
  })

  it('that a client was told to be there is there whole', { timeout: WALK_MS }, async () => {
    let pushed: Awaited<ReturnType<typeof pushChildren>>
    const answers = new Set<boolean>()
    await atEachStep({
      prepare: async () => {
        repository = stage.newRepository()
        pushed = await pushChildren()
        await pushManifest(registry, repository, pushed.bytes, { reference: 'old' })
        await deleteTag(registry, repository, parseTag('old'), undefined)
        await stage.age(LONG)
        return registry
      },
      during: async () => {
        const process = otherProcess(registry)
        const isThere = await isManifestThere(process, repository, digestOf(pushed.bytes))
        answers.add(isThere)
        if (isThere) return
        for (const image of pushed.images) await pushImage(process, repository, image)
      },
      after: async (at) => {
        const digest = await pushManifest(registry, repository, pushed.bytes, { reference: 'new' })
        expect([at, await pullWhole(registry, repository, 'new')]).toEqual([at, digest])
      },
    })
    expect(answers).toEqual(new Set([true, false]))
  })
})
