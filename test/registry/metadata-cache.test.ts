import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { parseReference, parseRepositoryName, parseTag } from '../../oci/reference.ts'
import { deleteManifest, getManifest } from '../../registry/manifests.ts'
import { MetadataCache } from '../../registry/metadata-cache.ts'
import type { Registry } from '../../registry/registry.ts'
import { TagReads } from '../../registry/tag-reads.ts'
import type { Revocation } from '../../storage/metadata/changes.ts'
import type { Pool, Statement } from '../../storage/metadata/database.ts'
import type { RepositoryId } from '../../storage/metadata/repositories.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'
import { ANYBODY, imageOf, pushManifest } from './push.ts'

const name = parseRepositoryName('some/where')
const tag = parseTag('latest')
const bytes = Buffer.from('{}')
const digest = digestOf(bytes)
const manifest = { digest, mediaType: 'a/b', bytes }
const blob = { digest, sizeBytes: 2, location: 'here' }

function revoke(revoked: Revocation) {
  return (cache: MetadataCache) => cache.revoke(revoked)
}

describe('a cache that is on', () => {
  it('reads once what is there, and again what is not', async () => {
    const cache = new MetadataCache(true)
    let reads = 0
    const read = (found: typeof manifest | undefined) => async () => {
      reads++
      return found
    }
    expect(await cache.manifest(name, digest, read(undefined))).toBeUndefined()
    expect(await cache.manifest(name, digest, read(manifest))).toBe(manifest)
    expect(await cache.manifest(name, digest, read(undefined))).toBe(manifest)
    expect(reads).toBe(2)
  })

  it('keeps one repository apart from another', async () => {
    const cache = new MetadataCache(true)
    await cache.blob(name, digest, async () => blob)
    const other = parseRepositoryName('some/where/else')
    expect(await cache.blob(other, digest, async () => undefined)).toBeUndefined()
  })

  it.each([
    ['a manifest', 'manifest', (cache: MetadataCache) => cache.forgetManifest(name, digest)],
    ['a tag', 'tag', (cache: MetadataCache) => cache.forgetTags(name, [tag])],
    ['a blob', 'blob', (cache: MetadataCache) => cache.forgetBlob(name, digest)],
    ['what was revoked', 'manifest', revoke({ repository: name, digest })],
    ['a tag that was revoked', 'tag', revoke({ repository: name, tags: [tag] })],
    ['what was revoked', 'blob', revoke({ repository: name, digest })],
    ['a repository', 'manifest', revoke({ repository: name })],
    ['a digest', 'blob', revoke({ digest })],
    ['everything', 'tag', revoke({})],
    ['all', 'manifest', (cache: MetadataCache) => cache.forgetAll()],
    ['all', 'tag', (cache: MetadataCache) => cache.forgetAll()],
    ['all', 'blob', (cache: MetadataCache) => cache.forgetAll()],
  ] as const)(
    'told to forget %s, does not keep a %s that was being read',
    async (_, kind, forget) => {
      const cache = new MetadataCache(true)
      const through = {
        manifest: (read: () => Promise<typeof manifest | undefined>) =>
          cache.manifest(name, digest, read),
        tag: (read: () => Promise<typeof digest | undefined>) => cache.tag(name, tag, read),
        blob: (read: () => Promise<typeof blob | undefined>) => cache.blob(name, digest, read),
      }[kind] as (read: () => Promise<unknown>) => Promise<unknown>
      const old = { manifest, tag: digest, blob }[kind]
      let answer!: (value: unknown) => void
      const reading = through(() => new Promise((resolve) => (answer = resolve)))
      forget(cache)
      answer(old)
      expect(await reading).toBe(old)
      expect(await through(async () => undefined)).toBeUndefined()
      await through(async () => old)
      forget(cache)
      expect(await through(async () => undefined)).toBeUndefined()
    },
  )

  it('forgets the ids of repositories with everything else', () => {
    const cache = new MetadataCache(true)
    cache.rememberRepositoryId(name, '5' as RepositoryId)
    expect(cache.repositoryId(name)).toBe('5')
    cache.forgetAll()
    expect(cache.repositoryId(name)).toBeUndefined()
  })

  it('holds no more bytes of manifests than it may', async () => {
    const cache = new MetadataCache(true, 10_000)
    const large = { ...manifest, bytes: Buffer.alloc(4000) }
    const digests = [1, 2, 3].map((n) => digestOf(Buffer.from([n])))
    for (const each of digests) await cache.manifest(name, each, async () => large)
    expect(await cache.manifest(name, digests[0]!, async () => undefined)).toBeUndefined()
    expect(await cache.manifest(name, digests[2]!, async () => undefined)).toBe(large)
  })
})

describe('a cache that is off', () => {
  it('reads each time', async () => {
    const cache = new MetadataCache(false)
    expect(await cache.tag(name, tag, async () => digest)).toBe(digest)
    expect(await cache.tag(name, tag, async () => undefined)).toBeUndefined()
  })

  it('knows the ids of repositories all the same', () => {
    const cache = new MetadataCache(false)
    cache.rememberRepositoryId(name, '5' as RepositoryId)
    expect(cache.repositoryId(name)).toBe('5')
  })
})

