import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { parseReference, parseRepositoryName, parseTag } from '../../oci/reference.ts'
import { deleteBlob, statBlob } from '../../registry/blobs.ts'
import { deleteManifest, getManifest } from '../../registry/manifests.ts'
import { MetadataCache } from '../../registry/metadata-cache.ts'
import type { Registry } from '../../registry/registry.ts'
import { deleteRepository, requireRepository } from '../../registry/repositories.ts'
import { unlinkBlob } from '../../storage/metadata/blobs.ts'
import { type Transaction, transaction } from '../../storage/metadata/database.ts'
import { deleteManifest as deleteManifestRow } from '../../storage/metadata/manifests.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'
import { type Gate, gate, isWaiting, stoppingAt } from './gate.ts'
import { ANYBODY, imageOf, indexOf, pushBlob, pushManifest } from './push.ts'

let test: TestRegistry
let registry: Registry

beforeAll(async () => {
  test = await openTestRegistry()
  registry = test.registry
})
afterAll(() => test.close())

/** Does `work` in a transaction that stays open until the gate is opened. */
function holding(work: (tx: Transaction) => Promise<unknown>, { wait }: Gate): Promise<void> {
  return transaction(registry.db, async (tx) => {
    await work(tx)
    await wait()
  })
}

describe('a blob that is deleted while a manifest names it', () => {
  it('stays when the manifest came first', async () => {
    const repository = parseRepositoryName('race/blob-stays')
    const blob = await pushBlob(registry, repository, Buffer.from('stays'))
    const barrier = gate()
    const bytes = imageOf([blob])
    const push = pushManifest(stoppingAt(registry, 'manifest locked', barrier), repository, bytes)
    await barrier.reached
    const deletion = deleteBlob(registry, repository, blob)
    expect(await isWaiting(deletion)).toBe(true)
    barrier.open()
    await push
    await expect(deletion).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    expect((await statBlob(registry, repository, blob)).digest).toBe(blob)
    expect(
      (await getManifest(registry, repository, parseReference(digestOf(bytes)))).bytes,
    ).toEqual(bytes)
  })

  it('is missing when the deletion came first', async () => {
    const repository = parseRepositoryName('race/blob-goes')
    const blob = await pushBlob(registry, repository, Buffer.from('goes'))
    const id = await requireRepository(registry, repository)
    const barrier = gate()
    const deletion = holding((tx) => unlinkBlob(tx, id, blob), barrier)
    await barrier.reached
    const push = pushManifest(registry, repository, imageOf([blob]))
    push.catch(() => {})
    expect(await isWaiting(push)).toBe(true)
    barrier.open()
    await deletion
    await expect(push).rejects.toMatchObject({ code: 'MANIFEST_BLOB_UNKNOWN', details: [blob] })
  })

  it('never leaves a manifest without its blob, however often it is tried', async () => {
    for (let round = 0; round < 20; round++) {
      const repository = parseRepositoryName(`race/blob-${round}`)
      const blob = await pushBlob(registry, repository, Buffer.from(`blob ${round}`))
      const [push, deletion] = await Promise.allSettled([
        pushManifest(registry, repository, imageOf([blob])),
        deleteBlob(registry, repository, blob),
      ])
      expect([push.status, deletion.status].toSorted()).toEqual(['fulfilled', 'rejected'])
    }
  })
})

describe('a manifest that is deleted while an index lists it', () => {
  it('stays when the index came first', async () => {
    const repository = parseRepositoryName('race/child-stays')
    const child = await pushManifest(registry, repository, imageOf([]), { reference: 'child' })
    const barrier = gate()
    const push = pushManifest(
      stoppingAt(registry, 'manifest locked', barrier),
      repository,
      indexOf([child]),
    )
    await barrier.reached
    const deletion = deleteManifest(registry, repository, child, ANYBODY)
    expect(await isWaiting(deletion)).toBe(true)
    barrier.open()
    await push
    await expect(deletion).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    expect((await getManifest(registry, repository, parseReference('child'))).digest).toBe(child)
  })

  it('is missing when the deletion came first', async () => {
    const repository = parseRepositoryName('race/child-goes')
    const child = await pushManifest(registry, repository, imageOf([]))
    const id = await requireRepository(registry, repository)
    const barrier = gate()
    const deletion = holding((tx) => deleteManifestRow(tx, id, child, undefined), barrier)
    await barrier.reached
    const push = pushManifest(registry, repository, indexOf([child]))
    push.catch(() => {})
    expect(await isWaiting(push)).toBe(true)
    barrier.open()
    await deletion
    await expect(push).rejects.toMatchObject({ code: 'MANIFEST_BLOB_UNKNOWN', details: [child] })
  })
})

