import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { evict } from '../../registry/pull-through/eviction.ts'
import { addActivity } from '../../storage/metadata/upstream-activity.ts'
import {
  type Cache,
  cacheBlob,
  cacheManifest,
  linked,
  newUpstream,
  openCache,
  stateOf,
} from '../registry/pull-through/caches.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'
import { documentsIn, flagsOf, runHere, runProgram } from './run.ts'

let test: TestRegistry
let flags: string[]

beforeAll(async () => {
  test = await openTestRegistry()
  flags = flagsOf(test.database)
})
afterAll(() => test.close())

/** An upstream of which an image with one blob of 2048 bytes is kept. */
async function openUpstream() {
  const { registry } = test
  const upstream = newUpstream()
  const cache = await openCache(registry, upstream)
  const blob = await cacheBlob(registry, cache, { content: Buffer.alloc(2048, upstream) })
  await cacheManifest(registry, cache, { tags: ['latest', 'other'], blobs: [blob] })
  return { upstream, cache, blob }
}

const run = (...words: string[]) => runHere(['upstream', ...words, ...flags])

async function dueTags({ id }: Cache): Promise<string[]> {
  const { rows } = await test.registry.db.query<{ name: string }>(
    'select name from tags where repository_id = $1 and due order by name',
    [id],
  )
  return rows.map((row) => row.name)
}

describe('slipway upstream stats', () => {
  it('shows what is kept, what it was good for, and how the upstream is', async () => {
    const { upstream } = await openUpstream()
    await addActivity(test.registry.db, [
      {
        name: upstream,
        counts: {
          hits: 3,
          misses: 1,
          stale: 1,
          fetchedBytes: 2048,
          servedBytes: 10_240,
          evictedBytes: 7,
        },
        condition: {
          budget: { limit: 100, left: 42, at: new Date() },
          brokenUntil: new Date(Date.UTC(2199, 0, 1)),
          lastError: { message: 'it said\u001b[2J no', at: new Date(Date.UTC(2026, 10, 21)) },
        },
      },
    ])
    const { stdout } = await run('stats', upstream)
    expect(stdout).toMatch(/^NAME +REPOSITORIES +MANIFESTS +BLOBS +SIZE +HITS +MISSES +HIT RATIO/)
    const row = stdout.split('\n')[1]!.split(/ {2,}/)
    expect(row).toEqual([
      upstream,
      '1',
      '1',
      '1',
      '2.1 KiB',
      '3',
      '1',
      '75 %',
      '8.0 KiB',
      '42 of 100',
      'broken until 2199-01-01T00:00:00Z',
      '2026-11-21T00:00:00Z it said\uFFFD[2J no',
    ])
    const [document] = documentsIn(await run('stats', upstream, '--json'))
    expect(document).toMatchObject({
      name: upstream,
      repositories: 1,
      blobs: 1,
      hits: 3,
      hitRatio: 0.75,
      savedBytes: 8192,
      evictedBytes: 7,
      budget: { limit: 100, left: 42 },
      brokenUntil: '2199-01-01T00:00:00.000Z',
    })
  })

  it('lists all upstreams, those that were never asked as well', async () => {
    const { upstream } = await openUpstream()
    await test.registry.db.query(`insert into upstreams values ('never.example', '{}')`)
    const documents = documentsIn(await run('stats', '--json'))
    const names = documents.map(({ name }) => String(name))
    expect(names).toEqual(names.toSorted((one, other) => (one < other ? -1 : 1)))
    expect(names).toContain(upstream)
    expect(documents.find(({ name }) => name === 'never.example')).toMatchObject({
      repositories: 0,
      bytes: 0,
      hits: 0,
      hitRatio: null,
      savedBytes: 0,
      lastError: null,
    })
    const { stdout } = await run('stats', 'never.example')
    expect(stdout.split('\n')[1]).toMatch(/^never\.example +0 +0 +0 +0 B +0 +0 +- +0 B +- +ok +-$/)
  })

  it('refuses a name that nobody knows', async () => {
    await expect(run('stats', 'nobody.example')).rejects.toThrow('no upstream nobody.example')
  })
})

describe('slipway upstream refresh', () => {
  it('takes a tag, a repository or an upstream', async () => {
    const { upstream, cache } = await openUpstream()
    const one = await run('refresh', `${cache.name}:other`)
    expect(one).toEqual({
      status: 0,
      stdout: `1 tag of ${cache.name}:other will be asked for again\n`,
      stderr: '',
    })
    expect(await dueTags(cache)).toEqual(['other'])
    expect((await run('refresh', cache.name)).stdout).toMatch(/^1 tag of/)
    await test.registry.db.query('update tags set due = false')
    expect((await run('refresh', upstream)).stdout).toMatch(/^2 tags of/)
    expect(await dueTags(cache)).toEqual(['latest', 'other'])
  })

  it.each([
    ['nobody.example', 'there is no upstream nobody.example'],
    ['A/b', 'A/b: expected a repository'],
    ['a/b:c:d', 'a/b:c:d: expected a repository'],
  ])('refuses %s', async (word, message) => {
    await expect(run('refresh', word)).rejects.toThrow(message)
  })

  it('says what is not kept', async () => {
    const { cache } = await openUpstream()
    await expect(run('refresh', `${cache.name}:none`)).rejects.toMatchObject({
      details: [`no tag none is kept of ${cache.name}`],
    })
    await expect(run('refresh', 'no.where/x')).rejects.toMatchObject({
      details: ['nothing is kept of an upstream as no.where/x'],
    })
  })
})

describe('slipway upstream pin and unpin', () => {
  it('keep a tag, and let it go again', async () => {
    const { upstream, cache, blob } = await openUpstream()
    const terms = { upstream, maxBytes: 1, idleSeconds: 0 }
    const pinned = await run('pin', `${cache.name}:latest`)
    expect(pinned).toEqual({ status: 0, stdout: `pinned ${cache.name}:latest\n`, stderr: '' })
    expect(await evict(test.registry, terms)).toMatchObject({ blobs: 0 })
    await run('unpin', `${cache.name}:latest`)
    expect(await evict(test.registry, terms)).toMatchObject({ blobs: 1 })
    expect(await linked(test.registry, cache, [blob])).toEqual([])
  })

  it('are about a repository of an upstream, and nothing else', async () => {
    await expect(run('pin', 'nobody.example')).rejects.toThrow('expected a repository')
    await expect(run('pin', 'no.where/x')).rejects.toMatchObject({ code: 'NAME_UNKNOWN' })
  })
})

describe('slipway upstream purge', () => {
  it('removes an upstream, waits until servers have heard, and is in the audit trail', async () => {
    const { upstream, cache, blob } = await openUpstream()
    await run('pin', cache.name)
    const purged = await runProgram(['upstream', 'purge', upstream, ...flags])
    expect(purged).toEqual({
      status: 0,
      stdout: `purged ${upstream}: 1 manifest, 1 blob of 2.0 KiB\n`,
      stderr: 'waiting until every server has heard of it …\n',
    })
    expect(await stateOf(test.registry, blob)).toBe('deleting')
    const events = documentsIn(
      await runHere(['audit', 'list', '--json', '--action', 'upstream.purge', ...flags]),
    )
    expect(events[0]).toMatchObject({ target: upstream, result: 'done' })
  })

  it('takes no tag', async () => {
    const { cache } = await openUpstream()
    await expect(run('purge', `${cache.name}:latest`)).rejects.toThrow('expected an upstream')
  })
})
