import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Digest } from '../../oci/digest.ts'
import { parseRepositoryName } from '../../oci/reference.ts'
import type { Registry } from '../../registry/registry.ts'
import { Uses } from '../../registry/uses.ts'
import { transaction } from '../../storage/metadata/database.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'
import {
  absent,
  type Cache,
  cacheBlob,
  cacheManifest,
  newUpstream,
  openCache,
} from './pull-through/caches.ts'

let test: TestRegistry
let registry: Registry
let cache: Cache

beforeAll(async () => {
  test = await openTestRegistry()
  registry = test.registry
  cache = await openCache(registry, newUpstream())
})
afterAll(() => test.close())

/** Seconds since the digest was used, as the database has it; null: never. */
async function ageOf(table: 'repository_blobs' | 'manifests', digest: Digest) {
  const { rows } = await registry.db.query<{ seconds: number | null }>(
    `select extract(epoch from now() - used_at)::float8 as seconds from ${table}
     where repository_id = $1 and digest = $2`,
    [cache.id, digest],
  )
  return rows[0]?.seconds
}

describe('a use', () => {
  it('is recorded by the next flush, of blobs and of manifests', async () => {
    const blob = await cacheBlob(registry, cache, { usedSeconds: 700 })
    const fresh = await cacheBlob(registry, cache, { usedSeconds: null })
    const manifest = await cacheManifest(registry, cache, { usedSeconds: 700 })
    const other = await cacheManifest(registry, cache, { usedSeconds: 700 })
    const uses = new Uses()
    uses.blobUsed(cache.name, blob)
    uses.blobUsed(cache.name, fresh)
    uses.manifestUsed(cache.name, manifest)
    expect(await ageOf('repository_blobs', blob)).toBeGreaterThanOrEqual(700)
    await uses.flush(registry.db)
    expect(await ageOf('repository_blobs', blob)).toBeLessThan(600)
    expect(await ageOf('repository_blobs', fresh)).toBeLessThan(600)
    expect(await ageOf('manifests', manifest)).toBeLessThan(600)
    expect(await ageOf('manifests', other)).toBeGreaterThanOrEqual(700)
  })

  it('is not recorded within ten minutes of another', async () => {
    const blob = await cacheBlob(registry, cache, { usedSeconds: 300 })
    const uses = new Uses()
    uses.blobUsed(cache.name, blob)
    await uses.flush(registry.db)
    expect(await ageOf('repository_blobs', blob)).toBeGreaterThanOrEqual(300)
  })

  it('of what is gone by then does no harm', async () => {
    const uses = new Uses()
    uses.blobUsed(cache.name, absent())
    uses.manifestUsed(parseRepositoryName('gone.example/x'), absent())
    await expect(uses.flush(registry.db)).resolves.toBeUndefined()
  })

  it('waits for the next flush when the database fails, and does not wait for locks', async () => {
    const blob = await cacheBlob(registry, cache)
    const uses = new Uses()
    uses.blobUsed(cache.name, blob)
    const failing = { query: () => Promise.reject(new Error('no database')) }
    await expect(uses.flush(failing)).rejects.toThrow('no database')
    await transaction(registry.db, async (tx) => {
      await tx.query({
        text: 'select from repository_blobs where digest = $1 for update',
        values: [blob],
      })
      await uses.flush(registry.db)
    })
    expect(await ageOf('repository_blobs', blob)).toBeGreaterThanOrEqual(3600)
    uses.blobUsed(cache.name, blob)
    await uses.flush(registry.db)
    expect(await ageOf('repository_blobs', blob)).toBeLessThan(600)
  })

  it('counts once however often it is repeated, and beyond a number not at all', async () => {
    const blobs = [await cacheBlob(registry, cache), await cacheBlob(registry, cache)]
    const uses = new Uses(1)
    for (const blob of [...blobs, ...blobs]) uses.blobUsed(cache.name, blob)
    await uses.flush(registry.db)
    expect(await ageOf('repository_blobs', blobs[0]!)).toBeLessThan(600)
    expect(await ageOf('repository_blobs', blobs[1]!)).toBeGreaterThanOrEqual(3600)
  })

  it('is recorded in batches', async () => {
    const blobs: Digest[] = []
    for (let index = 0; index < 3; index++) {
      blobs.push(await cacheBlob(registry, cache))
    }
    const uses = new Uses()
    for (let index = 0; index < 1200; index++) uses.blobUsed(cache.name, absent())
    for (const blob of blobs) uses.blobUsed(cache.name, blob)
    await uses.flush(registry.db)
    for (const blob of blobs) expect(await ageOf('repository_blobs', blob)).toBeLessThan(600)
  })
})
