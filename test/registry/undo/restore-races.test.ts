import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseTag } from '../../../oci/reference.ts'
import { deleteBlob } from '../../../registry/blobs.ts'
import { deleteManifest } from '../../../registry/manifests.ts'
import type { Registry } from '../../../registry/registry.ts'
import { deleteRepository } from '../../../registry/repositories.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { restoreRepository } from '../../../registry/undo/restore-repository.ts'
import { openStage, type Stage } from '../garbage/stage.ts'
import { gate, isWaiting, stoppingAt } from '../gate.ts'
import { ANYBODY, imageOf, indexOf, pushManifest } from '../push.ts'
import { AN_HOUR, digestAt, pullWhole, pushImage, restore } from './images.ts'

let stage: Stage
let registry: Registry

beforeAll(async () => {
  stage = await openStage(AN_HOUR)
  registry = stage.registry
})
afterAll(() => stage.test.close())

describe('two restores at once', () => {
  it('of a tag do it once', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository, 'twice')
    await deleteManifest(registry, repository, manifest, ANYBODY)
    const both = [restore(registry, repository, 'twice'), restore(registry, repository, 'twice')]
    const outcomes = await Promise.all(both)
    expect(outcomes.filter(({ isChanged }) => isChanged)).toHaveLength(1)
    expect(await pullWhole(registry, repository, 'twice')).toEqual([manifest])
    const { rowCount } = await registry.db.query(
      `select from tag_events where name = 'twice' and cause = 'restore'`,
    )
    expect(rowCount).toBe(1)
  })

  it('of tags of one manifest, and of indexes that share a child, both happen', async () => {
    for (let round = 0; round < 10; round++) {
      const repository = stage.newRepository()
      const child = await pushImage(registry, repository)
      const other = await pushImage(registry, repository)
      const one = await pushManifest(registry, repository, indexOf([child.manifest]), {
        reference: 'one',
      })
      const both = indexOf([other.manifest, child.manifest])
      const two = await pushManifest(registry, repository, both, { reference: 'two' })
      for (const digest of [one, two, child.manifest, other.manifest]) {
        await deleteManifest(registry, repository, digest, ANYBODY)
      }
      await Promise.all([
        restore(registry, repository, 'one'),
        restore(registry, repository, 'two'),
      ])
      expect(await pullWhole(registry, repository, 'one')).toEqual([one, child.manifest])
      expect(await pullWhole(registry, repository, 'two')).toHaveLength(3)
    }
  })

  it('of a repository: one has it, the other is told', async () => {
    const repository = stage.newRepository()
    await pushImage(registry, repository, 'x')
    await deleteRepository(registry, repository, ANYBODY)
    const back = () => restoreRepository(registry, repository, { permits: () => true })
    const outcomes = await Promise.allSettled([back(), back()])
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(await digestAt(registry, repository, 'x')).toBeDefined()
  })
})

describe('a restore', () => {
  it('is waited for by a delete of the manifest, which then takes the tag with it', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository, 'x')
    await deleteTag(registry, repository, parseTag('x'), undefined)
    const barrier = gate()
    const restoring = restore(stoppingAt(registry, 'manifest locked', barrier), repository, 'x')
    await barrier.reached
    const deletion = deleteManifest(registry, repository, manifest, ANYBODY)
    expect(await isWaiting(deletion)).toBe(true)
    barrier.open()
    expect(await restoring).toMatchObject({ digest: manifest })
    await deletion
    expect(await digestAt(registry, repository, 'x')).toBeUndefined()
    await restore(registry, repository, 'x')
    expect(await pullWhole(registry, repository, 'x')).toEqual([manifest])
  })

  it('keeps the blobs that it is about to serve from being deleted', async () => {
    const repository = stage.newRepository()
    const { manifest, layer } = await pushImage(registry, repository, 'x')
    await deleteManifest(registry, repository, manifest, ANYBODY)
    const barrier = gate()
    const restoring = restore(stoppingAt(registry, 'manifest locked', barrier), repository, 'x')
    await barrier.reached
    const deletion = deleteBlob(registry, repository, layer)
    expect(await isWaiting(deletion)).toBe(true)
    barrier.open()
    await restoring
    await expect(deletion).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    expect(await pullWhole(registry, repository, 'x')).toEqual([manifest])
  })

  it('links a blob that somebody unlinks at the same time, however often it is tried', async () => {
    for (let round = 0; round < 10; round++) {
      const repository = stage.newRepository()
      const { manifest, layer } = await pushImage(registry, repository, 'x')
      await deleteManifest(registry, repository, manifest, ANYBODY)
      const [restoring] = await Promise.allSettled([
        restore(registry, repository, 'x'),
        deleteBlob(registry, repository, layer),
      ])
      expect(restoring.status).toBe('fulfilled')
      expect(await pullWhole(registry, repository, 'x')).toEqual([manifest])
    }
  })

  it('and a push of the same tag come one after the other', async () => {
    const repository = stage.newRepository()
    await pushImage(registry, repository, 'x')
    await deleteTag(registry, repository, parseTag('x'), undefined)
    const barrier = gate()
    const restoring = restore(stoppingAt(registry, 'manifest locked', barrier), repository, 'x')
    await barrier.reached
    const push = pushManifest(registry, repository, imageOf([], 'new'), { reference: 'x' })
    expect(await isWaiting(push)).toBe(true)
    barrier.open()
    const [restored, pushed] = await Promise.all([restoring, push])
    expect(restored.isChanged).toBe(true)
    expect(await digestAt(registry, repository, 'x')).toBe(pushed)
  })

  it('and a push of the same manifest both leave it there', async () => {
    for (let round = 0; round < 10; round++) {
      const repository = stage.newRepository()
      const bytes = imageOf([], `round ${round}`)
      const manifest = await pushManifest(registry, repository, bytes, { reference: 'x' })
      await deleteManifest(registry, repository, manifest, ANYBODY)
      await Promise.all([
        restore(registry, repository, 'x'),
        pushManifest(registry, repository, bytes, { reference: 'y' }),
      ])
      expect(await digestAt(registry, repository, 'x')).toBe(manifest)
      expect(await digestAt(registry, repository, 'y')).toBe(manifest)
    }
  })

  it('holds the collector off what is about to be kept', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository, 'x')
    await deleteTag(registry, repository, parseTag('x'), undefined)
    // Nothing but the restore keeps it.
    await stage.age(AN_HOUR.undoSeconds + 60)
    await stage.bringDue()
    const barrier = gate()
    const restoring = restore(stoppingAt(registry, 'manifest locked', barrier), repository, 'x')
    await barrier.reached
    await stage.collect()
    expect(await stage.hasManifest(manifest)).toBe(true)
    barrier.open()
    await restoring
    await stage.bringDue()
    await stage.collect()
    expect(await pullWhole(registry, repository, 'x')).toEqual([manifest])
  })
})
