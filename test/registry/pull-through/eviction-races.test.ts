import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Digest } from '../../../oci/digest.ts'
import { parseRepositoryName } from '../../../oci/reference.ts'
import { mountBlob, statBlob } from '../../../registry/blobs.ts'
import { evict } from '../../../registry/pull-through/eviction.ts'
import type { Registry } from '../../../registry/registry.ts'
import { linkBlobFrom } from '../../../storage/metadata/blobs.ts'
import { transaction } from '../../../storage/metadata/database.ts'
import { ensureRepository } from '../../../storage/metadata/repositories.ts'
import { openTestRegistry, type TestRegistry } from '../../support/registry.ts'
import { gate, isWaiting } from '../gate.ts'
import { pushBlob } from '../push.ts'
import { cacheBlob, newUpstream, openCache, openFullCache, stateOf } from './caches.ts'

let test: TestRegistry
let registry: Registry

beforeAll(async () => {
  test = await openTestRegistry()
  registry = test.registry
})
afterAll(() => test.close())

const BYTES = 1000

function evictTo(upstream: string, maxBytes: number) {
  return evict(registry, { upstream, maxBytes, idleSeconds: 0 })
}

describe('a mount from a repository that is being evicted', () => {
  const hosted = parseRepositoryName('hosted/mounting')
  const from = (name: typeof hosted, digest: Digest) => ({
    digest,
    from: name,
    mayPull: () => true,
  })

  it('keeps the blob when it came first', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 1)
    const [digest] = blobs as [Digest]
    const id = await ensureRepository(registry.db, hosted)
    const barrier = gate()
    const mount = transaction(registry.db, async (tx) => {
      await linkBlobFrom(tx, cache.name, { id, name: hosted }, digest)
      await barrier.wait()
    })
    await barrier.reached
    const eviction = evictTo(upstream, 1)
    expect(await isWaiting(eviction)).toBe(true)
    barrier.open()
    await mount
    expect(await eviction).toMatchObject({ blobs: 0 })
    expect((await statBlob(registry, hosted, digest)).sizeBytes).toBe(BYTES)
    expect((await statBlob(registry, cache.name, digest)).sizeBytes).toBe(BYTES)
  })

  it('finds nothing when the eviction came first', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 1)
    const [digest] = blobs as [Digest]
    const barrier = gate()
    // The eviction has the blob by then, and waits for its link.
    const holding = transaction(registry.db, async (tx) => {
      await tx.query({
        text: 'select from repository_blobs where digest = $1 for key share',
        values: [digest],
      })
      await barrier.wait()
    })
    await barrier.reached
    const eviction = evictTo(upstream, 1)
    expect(await isWaiting(eviction)).toBe(true)
    const mount = mountBlob(registry, hosted, from(cache.name, digest))
    expect(await isWaiting(mount)).toBe(true)
    barrier.open()
    await holding
    expect(await mount).toBe(false)
    expect(await eviction).toMatchObject({ blobs: 1 })
    expect(await stateOf(registry, digest)).toBeUndefined()
  })

  it('either works or finds nothing, and then its blob is there or not, whatever comes first', async () => {
    for (let round = 0; round < 40; round++) {
      const { upstream, cache, blobs } = await openFullCache(registry, 1)
      const [digest] = blobs as [Digest]
      const name = parseRepositoryName(`hosted/round-${round}`)
      const [mounted] = await Promise.all([
        mountBlob(registry, name, from(cache.name, digest)),
        evictTo(upstream, 1),
      ])
      const found = await statBlob(registry, name, digest).catch(() => undefined)
      expect(found !== undefined).toBe(mounted)
      const size = found && (await registry.blobs.size(found.location))
      expect({ size, state: await stateOf(registry, digest) }).toEqual(
        mounted ? { size: BYTES, state: 'live' } : { size: undefined, state: undefined },
      )
    }
  })

  it('does not keep a push of the same content from working', async () => {
    for (let round = 0; round < 20; round++) {
      const bytes = randomBytes(BYTES)
      const upstream = newUpstream()
      const digest = await cacheBlob(registry, await openCache(registry, upstream), {
        content: bytes,
      })
      const name = parseRepositoryName(`hosted/pushed-${round}`)
      await Promise.all([pushBlob(registry, name, bytes), evictTo(upstream, 1)])
      const { location } = await statBlob(registry, name, digest)
      expect(await registry.blobs.size(location)).toBe(BYTES)
    }
  })
})
