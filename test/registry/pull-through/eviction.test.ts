import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Digest } from '../../../oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../../oci/reference.ts'
import { statBlob } from '../../../registry/blobs.ts'
import { evict } from '../../../registry/pull-through/eviction.ts'
import { pin, unpin } from '../../../registry/pull-through/pins.ts'
import type { Registry } from '../../../registry/registry.ts'
import { findUsage } from '../../../storage/metadata/cached-content.ts'
import { ensureRepository } from '../../../storage/metadata/repositories.ts'
import { openTestRegistry, type TestRegistry } from '../../support/registry.ts'
import {
  absent,
  addFetch,
  addSession,
  cacheBlob,
  cacheManifest,
  linked,
  linkTo,
  newUpstream,
  openCache,
  openFullCache,
  stateOf,
} from './caches.ts'

let test: TestRegistry
let registry: Registry

beforeAll(async () => {
  test = await openTestRegistry()
  registry = test.registry
})
afterAll(() => test.close())

const BYTES = 1000
const content = () => randomBytes(BYTES)
const NEVER_IDLE = 0

const evictTo = (upstream: string, maxBytes: number, limit?: number) =>
  evict(registry, {
    upstream,
    maxBytes,
    idleSeconds: NEVER_IDLE,
    ...(limit === undefined ? {} : { limit }),
  })

describe('an upstream with more than its cap', () => {
  it('loses what was used longest ago, until a tenth of the cap is free', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 10)
    const first = await statBlob(registry, cache.name, blobs[0]!)
    expect(await findUsage(registry.db, upstream)).toMatchObject({ blobs: 10, bytes: 10_000 })
    const evicted = await evictTo(upstream, 5000)
    expect(evicted).toEqual({ blobs: 6, bytes: 6000, manifests: 0, repositories: 0 })
    expect(await linked(registry, cache, blobs)).toEqual(blobs.slice(6))
    expect(await findUsage(registry.db, upstream)).toMatchObject({ blobs: 4, bytes: 4000 })
    expect(await stateOf(registry, blobs[0]!)).toBeUndefined()
    expect(await registry.blobs.size(first.location)).toBeUndefined()
    await expect(statBlob(registry, cache.name, blobs[0]!)).rejects.toMatchObject({
      code: 'BLOB_UNKNOWN',
    })
    expect((await statBlob(registry, cache.name, blobs[9]!)).sizeBytes).toBe(BYTES)
  })

  it('loses nothing while it has no more, or has no cap', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 3)
    expect(await evictTo(upstream, 3000)).toMatchObject({ blobs: 0, bytes: 0 })
    expect(await evictTo(upstream, 0)).toMatchObject({ blobs: 0, bytes: 0 })
    expect(await linked(registry, cache, blobs)).toEqual(blobs)
  })

  it('loses no more at a time than the limit', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 5)
    expect(await evictTo(upstream, 1, 2)).toMatchObject({ blobs: 2 })
    expect(await linked(registry, cache, blobs)).toEqual(blobs.slice(2))
  })

  it('loses nothing once it is told to end', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 3)
    const terms = { upstream, maxBytes: 1, idleSeconds: 60 }
    await cacheManifest(registry, cache)
    const evicted = await evict(registry, { ...terms, signal: AbortSignal.abort() })
    expect(evicted).toMatchObject({ blobs: 0, manifests: 0 })
    expect(await linked(registry, cache, blobs)).toEqual(blobs)
  })

  it('counts what came and was never asked for since by when it came', async () => {
    const upstream = newUpstream()
    const cache = await openCache(registry, upstream)
    const never = await cacheBlob(registry, cache, {
      content: content(),
      usedSeconds: null,
      linkedSeconds: 5000,
    })
    const used = await cacheBlob(registry, cache, { content: content(), usedSeconds: 4000 })
    const older = await cacheBlob(registry, cache, { content: content(), usedSeconds: 6000 })
    await evictTo(upstream, 2999)
    expect(await linked(registry, cache, [never, used, older])).toEqual([never, used])
    await evictTo(upstream, 1999)
    expect(await linked(registry, cache, [never, used])).toEqual([used])
  })

  it('counts a blob of several repositories by its latest use, and ends all its links', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 2)
    const second = await openCache(registry, upstream, 'library/y')
    await linkTo(registry, second.id, blobs[0]!, 500)
    await evictTo(upstream, 1999)
    expect(await linked(registry, cache, blobs)).toEqual([blobs[0]])
    await evictTo(upstream, 1)
    expect(await linked(registry, cache, blobs)).toEqual([])
    expect(await linked(registry, second, blobs)).toEqual([])
  })

  it('has more blobs than are locked at a time', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 1)
    await registry.db.query(
      `with added as (
         insert into blobs (digest, size_bytes, location)
         select $1 || n, 1000, 'nowhere/' || n from generate_series(1, 1234) n
         returning digest
       )
       insert into repository_blobs (repository_id, digest, used_at)
       select $2, digest, now() - interval '1 day' from added`,
      [`sha512:${randomUUID()}-`, cache.id],
    )
    expect(await evictTo(upstream, 5000)).toMatchObject({ blobs: 1231 })
    expect(await findUsage(registry.db, upstream)).toMatchObject({ blobs: 4 })
    expect(await linked(registry, cache, blobs)).toEqual(blobs)
  })

  it('loses by two processes at once no more than by one', async () => {
    const { upstream } = await openFullCache(registry, 60)
    const both = await Promise.all([evictTo(upstream, 30_000), evictTo(upstream, 30_000)])
    expect(both[0].blobs + both[1].blobs).toBe(33)
    expect(await findUsage(registry.db, upstream)).toMatchObject({ blobs: 27, bytes: 27_000 })
  })
})

