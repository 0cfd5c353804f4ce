import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseReference, parseTag } from '../../../oci/reference.ts'
import { getManifest } from '../../../registry/manifests.ts'
import { evict } from '../../../registry/pull-through/eviction.ts'
import { pin } from '../../../registry/pull-through/pins.ts'
import type { Registry } from '../../../registry/registry.ts'
import { openTestRegistry, type TestRegistry } from '../../support/registry.ts'
import { absent, addFetch, cacheManifest, newUpstream, openCache } from './caches.ts'

let test: TestRegistry
let registry: Registry

beforeAll(async () => {
  test = await openTestRegistry()
  registry = test.registry
})
afterAll(() => test.close())

function evictIdle(upstream: string, idleSeconds: number) {
  return evict(registry, { upstream, maxBytes: 0, idleSeconds })
}

describe('manifests that nobody asks for', () => {
  it('go with their tags, and the repository that is left with nothing', async () => {
    const upstream = newUpstream()
    const [cache, other] = [
      await openCache(registry, upstream),
      await openCache(registry, upstream, 'library/y'),
    ]
    const idle = await cacheManifest(registry, cache, { tags: ['a', 'b'], usedSeconds: 500 })
    const used = await cacheManifest(registry, other, { tags: ['c'], usedSeconds: 300 })
    for (const [name, tag] of [
      [cache.name, 'a'],
      [other.name, 'c'],
    ] as const) {
      await getManifest(registry, name, parseReference(tag)) // and remembers it
    }
    expect(await evictIdle(upstream, 400)).toMatchObject({ manifests: 1, repositories: 1 })
    for (const reference of ['a', 'b', idle]) {
      await expect(
        getManifest(registry, cache.name, parseReference(reference)),
      ).rejects.toMatchObject({ code: 'MANIFEST_UNKNOWN' })
    }
    expect((await getManifest(registry, other.name, parseReference('c'))).digest).toBe(used)
    const { rows } = await registry.db.query(
      'select name from repositories where upstream = $1 order by name',
      [upstream],
    )
    expect(rows).toEqual([{ name: other.name }])
  })

  it('stay where they are pinned, with what they list', async () => {
    const upstream = newUpstream()
    const [cache, pinned] = [
      await openCache(registry, upstream),
      await openCache(registry, upstream, 'library/y'),
    ]
    const child = await cacheManifest(registry, cache)
    const index = await cacheManifest(registry, cache, { children: [child], tags: ['kept'] })
    await cacheManifest(registry, cache, { tags: ['loose'] })
    await cacheManifest(registry, pinned)
    await pin(registry, cache.name, parseTag('kept'))
    await pin(registry, pinned.name)
    expect(await evictIdle(upstream, 60)).toMatchObject({ manifests: 1, repositories: 0 })
    for (const digest of [child, index]) {
      const found = await getManifest(registry, cache.name, parseReference(digest))
      expect(found.digest).toBe(digest)
    }
  })

  it('go in batches, and never for the sake of room', async () => {
    const upstream = newUpstream()
    const cache = await openCache(registry, upstream)
    for (let index = 0; index < 120; index++) await cacheManifest(registry, cache)
    const terms = { upstream, maxBytes: 1, idleSeconds: 0 }
    expect(await evict(registry, terms)).toMatchObject({ manifests: 0 })
    expect(await evict(registry, { ...terms, idleSeconds: 60, limit: 115 })).toMatchObject({
      manifests: 115,
      repositories: 0,
    })
    expect(await evictIdle(upstream, 60)).toMatchObject({ manifests: 5, repositories: 1 })
  })

  it('leave a repository that something is on its way to', async () => {
    const upstream = newUpstream()
    const cache = await openCache(registry, upstream)
    await addFetch(registry, { digest: absent(), claimedSeconds: 15, repositoryId: cache.id })
    expect(await evictIdle(upstream, 60)).toMatchObject({ repositories: 0 })
    await registry.db.query('delete from fetches')
    expect(await evictIdle(upstream, 60)).toMatchObject({ repositories: 1 })
  })
})