describe('a cache of one process among several', () => {
  const stated = { ...manifest, bytes: Buffer.from('{"mediaType":"a/b"}') }

  it('is on while changes by the others are heard', async () => {
    let heard = true
    const cache = new MetadataCache({ areHeard: () => heard })
    await cache.blob(name, digest, async () => blob)
    await cache.manifest(name, digest, async () => stated)
    expect(await cache.blob(name, digest, async () => undefined)).toBe(blob)
    expect(await cache.manifest(name, digest, async () => undefined)).toBe(stated)
    heard = false
    expect(await cache.blob(name, digest, async () => undefined)).toBeUndefined()
    expect(await cache.manifest(name, digest, async () => undefined)).toBeUndefined()
    heard = true
    expect(await cache.blob(name, digest, async () => undefined)).toBe(blob)
  })

  it('does not keep what a push can change', async () => {
    const cache = new MetadataCache({ areHeard: () => true })
    await cache.tag(name, tag, async () => digest)
    await cache.manifest(name, digest, async () => manifest)
    expect(await cache.tag(name, tag, async () => undefined)).toBeUndefined()
    expect(await cache.manifest(name, digest, async () => undefined)).toBeUndefined()
  })
})

describe('a manifest that was being read by its tag', () => {
  let test: TestRegistry
  beforeAll(async () => {
    test = await openTestRegistry()
  })
  afterAll(() => test.close())

  it('is not kept when it was deleted meanwhile', async () => {
    const { registry } = test
    const repository = parseRepositoryName('cache/race')
    const pushed = await pushManifest(registry, repository, imageOf([]), { reference: 'latest' })
    const { slow, arrived, go } = withSlowTagRead(registry)

    const reading = getManifest(slow, repository, parseReference('latest'))
    await arrived
    await deleteManifest(registry, repository, pushed, ANYBODY)
    go()
    await expect(reading).rejects.toMatchObject({ code: 'MANIFEST_UNKNOWN' })

    for (const reference of [pushed, 'latest']) {
      const again = getManifest(registry, repository, parseReference(reference))
      await expect(again.then((found) => `${found.digest} is still served`)).rejects.toMatchObject({
        code: 'MANIFEST_UNKNOWN',
      })
    }
  })

  it('is the one that the tag was moved to, when the old one was deleted meanwhile', async () => {
    const { registry } = test
    const repository = parseRepositoryName('cache/moved')
    const old = await pushManifest(registry, repository, imageOf([]), { reference: 'latest' })
    const { slow, arrived, go } = withSlowTagRead(registry)

    const reading = getManifest(slow, repository, parseReference('latest'))
    await arrived
    const moved = await pushManifest(registry, repository, imageOf([], 'moved'), {
      reference: 'latest',
    })
    await deleteManifest(registry, repository, old, ANYBODY)
    go()
    expect((await reading).digest).toBe(moved)
  })
})

/** The same registry, but the answer to a read by tag arrives only after `go`. */
function withSlowTagRead(registry: Registry) {
  let go!: () => void
  let arrive!: () => void
  const gate = new Promise<void>((resolve) => (go = resolve))
  const arrived = new Promise<void>((resolve) => (arrive = resolve))
  const query = async (statement: Statement) => {
    const result = await registry.db.query(statement)
    if (statement.name === 'find_tag') {
      arrive()
      await gate
      await turn()
    }
    return result
  }
  const db = { query } as unknown as Pool
  const tagReads = new TagReads(db)
  return { slow: { ...registry, db, tagReads }, arrived, go: () => go() }
}

describe('a blob that is being published', () => {
  const other = { ...blob, location: 'there' }

  it('is known from then on, and what was read before the change is not', async () => {
    const cache = new MetadataCache(true)
    let answer!: (found: typeof blob) => void
    const reading = cache.blob(name, digest, () => new Promise((resolve) => (answer = resolve)))
    await cache.publishedBlob(name, digest, async () => other)
    answer(blob)
    await reading
    expect(await cache.blob(name, digest, async () => undefined)).toBe(other)
  })

  it('is not known when it was revoked meanwhile', async () => {
    const cache = new MetadataCache(true)
    await cache.publishedBlob(name, digest, async () => {
      cache.revoke({ repository: name, digest })
      return other
    })
    expect(await cache.blob(name, digest, async () => undefined)).toBeUndefined()
  })

  it('is read anew when publishing failed', async () => {
    const cache = new MetadataCache(true)
    await cache.blob(name, digest, async () => blob)
    const failing = cache.publishedBlob(name, digest, () => Promise.reject(new Error('cut')))
    await expect(failing).rejects.toThrow('cut')
    expect(await cache.blob(name, digest, async () => other)).toBe(other)
  })

  it('is not remembered by a process that hears nothing', async () => {
    const cache = new MetadataCache({ areHeard: () => false })
    await cache.publishedBlob(name, digest, async () => other)
    expect(await cache.blob(name, digest, async () => undefined)).toBeUndefined()
  })
})
