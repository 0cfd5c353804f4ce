import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Digest } from '../../../oci/digest.ts'
import { parseReference, parseRepositoryName, parseTag } from '../../../oci/reference.ts'
import { finishRemovals } from '../../../registry/blob-removal.ts'
import { statBlob } from '../../../registry/blobs.ts'
import { getManifest } from '../../../registry/manifests.ts'
import { MetadataCache } from '../../../registry/metadata-cache.ts'
import { pin, unpin } from '../../../registry/pull-through/pins.ts'
import { purge } from '../../../registry/pull-through/purge.ts'
import { refresh } from '../../../registry/pull-through/refresh.ts'
import type { Registry } from '../../../registry/registry.ts'
import type { Announce, Message } from '../../../storage/metadata/changes.ts'
import { ensureRepository } from '../../../storage/metadata/repositories.ts'
import { openTestRegistry, type TestRegistry } from '../../support/registry.ts'
import {
  absent,
  addFetch,
  cacheBlob,
  cacheManifest,
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

/** What a command has, with what it tells servers. */
function asCommand() {
  const told: Message[] = []
  const tell = async <T>(work: (announce: Announce) => Promise<T>) =>
    work(async (_tx, message) => void told.push(message))
  let waits = 0
  const changes = {
    announcing: tell,
    settling: async <T>(work: (announce: Announce) => Promise<T>) => {
      waits++
      return tell(work)
    },
  }
  const command = { db: registry.db, cache: new MetadataCache(false), changes }
  return { command, told, waits: () => waits }
}

async function namesOf(upstream: string): Promise<string[]> {
  const { rows } = await registry.db.query<{ name: string }>(
    'select name from repositories where upstream = $1 order by name',
    [upstream],
  )
  return rows.map((row) => row.name)
}

async function dueTags(upstream: string): Promise<string[]> {
  const { rows } = await registry.db.query<{ name: string }>(
    `select t.name from tags t join repositories r on r.id = t.repository_id
     where r.upstream = $1 and t.due order by t.name`,
    [upstream],
  )
  return rows.map((row) => row.name)
}

describe('a purge', () => {
  it('of an upstream removes all that is kept of it, pinned or not, and the bytes go later', async () => {
    const { upstream, cache, blobs } = await openFullCache(registry, 3)
    const second = await openCache(registry, upstream, 'library/y')
    await linkTo(registry, second.id, blobs[0]!)
    const image = await cacheManifest(registry, second, { tags: ['a', 'b'], blobs })
    await pin(registry, cache.name)
    await pin(registry, second.name, parseTag('a'))
    const hosted = parseRepositoryName(`hosted/${randomUUID()}`)
    await linkTo(registry, await ensureRepository(registry.db, hosted), blobs[1]!)
    const other = await openCache(registry, newUpstream())
    await linkTo(registry, other.id, blobs[2]!)

    const { command, told, waits } = asCommand()
    expect(await purge(command, { upstream })).toEqual({
      repositories: 2,
      manifests: 1,
      blobs: 1,
      bytes: 1000,
    })
    expect(await namesOf(upstream)).toEqual([])
    expect(await stateOf(registry, blobs[0]!)).toBe('deleting')
    expect(waits()).toBe(1)
    expect(told).toContainEqual({ kind: 'revoked', repository: cache.name })
    expect(told).toContainEqual({ kind: 'revoked', repository: second.name })
    const { rows } = await registry.db.query('select from manifests where digest = $1', [image])
    expect(rows).toEqual([])

    expect(await finishRemovals(registry, { limit: 10, settleMs: 0 })).toBe(1)
    expect(await stateOf(registry, blobs[0]!)).toBeUndefined()
    expect((await statBlob(registry, hosted, blobs[1]!)).sizeBytes).toBe(1000)
    expect((await statBlob(registry, other.name, blobs[2]!)).sizeBytes).toBe(1000)
  })

  it('of a repository leaves the others of its upstream', async () => {
    const upstream = newUpstream()
    const [one, other] = [
      await openCache(registry, upstream),
      await openCache(registry, upstream, 'library/y'),
    ]
    const [gone, kept] = [await cacheBlob(registry, one), await cacheBlob(registry, other)]
    await cacheManifest(registry, one, { tags: ['t'], blobs: [gone] })
    await getManifest(registry, one.name, parseReference('t'))
    expect(await purge(registry, { repository: one.name })).toMatchObject({
      repositories: 1,
      manifests: 1,
      blobs: 1,
    })
    await expect(getManifest(registry, one.name, parseReference('t'))).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    })
    expect(await namesOf(upstream)).toEqual([other.name])
    expect(await stateOf(registry, kept)).toBe('live')
    expect(await finishRemovals(registry, { limit: 10, settleMs: 0 })).toBe(1)
  })

  it('takes more than is locked at a time', async () => {
    const { upstream, cache } = await openFullCache(registry, 1)
    await registry.db.query(
      `with added as (
         insert into blobs (digest, size_bytes, location)
         select $1 || n, 10, 'nowhere/' || n from generate_series(1, 250) n
         returning digest
       )
       insert into repository_blobs (repository_id, digest) select $2, digest from added`,
      [`sha512:${randomUUID()}-`, cache.id],
    )
    for (let index = 0; index < 105; index++) await cacheManifest(registry, cache)
    const purged = await purge(registry, { upstream })
    expect(purged).toEqual({ repositories: 1, manifests: 105, blobs: 251, bytes: 3500 })
    expect(await finishRemovals(registry, { limit: 1000, settleMs: 0 })).toBe(251)
  })

  it('leaves the repository that something is on its way to', async () => {
    const { upstream, cache } = await openFullCache(registry, 1)
    await addFetch(registry, { digest: absent(), claimedSeconds: 15, repositoryId: cache.id })
    expect(await purge(registry, { upstream })).toMatchObject({ repositories: 0, blobs: 1 })
    expect(await namesOf(upstream)).toEqual([cache.name])
  })

  it('of an upstream of which nothing is kept removes nothing', async () => {
    expect(await purge(registry, { upstream: newUpstream() })).toMatchObject({ repositories: 0 })
  })

  it('refuses what is no cache', async () => {
    const hosted = parseRepositoryName(`hosted/${randomUUID()}`)
    await ensureRepository(registry.db, hosted)
    for (const repository of [hosted, parseRepositoryName('no/where')]) {
      await expect(purge(registry, { repository })).rejects.toMatchObject({ code: 'NAME_UNKNOWN' })
    }
  })
})