describe('what stays however much room is needed:', () => {
  it('what was used in the last minute', async () => {
    const upstream = newUpstream()
    const cache = await openCache(registry, upstream)
    const used = await cacheBlob(registry, cache, { usedSeconds: 30 })
    const come = await cacheBlob(registry, cache, { usedSeconds: null, linkedSeconds: 30 })
    const older = await cacheBlob(registry, cache, { usedSeconds: 90 })
    expect(await evictTo(upstream, 1)).toMatchObject({ blobs: 1 })
    expect(await linked(registry, cache, [used, come, older])).toEqual([used, come])
  })

  it('what a hosted repository serves, which does not count either', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 2)
    const hosted = await ensureRepository(registry.db, parseRepositoryName('hosted/stays'))
    await linkTo(registry, hosted, blobs[0]!)
    expect(await findUsage(registry.db, upstream)).toMatchObject({ blobs: 1, bytes: BYTES })
    expect(await evictTo(upstream, 1)).toMatchObject({ blobs: 1 })
    expect(await linked(registry, cache, blobs)).toEqual([blobs[0]])
    expect(await stateOf(registry, blobs[0]!)).toBe('live')
  })

  it('the bytes of what another upstream keeps as well', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 1)
    const other = await openCache(registry, newUpstream())
    await linkTo(registry, other.id, blobs[0]!)
    expect(await evictTo(upstream, 1)).toMatchObject({ blobs: 1, bytes: BYTES })
    expect(await linked(registry, cache, blobs)).toEqual([])
    expect((await statBlob(registry, other.name, blobs[0]!)).sizeBytes).toBe(BYTES)
  })

  it('what is on its way, or broke off and may go on', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 5)
    const [claimed, resumable, over, uploaded, expired] = blobs as [
      Digest,
      Digest,
      Digest,
      Digest,
      Digest,
    ]
    const session = await addSession(registry, undefined, 60)
    await addFetch(registry, { digest: claimed, claimedSeconds: 15 })
    await addFetch(registry, { digest: resumable, claimedSeconds: -3600, uploadId: session })
    await addFetch(registry, { digest: over, claimedSeconds: -3600 })
    await addSession(registry, uploaded, 60)
    await addSession(registry, expired, -60)
    expect(await evictTo(upstream, 1)).toMatchObject({ blobs: 2 })
    expect(await linked(registry, cache, blobs)).toEqual([claimed, resumable, uploaded])
  })

  it('a pinned repository, until it is unpinned', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 2)
    const second = await openCache(registry, upstream, 'library/y')
    const loose = await cacheBlob(registry, second)
    await pin(registry, cache.name)
    expect(await evictTo(upstream, 1)).toMatchObject({ blobs: 1, repositories: 1 })
    expect(await linked(registry, cache, blobs)).toEqual(blobs)
    expect(await stateOf(registry, loose)).toBeUndefined()
    await unpin(registry, cache.name)
    expect(await evictTo(upstream, 1)).toMatchObject({ blobs: 2 })
  })

  it('what a pinned tag names, through indexes of indexes, as far as it is here', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 5)
    const [layer, config, ofIndex, ofOther, loose] = blobs as [
      Digest,
      Digest,
      Digest,
      Digest,
      Digest,
    ]
    const image = await cacheManifest(registry, cache, { blobs: [layer, config, absent()] })
    const inner = await cacheManifest(registry, cache, { children: [image, absent(), ofIndex] })
    await cacheManifest(registry, cache, { children: [inner], tags: ['kept'] })
    await cacheManifest(registry, cache, { blobs: [ofOther], tags: ['other'] })
    await pin(registry, cache.name, parseTag('kept'))
    expect(await evictTo(upstream, 1)).toMatchObject({ blobs: 2 })
    expect(await linked(registry, cache, blobs)).toEqual([layer, config, ofIndex])
    expect(await stateOf(registry, loose)).toBeUndefined()
    await unpin(registry, cache.name, parseTag('kept'))
    expect(await evictTo(upstream, 1)).toMatchObject({ blobs: 3 })
  })
})
