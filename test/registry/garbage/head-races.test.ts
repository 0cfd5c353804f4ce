import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type RepositoryName } from '../../../oci/reference.ts'
import type { Registry } from '../../../registry/registry.ts'
import { promiseBlob } from '../../../storage/metadata/blobs.ts'
import { transaction } from '../../../storage/metadata/database.ts'
import { gate, isWaiting, stoppingAt } from '../gate.ts'
import { pushManifest } from '../push.ts'
import {
  bytesOf,
  type Image,
  isThere,
  otherProcess,
  pullLayers,
  pullWhole,
  pushImage,
  pushLayers,
} from './client.ts'
import { GRACE, marking, pushDeleted, pushGarbage } from './dying.ts'
import { openStage, type Stage } from './stage.ts'
import { atEachStep, collectUpTo, holding } from './steps.ts'

const WALK_MS = 90_000

let stage: Stage
let registry: Registry
beforeEach(async () => {
  stage = await openStage(GRACE)
  registry = stage.registry
})
afterEach(() => stage.test.close())

const clients = [
  { name: 'the process that collects', remembers: true },
  { name: 'another process that remembers it', remembers: true },
  { name: 'a process that has just started', remembers: false },
]

describe('HEAD, then PUT of a manifest, beside a collector', () => {
  it.each(clients)(
    'at any of its steps, by $name',
    { timeout: WALK_MS },
    async ({ name, remembers }) => {
      let repository: RepositoryName
      let image: Image
      let process: Registry
      const steps = await atEachStep({
        prepare: async () => {
          repository = stage.newRepository()
          image = await pushDeleted(stage, repository)
          process = name === clients[0]!.name ? registry : otherProcess(registry)
          if (remembers) await pullLayers(process, repository, image)
          return registry
        },
        during: async () => {
          await pushLayers(process, repository, image.layers)
        },
        after: async (at) => {
          const bytes = bytesOf(image)
          const digest = await pushManifest(process, repository, bytes, { reference: 'new' })
          expect([at, await pullWhole(registry, repository, 'new')]).toEqual([at, digest])
          await stage.age(1000)
          await stage.collect()
          expect([at, await pullWhole(registry, repository, 'new')]).toEqual([at, digest])
        },
      })
      expect(steps).toContain('manifest reviewed')
      expect(steps).toContain('blob unlinked')
    },
  )

  it('keeps a blob for the grace period that had been judged as garbage', async () => {
    const repository = stage.newRepository()
    const { digest } = await pushGarbage(stage, repository)
    const collector = await collectUpTo(registry, 'blob reviewed')
    expect(await isThere(otherProcess(registry), repository, digest)).toBe(true)
    expect(await collector.goOn()).toMatchObject({ blobs: 0 })
    await stage.age(99)
    expect(await stage.collect()).toMatchObject({ blobs: 0 })
    await stage.age(2)
    expect(await stage.collect()).toMatchObject({ blobs: 1 })
    expect(await stage.blobState(digest)).toBeUndefined()
  })

  it('finds nothing once it is marked, also where it is remembered', async () => {
    const repository = stage.newRepository()
    const { content, digest } = await pushGarbage(stage, repository)
    const [fresh, warm] = [otherProcess(registry), otherProcess(registry)]
    await pullLayers(warm, repository, { layers: [content] })
    const collector = await collectUpTo(registry, 'blob unlinked')
    for (const process of [registry, fresh, warm]) {
      expect(await isThere(process, repository, digest)).toBe(false)
    }
    const pushed = await pushImage(warm, repository, { layers: [content] }, 'new')
    await collector.goOn()
    expect(await pullWhole(registry, repository, 'new')).toBe(pushed)
  })

  it('is kept nine tenths of it where a process promised that a short while ago', async () => {
    const repository = stage.newRepository()
    const { digest } = await pushGarbage(stage, repository)
    const process = otherProcess(registry)
    for (const seconds of [9, 90]) {
      expect(await isThere(process, repository, digest)).toBe(true)
      await stage.age(seconds)
    }
    expect(await stage.collect()).toMatchObject({ blobs: 0 })
    await stage.age(2)
    expect(await stage.collect()).toMatchObject({ blobs: 1 })
  })

  it.each(['commits', 'rolls back'])('waits for one that is marking it, and %s', async (end) => {
    const repository = stage.newRepository()
    const { digest } = await pushGarbage(stage, repository)
    const barrier = gate()
    const marked = transaction(registry.db, async (tx) => {
      await marking(registry, digest)(tx)
      await barrier.wait()
      if (end === 'rolls back') throw new Error(end)
    })
    marked.catch(() => {})
    await barrier.reached
    const asked = isThere(otherProcess(registry), repository, digest)
    expect(await isWaiting(asked)).toBe(true)
    barrier.open()
    expect(await asked).toBe(end === 'rolls back')
    await marked.catch(() => {})
  })

  it('makes a collector give way that comes while it is being written', async () => {
    const repository = stage.newRepository()
    const { digest } = await pushGarbage(stage, repository)
    const collector = await collectUpTo(registry, 'blob reviewed')
    const barrier = gate()
    const promise = holding(registry, barrier, (tx) => promiseBlob(tx, repository, digest))
    await barrier.reached
    expect(await collector.goOn()).toMatchObject({ blobs: 0 })
    barrier.open()
    await promise
    await stage.bringDue()
    expect(await stage.collect()).toMatchObject({ blobs: 0 })
    expect(await stage.blobState(digest)).toBe('live')
    await stage.age(101)
    expect(await stage.collect()).toMatchObject({ blobs: 1 })
  })
})

