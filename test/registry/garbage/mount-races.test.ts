import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digestOf } from '../../../oci/digest.ts'
import type { RepositoryName } from '../../../oci/reference.ts'
import { mountBlob } from '../../../registry/blobs.ts'
import { deleteManifest } from '../../../registry/manifests.ts'
import type { Registry } from '../../../registry/registry.ts'
import { deleteRepository, requireRepository } from '../../../registry/repositories.ts'
import { linkBlobFrom, promiseBlob } from '../../../storage/metadata/blobs.ts'
import { gate, isWaiting } from '../gate.ts'
import { ANYBODY, pushBlob, pushManifest } from '../push.ts'
import { bytesOf, type Image, pullWhole, pushImage } from './client.ts'
import { GRACE, marking, newLayer, pushDeleted, pushGarbage } from './dying.ts'
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

const mount = (from: RepositoryName, to: RepositoryName, content: Buffer) =>
  mountBlob(registry, to, { digest: digestOf(content), from, mayPull: () => true })

describe('a mount', () => {
  it.each(['manifest', 'repository'])('outlives the %s that it was taken from', async (what) => {
    const [source, target] = [stage.newRepository(), stage.newRepository()]
    const image = { layers: [newLayer()] }
    const old = await pushImage(registry, source, image, 'old')
    expect(await mount(source, target, image.layers[0]!)).toBe(true)
    if (what === 'manifest') await deleteManifest(registry, source, old, ANYBODY)
    else await deleteRepository(registry, source, ANYBODY)
    await stage.age(90)
    await mount(source, target, image.layers[0]!)
    await stage.bringDue()
    await stage.collect()
    const bytes = bytesOf({ ...image, note: 'of the mounted layer' })
    const digest = await pushManifest(registry, target, bytes, { reference: 'new' })
    await stage.age(1000)
    await stage.collect()
    expect(await stage.hasManifest(old)).toBe(false)
    expect(await pullWhole(registry, target, 'new')).toBe(digest)
  })

  it('at any step of a collector leaves nothing to be uploaded, or says so', {
    timeout: WALK_MS,
  }, async () => {
    let source: RepositoryName
    let target: RepositoryName
    let image: Image
    const mounted = new Set<boolean>()
    await atEachStep({
      prepare: async () => {
        ;[source, target] = [stage.newRepository(), stage.newRepository()]
        image = await pushDeleted(stage, source)
        return registry
      },
      during: async () => {
        for (const content of image.layers) {
          const isMounted = await mount(source, target, content)
          mounted.add(isMounted)
          if (!isMounted) await pushBlob(registry, target, content)
        }
      },
      after: async (at) => {
        const digest = await pushManifest(registry, target, bytesOf(image), { reference: 'new' })
        await stage.age(1000)
        await stage.collect()
        expect([at, await pullWhole(registry, target, 'new')]).toEqual([at, digest])
      },
    })
    expect(mounted).toEqual(new Set([true, false]))
  })

  it('waits for a collector that is marking the blob, and finds nothing', async () => {
    const [source, target] = [stage.newRepository(), stage.newRepository()]
    const { content, digest } = await pushGarbage(stage, source)
    const barrier = gate()
    const marked = holding(registry, barrier, marking(registry, digest))
    await barrier.reached
    const mounting = mount(source, target, content)
    expect(await isWaiting(mounting)).toBe(true)
    barrier.open()
    await marked
    expect(await mounting).toBe(false)
    const { rowCount } = await registry.db.query('select from repository_blobs where digest = $1', [
      digest,
    ])
    expect(rowCount).toBe(0)
  })

  it('makes a collector give way that comes later', async () => {
    const [source, target] = [stage.newRepository(), stage.newRepository()]
    const { content, digest } = await pushGarbage(stage, source)
    await pushBlob(registry, target, newLayer())
    const id = await requireRepository(registry, target)
    const collector = await collectUpTo(registry, 'blob reviewed')
    const barrier = gate()
    // The two statements of a mount.
    expect(await promiseBlob(registry.db, source, digest)).toBe(true)
    const mounting = holding(registry, barrier, (tx) =>
      linkBlobFrom(tx, source, { id, name: target }, digest),
    )
    await barrier.reached
    expect(await collector.goOn()).toMatchObject({ blobs: 0 })
    barrier.open()
    await mounting
    await stage.bringDue()
    await stage.collect()
    const pushed = await pushManifest(registry, target, bytesOf({ layers: [content] }))
    expect(await pullWhole(registry, target, pushed)).toBe(pushed)
  })
})