describe('a manifest that is deleted while it is tagged', () => {
  it('takes the new tag with it, also from the cache', async () => {
    const repository = parseRepositoryName('race/tagged')
    const bytes = imageOf([])
    const digest = await pushManifest(registry, repository, bytes)
    const id = await requireRepository(registry, repository)
    const barrier = gate()
    const push = holding(
      (tx) =>
        tx.query({
          text: `with m as (update manifests set media_type = media_type
                            where repository_id = $1 and digest = $2 returning id)
                 insert into tags (repository_id, name, manifest_id) select $1, 'new', id from m`,
          values: [id, digest],
        }),
      barrier,
    )
    await barrier.reached
    const deletion = deleteManifest(registry, repository, digest, ANYBODY)
    expect(await isWaiting(deletion)).toBe(true)
    barrier.open()
    await push
    await deletion
    await expect(getManifest(registry, repository, parseReference('new'))).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    })
    const { rows } = await registry.db.query(
      `select from_digest, to_digest from tag_events where repository_id = $1 order by id`,
      [id],
    )
    expect(rows).toEqual([
      { from_digest: null, to_digest: digest },
      { from_digest: digest, to_digest: null },
    ])
  })
})

describe('twenty manifests pushed to one tag at once', () => {
  it('all arrive, the tag names one of them, and its history has no gap', async () => {
    const repository = parseRepositoryName('race/one-tag')
    const bodies = Array.from({ length: 20 }, (_, index) => imageOf([], `number ${index}`))
    const pushing = new AbortController()
    const reads = (async () => {
      const seen = new Set<string>()
      while (!pushing.signal.aborted) {
        await turn() // a cached answer costs no I/O: without this nobody else would run
        const found = await getManifest(registry, repository, parseReference('t')).catch(
          () => undefined,
        )
        if (found === undefined && seen.size > 0) throw new Error('the tag was gone for a moment')
        if (found !== undefined) {
          seen.add(found.digest)
          if (digestOf(found.bytes) !== found.digest) throw new Error('mixed up')
        }
      }
    })()
    const digests = await Promise.all(
      bodies.map((bytes) => pushManifest(registry, repository, bytes, { reference: 't' })),
    )
    pushing.abort()
    await reads

    const { digest } = await getManifest(registry, repository, parseReference('t'))
    expect(digests).toContain(digest)
    for (const each of digests) {
      expect((await getManifest(registry, repository, parseReference(each))).digest).toBe(each)
    }
    const events = await eventsOf(repository)
    expect(events).toHaveLength(20)
    for (const [index, event] of events.entries()) {
      expect(event.from).toBe(events[index - 1]?.to ?? null)
    }
    expect(events.at(-1)?.to).toBe(digest)
  })

  it('do not lock each other out when each moves several tags', async () => {
    const repository = parseRepositoryName('race/many-tags')
    const tags = ['a', 'b', 'c', 'd'].map((tag) => parseTag(tag))
    const bodies = Array.from({ length: 20 }, (_, index) => imageOf([], `many ${index}`))
    await Promise.all(
      bodies.map((bytes, index) =>
        pushManifest(registry, repository, bytes, {
          tags: index % 2 === 0 ? tags : tags.toReversed(),
        }),
      ),
    )
    const named = await Promise.all(
      tags.map(
        async (tag) => (await getManifest(registry, repository, { kind: 'tag', tag })).digest,
      ),
    )
    expect(new Set(named).size).toBe(1)
  })
})

describe('a repository that another process deleted', () => {
  it('takes a push again in a process that remembers it', async () => {
    const repository = parseRepositoryName('race/recreated')
    const here = { ...registry, cache: new MetadataCache(false) }
    const there = { ...registry, cache: new MetadataCache(false) }
    const content = Buffer.from('recreated')
    const blob = await pushBlob(here, repository, content)
    await pushManifest(here, repository, imageOf([blob]))
    await deleteRepository(there, repository, ANYBODY)
    await pushBlob(there, repository, content)
    const digest = await pushManifest(here, repository, imageOf([blob]))
    expect((await getManifest(there, repository, parseReference(digest))).digest).toBe(digest)
  })
})

async function eventsOf(name: string) {
  const { rows } = await registry.db.query<{ from: Digest | null; to: Digest | null }>(
    `select e.from_digest as "from", e.to_digest as "to"
     from tag_events e join repositories r on r.id = e.repository_id
     where r.name = $1 order by e.id`,
    [name],
  )
  return rows
}
