import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { parseRepositoryName, parseTag, type RepositoryName } from '../../oci/reference.ts'
import { deleteBlob } from '../../registry/blobs.ts'
import { addLease, getLeases, pruneLeases, removeLease } from '../../registry/leases.ts'
import { deleteManifest } from '../../registry/manifests.ts'
import type { Registry } from '../../registry/registry.ts'
import { deleteRepository } from '../../registry/repositories.ts'
import { deleteTag } from '../../registry/tags.ts'
import { openStage, type Stage } from './garbage/stage.ts'
import { cacheManifest, newUpstream, openCache } from './pull-through/caches.ts'
import { ANYBODY } from './push.ts'
import { pullWhole, pushImage, restore } from './undo/images.ts'

let stage: Stage
let registry: Registry

beforeAll(async () => {
  stage = await openStage()
  registry = stage.registry
})
afterAll(() => stage.test.close())

const lease = (repository: RepositoryName, digest: Digest, holder = 'h', seconds = 3600) =>
  addLease(registry, { repository, digest, holder, seconds, actor: 'user:ann' })

async function collectAll(): Promise<void> {
  await stage.bringDue()
  await stage.collect()
  await stage.bringDue()
  await stage.collect()
}

describe('a lease', () => {
  it('keeps a manifest that no tag names, with its blobs, until it is over', async () => {
    const repository = stage.newRepository()
    const { manifest, layer } = await pushImage(registry, repository, 'x')
    const made = await lease(repository, manifest)
    expect(made).toMatchObject({ repository, digest: manifest, holder: 'h', createdBy: 'user:ann' })
    expect(made.expiresAt.getTime()).toBeGreaterThan(Date.now() + 3_500_000)
    await deleteTag(registry, repository, parseTag('x'), undefined)
    await collectAll()
    expect(await pullWhole(registry, repository, manifest)).toEqual([manifest])
    await stage.age(3700)
    expect(await pruneLeases(registry.db)).toBe(1)
    expect(await pruneLeases(registry.db)).toBe(0)
    await collectAll()
    expect(await stage.hasManifest(manifest)).toBe(false)
    expect(await stage.blobState(layer)).toBeUndefined()
  })

  it('keeps what is deleted by its digest, which can be renewed, and restored as long', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository, 'x')
    await lease(repository, manifest)
    await deleteManifest(registry, repository, manifest, ANYBODY)
    await collectAll()
    expect(await stage.hasManifest(manifest)).toBe(true)
    await lease(repository, manifest, 'h', 7200)
    await expect(lease(repository, manifest, 'another')).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    })
    await stage.age(3700)
    await collectAll()
    await restore(registry, repository, 'x')
    expect(await pullWhole(registry, repository, 'x')).toEqual([manifest])
  })

  it('keeps a blob that nothing names', async () => {
    const repository = stage.newRepository()
    const blob = await stage.pushBlob(repository, 'leased')
    await lease(repository, blob)
    await deleteBlob(registry, repository, blob)
    await collectAll()
    expect(await stage.blobState(blob)).toBe('live')
    await removeLease(registry, { repository, digest: blob, holder: 'h' })
    await stage.collect()
    expect(await stage.blobState(blob)).toBeUndefined()
  })

  it('is one for each holder, who renews it or lets it end earlier', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository, 'x')
    const first = await lease(repository, manifest)
    const renewed = await lease(repository, manifest, 'h', 60)
    const other = await lease(repository, manifest, 'i')
    expect(renewed.id).toBe(first.id)
    expect(renewed.expiresAt.getTime()).toBeLessThan(first.expiresAt.getTime())
    const all = { after: '', limit: 100 }
    expect(await getLeases(registry, repository, all)).toEqual([renewed, other])
    const after = { after: renewed.id, limit: 1 }
    expect(await getLeases(registry, repository, after)).toEqual([other])
    await stage.age(120)
    const left = await getLeases(registry, undefined, all)
    expect(left.filter((each) => each.repository === repository)).toMatchObject([{ holder: 'i' }])
    await removeLease(registry, other)
    await expect(removeLease(registry, other)).rejects.toMatchObject({ code: 'NAME_UNKNOWN' })
    expect(await getLeases(registry, repository, all)).toEqual([])
  })

  it('is on what is there', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository, 'x')
    const elsewhere = stage.newRepository()
    await pushImage(registry, elsewhere, 'x')
    const never = digestOf(Buffer.from('never'))
    for (const [name, digest, code] of [
      [elsewhere, manifest, 'MANIFEST_UNKNOWN'],
      [repository, never, 'MANIFEST_UNKNOWN'],
      [parseRepositoryName('none/at-all'), manifest, 'NAME_UNKNOWN'],
    ] as const) {
      await expect(lease(name, digest)).rejects.toMatchObject({ code })
    }
    await deleteRepository(registry, repository, ANYBODY)
    await expect(lease(repository, manifest)).rejects.toMatchObject({ code: 'NAME_UNKNOWN' })
    const cache = await openCache(registry, newUpstream())
    const cached = await cacheManifest(registry, cache, { tags: ['x'] })
    await expect(lease(cache.name, cached)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      status: 409,
    })
  })
})