describe('PUT of a manifest that names a blob which was judged as garbage', () => {
  it('makes the collector give way when it came first', async () => {
    const repository = stage.newRepository()
    const { content, digest } = await pushGarbage(stage, repository)
    const collector = await collectUpTo(registry, 'blob reviewed')
    const barrier = gate()
    const stopping = stoppingAt(registry, 'manifest locked', barrier)
    const push = pushManifest(stopping, repository, bytesOf({ layers: [content] }), {
      reference: 'new',
    })
    await barrier.reached
    expect(await collector.goOn()).toMatchObject({ blobs: 0 })
    barrier.open()
    const pushed = await push
    await stage.bringDue()
    await stage.collect()
    expect(await stage.blobState(digest)).toBe('live')
    expect(await pullWhole(registry, repository, 'new')).toBe(pushed)
  })

  it('is seen by a collector that waited for it', async () => {
    const repository = stage.newRepository()
    const { content, digest } = await pushGarbage(stage, repository)
    const collector = await collectUpTo(registry, 'blob reviewed')
    const barrier = gate()
    const stopping = stoppingAt(registry, 'manifest locked', barrier)
    const bytes = bytesOf({ layers: [content] })
    const push = pushManifest(stopping, repository, bytes, { reference: 'new' })
    await barrier.reached
    const collecting = collector.goOn()
    expect(await isWaiting(collecting)).toBe(true)
    barrier.open()
    const pushed = await push
    expect(await collecting).toMatchObject({ blobs: 0 })
    expect(await stage.blobState(digest)).toBe('live')
    expect(await pullWhole(registry, repository, 'new')).toBe(pushed)
  })

  it('is refused when the collector came first, and names what to upload', async () => {
    const repository = stage.newRepository()
    const { content, digest } = await pushGarbage(stage, repository)
    const barrier = gate()
    const marked = holding(registry, barrier, marking(registry, digest))
    await barrier.reached
    const push = pushManifest(registry, repository, bytesOf({ layers: [content] }))
    push.catch(() => {})
    expect(await isWaiting(push)).toBe(true)
    barrier.open()
    await marked
    await expect(push).rejects.toMatchObject({ code: 'MANIFEST_BLOB_UNKNOWN', details: [digest] })
    await pushImage(registry, repository, { layers: [content] }, 'new')
    await pullWhole(registry, repository, 'new')
  })
})