describe('a refresh', () => {
  it('lets tags be asked for again: one, those of a repository, or those of an upstream', async () => {
    const upstream = newUpstream()
    const [one, other] = [
      await openCache(registry, upstream),
      await openCache(registry, upstream, 'library/y'),
    ]
    await cacheManifest(registry, one, { tags: ['a', 'b'] })
    await cacheManifest(registry, other, { tags: ['c'] })
    const { command, told } = asCommand()
    expect(await refresh(command, { repository: one.name, tag: parseTag('a') })).toBe(1)
    expect(await dueTags(upstream)).toEqual(['a'])
    expect(await refresh(command, { repository: one.name })).toBe(1)
    expect(await dueTags(upstream)).toEqual(['a', 'b'])
    expect(await refresh(command, { upstream })).toBe(1)
    expect(await dueTags(upstream)).toEqual(['a', 'b', 'c'])
    expect(told).toEqual(Array.from({ length: 3 }, () => ({ kind: 'upstreams changed' })))
  })

  it('leaves the history of the tags alone, however many there are', async () => {
    const upstream = newUpstream()
    const cache = await openCache(registry, upstream)
    await cacheManifest(registry, cache)
    await registry.db.query(
      `insert into tags (repository_id, name, manifest_id, checked_at)
       select m.repository_id, 'n' || n, m.id, now()
       from manifests m, generate_series(1, 2100) n where m.repository_id = $1`,
      [cache.id],
    )
    expect(await refresh(registry, { upstream })).toBe(2100)
    expect(await refresh(registry, { upstream })).toBe(0)
    const { rows } = await registry.db.query<{ count: number }>(
      'select count(*)::int as count from tag_events where repository_id = $1',
      [cache.id],
    )
    expect(rows[0]?.count).toBe(2100)
  })

  it('refuses what is not there', async () => {
    const { cache } = await openFullCache(registry, 1)
    await expect(
      refresh(registry, { repository: cache.name, tag: parseTag('none') }),
    ).rejects.toMatchObject({ code: 'MANIFEST_UNKNOWN' })
    await expect(
      refresh(registry, { repository: parseRepositoryName('no/where') }),
    ).rejects.toMatchObject({ code: 'NAME_UNKNOWN' })
  })
})

describe('a pin', () => {
  it('is refused for what is not there, and for what was pushed here', async () => {
    const { cache } = await openFullCache(registry, 1)
    const hosted = parseRepositoryName(`hosted/${randomUUID()}`)
    await ensureRepository(registry.db, hosted)
    for (const act of [pin, unpin]) {
      await expect(act(registry, hosted)).rejects.toMatchObject({ code: 'NAME_UNKNOWN' })
      await expect(act(registry, cache.name, parseTag('none'))).rejects.toMatchObject({
        code: 'MANIFEST_UNKNOWN',
        details: [`no tag none is kept of ${cache.name}`],
      })
    }
  })

  it('stays with the tag when it moves', async () => {
    const cache = await openCache(registry, newUpstream())
    const first: Digest = await cacheManifest(registry, cache, { tags: ['t'] })
    await pin(registry, cache.name, parseTag('t'))
    await cacheManifest(registry, cache, { tags: ['t'] })
    const { rows } = await registry.db.query(
      `select t.pinned, m.digest = $2 as "isFirst"
       from tags t join manifests m on m.id = t.manifest_id where t.repository_id = $1`,
      [cache.id, first],
    )
    expect(rows).toEqual([{ pinned: true, isFirst: false }])
  })
})
