import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parseTag, type RepositoryName } from '../../../oci/reference.ts'
import { previewCollection, runCollection, runElsewhere } from '../../../registry/garbage/run.ts'
import { getGarbageStatus } from '../../../registry/garbage/status.ts'
import { deleteRepository } from '../../../registry/repositories.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { ANYBODY, imageOf, indexOf, pushManifest } from '../push.ts'
import { openStage, type Stage } from './stage.ts'

const NOW = { repository: undefined, now: true, forgetsDeleted: false }
const FORGET = { ...NOW, forgetsDeleted: true }
const NOTHING = { manifests: 0, blobs: 0, bytes: 0 }

let stage: Stage
beforeAll(async () => {
  stage = await openStage({
    graceSeconds: 100,
    undoSeconds: 1000,
    untagged: () => 0,
    blobSeconds: 50,
  })
})
afterAll(() => stage.test.close())
beforeEach(async () => {
  await runCollection(stage.registry, FORGET)
  await stage.age(10_000)
  await runCollection(stage.registry, FORGET)
})

/** An index of two images that share a layer, with a signature, below a tag that was deleted. */
async function deletedIndex(repository: RepositoryName, note: string) {
  const { registry, pushBlob } = stage
  const [own, shared, signature] = [
    await pushBlob(repository, `${note} own layer`),
    await pushBlob(repository, `${note} shared`),
    await pushBlob(repository, `${note} signature`),
  ]
  const one = await pushManifest(registry, repository, imageOf([own, shared], `${note} 1`))
  const two = await pushManifest(registry, repository, imageOf([shared], `${note} 2`))
  const index = await pushManifest(registry, repository, indexOf([one, two]), { reference: note })
  const fallback = `${index.replace(':', '-')}.sig`
  await pushManifest(registry, repository, imageOf([signature], `${note} s`), {
    reference: fallback,
  })
  await deleteTag(registry, repository, parseTag(note), undefined)
  const bytes = `${note} own layer${note} shared${note} signature`.length
  return { manifests: 4, blobs: 3, bytes }
}

describe('a run', () => {
  it('frees nothing that can be restored, or was pushed lately, however it is hurried', async () => {
    await deletedIndex(stage.newRepository(), 'kept')
    expect(await previewCollection(stage.registry, NOW)).toEqual(NOTHING)
    expect(await runCollection(stage.registry, NOW)).toEqual(NOTHING)
    await stage.age(150)
    expect(await runCollection(stage.registry, NOW)).toEqual(NOTHING)
  })

  it('frees exactly what it told before, and the preview changes nothing', async () => {
    const freed = await deletedIndex(stage.newRepository(), 'told')
    await stage.age(1100)
    const tables = 'manifests, blobs, tags, gc_queue, tag_events, repositories'.split(', ')
    const count = async () =>
      Promise.all(
        tables.map(async (table) => {
          const rows = await stage.registry.db.query(
            `select md5(t::text) from ${table} t order by 1`,
          )
          return rows.rows as unknown[]
        }),
      )
    const before = await count()
    expect(await previewCollection(stage.registry, NOW)).toEqual(freed)
    expect(await count()).toEqual(before)
    expect(await runCollection(stage.registry, NOW)).toEqual(freed)
    expect(await previewCollection(stage.registry, NOW)).toEqual(NOTHING)
  })

  it('gives up what could be restored when told to, of one repository only', async () => {
    const [one, other] = [stage.newRepository(), stage.newRepository()]
    const freed = await deletedIndex(one, 'given')
    await deletedIndex(other, 'not')
    await stage.age(150)
    const terms = { ...FORGET, repository: one }
    expect(await previewCollection(stage.registry, terms)).toEqual(freed)
    expect(await runCollection(stage.registry, terms)).toEqual(freed)
    expect(await runCollection(stage.registry, NOW)).toEqual(NOTHING)
  })

  it('of a deleted repository likewise', async () => {
    const repository = stage.newRepository()
    const freed = await deletedIndex(repository, 'whole')
    await deleteRepository(stage.registry, repository, ANYBODY)
    await stage.age(150)
    const terms = { ...FORGET, repository }
    expect(await previewCollection(stage.registry, terms)).toEqual(freed)
    expect((await runCollection(stage.registry, terms)).bytes).toBe(freed.bytes)
  })

  it('that servers do tells how far they are', async () => {
    const freed = await deletedIndex(stage.newRepository(), 'elsewhere')
    await stage.age(1100)
    const progress = await runElsewhere(stage.registry, NOW)
    expect(await progress()).toMatchObject({ isDone: false, ...NOTHING })
    await stage.collect()
    expect(await progress()).toMatchObject({ isDone: false, manifests: freed.manifests })
    await stage.collect()
    expect(await progress()).toEqual({ isDone: true, ...freed })
  })
})

describe('the status', () => {
  it('tells what waits, and what was freed', async () => {
    const { freedLately: before } = await getGarbageStatus(stage.registry)
    const freed = await deletedIndex(stage.newRepository(), 'status')
    const waiting = await getGarbageStatus(stage.registry)
    const manifests = waiting.queue.find(({ kind }) => kind === 'manifest')
    expect(manifests?.due).toBeGreaterThan(0)
    expect(waiting.queue.find(({ kind }) => kind === 'blob')).toMatchObject({ due: 0, waiting: 3 })
    await stage.age(1100)
    await runCollection(stage.registry, NOW)
    const { freedLately: after, queue } = await getGarbageStatus(stage.registry)
    expect(queue).toEqual([])
    expect(after.bytes - before.bytes).toBe(freed.bytes)
  })
})
