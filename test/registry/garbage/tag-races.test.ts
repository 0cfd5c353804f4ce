import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Digest } from '../../../oci/digest.ts'
import { parseReference, parseTag, type RepositoryName } from '../../../oci/reference.ts'
import { getManifest } from '../../../registry/manifests.ts'
import type { Registry } from '../../../registry/registry.ts'
import { restoreTag } from '../../../registry/undo/restore-tag.ts'
import { gate, isWaiting, stoppingAt } from '../gate.ts'
import { ANYBODY, imageOf, pushManifest } from '../push.ts'
import { bytesOf, type Image, otherProcess, pullWhole, pushImage, pushLayers } from './client.ts'
import { deleting, idOf, isManifestThere, LONG, pushOld, WINDOWS } from './old-images.ts'
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

describe('a tag that is put on a manifest', () => {
  it('at any step of a collector of it leaves it whole', { timeout: WALK_MS }, async () => {
    let old: { image: Image; digest: Digest }
    const steps = await atEachStep({
      prepare: async () => {
        repository = stage.newRepository()
        old = await pushOld(stage, repository)
        return registry
      },
      during: async () => {
        await pushImage(otherProcess(registry), repository, old.image, 'new')
      },
      after: async (at) => {
        await stage.age(10 * LONG)
        await stage.collect()
        expect([at, await pullWhole(registry, repository, 'new')]).toEqual([at, old.digest])
      },
    })
    expect(steps).toContain('manifest collected')
  })

  it('keeps it when it had been judged as garbage', async () => {
    const { image, digest } = await pushOld(stage, repository)
    const id = await idOf(registry, digest)
    const collector = await collectUpTo(registry, 'manifest reviewed')
    await pushManifest(registry, repository, bytesOf(image), { reference: 'new' })
    expect(await collector.goOn()).toMatchObject({ manifests: 0 })
    expect(await idOf(registry, digest)).toBe(id)
  })

  it('makes another of it when the collector holds it', async () => {
    const { image, digest } = await pushOld(stage, repository)
    const id = await idOf(registry, digest)
    const collector = await deleting(registry, digest)
    const push = pushManifest(registry, repository, bytesOf(image), { reference: 'new' })
    expect(await isWaiting(push)).toBe(true)
    await collector.commit()
    await push
    expect(await idOf(registry, digest)).not.toBe(id)
    await stage.bringDue()
    await stage.collect()
    expect(await pullWhole(registry, repository, 'new')).toBe(digest)
  })

  it('holds its blobs while the collector takes the manifest away under it', async () => {
    const { image, digest } = await pushOld(stage, repository)
    const barrier = gate()
    const stopping = stoppingAt(registry, 'manifest locked', barrier)
    const push = pushManifest(stopping, repository, bytesOf(image), { reference: 'new' })
    await barrier.reached
    expect(await stage.collect()).toMatchObject({ manifests: 1, blobs: 0 })
    barrier.open()
    await push
    await stage.bringDue()
    await stage.collect()
    expect(await pullWhole(registry, repository, 'new')).toBe(digest)
  })

  it('restores it at the end of the window when the collector has judged it', async () => {
    const { digest } = await pushOld(stage, repository)
    const collector = await collectUpTo(registry, 'manifest reviewed')
    const restore = { to: digest, actor: undefined, permits: ANYBODY.permits }
    await restoreTag(registry, repository, parseTag('old'), restore)
    expect(await collector.goOn()).toMatchObject({ manifests: 0, blobs: 0 })
    await stage.age(LONG)
    await stage.collect()
    expect(await pullWhole(registry, repository, 'old')).toBe(digest)
  })

  it('restores nothing of what the collector holds', async () => {
    const { digest } = await pushOld(stage, repository)
    const collector = await deleting(registry, digest)
    const restore = { to: digest, actor: undefined, permits: ANYBODY.permits }
    const restoring = restoreTag(registry, repository, parseTag('old'), restore)
    restoring.catch(() => {})
    expect(await isWaiting(restoring)).toBe(true)
    await collector.commit()
    await expect(restoring).rejects.toMatchObject({ code: 'MANIFEST_UNKNOWN' })
    await expect(getManifest(registry, repository, parseReference('old'))).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    })
  })

  it('holds up no other garbage while its push takes long', async () => {
    const { image, digest } = await pushOld(stage, repository)
    await pushOld(stage, repository)
    const barrier = gate()
    const stopping = stoppingAt(registry, 'manifest locked', barrier)
    const push = pushManifest(stopping, repository, imageOf([], 'new'), { reference: 'new' })
    await barrier.reached
    expect(await stage.collect()).toMatchObject({ manifests: 2, blobs: 2 })
    barrier.open()
    await push
    expect(await isManifestThere(registry, repository, digest)).toBe(false)
    expect(await pushLayers(registry, repository, image.layers)).toHaveLength(1)
  })
})
