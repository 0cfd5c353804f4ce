import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { digestOf } from '../../../oci/digest.ts'
import { parseTag, type RepositoryName } from '../../../oci/reference.ts'
import { collectGarbage } from '../../../registry/garbage/collect.ts'
import { deleteManifest } from '../../../registry/manifests.ts'
import type { FaultPoint, Registry } from '../../../registry/registry.ts'
import { deleteRepository } from '../../../registry/repositories.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { dyingAt, gate, isWaiting, stoppingAt } from '../gate.ts'
import { ANYBODY, pushBlob } from '../push.ts'
import { bytesOf, type Image, otherProcess, pullWhole, pushImage } from './client.ts'
import { openStage, type Stage } from './stage.ts'
import { atEachStep, collectUpTo } from './steps.ts'
import { describeWithEachStore, findFaults, type OpenStorage, tidy } from './stores.ts'

const WALK_MS = 90_000
const GRACE = { graceSeconds: 100, undoSeconds: 0, untagged: () => 0, blobSeconds: 0 }

function describePushes(openStorage: OpenStorage): void {
  let stage: Stage
  let registry: Registry
  beforeAll(async () => {
    stage = await openStage(GRACE, openStorage())
    registry = stage.registry
  })
  afterAll(() => stage.test.close())

  afterEach(async () => {
    await tidy(registry)
    expect(await findFaults(registry)).toEqual([])
  })

  let contents = 0
  const newLayer = () => Buffer.from(`layer ${contents++}`)

  /** A layer that nothing names, and whose grace period is over. */
  const pushGarbage = async () => {
    const repository = stage.newRepository()
    const content = newLayer()
    await pushBlob(registry, repository, content)
    await stage.age(101)
    return { repository, content, digest: digestOf(content) }
  }

  /** It stays, whole, however often it is looked at; and nothing else does. */
  const expectKept = async (repository: RepositoryName, image: Image) => {
    await stage.age(1000)
    await stage.collect()
    expect(await pullWhole(registry, repository, 'new')).toBe(digestOf(bytesOf(image)))
  }

  const deletions: Record<string, (repository: RepositoryName, image: Image) => Promise<void>> = {
    tag: (repository) => deleteTag(registry, repository, parseTag('old'), undefined),
    manifest: (repository, image) =>
      deleteManifest(registry, repository, digestOf(bytesOf(image)), ANYBODY),
    repository: (repository) => deleteRepository(registry, repository, ANYBODY),
  }

  it.each(Object.entries(deletions))(
    'is whole afterwards at any step, when its %s was deleted',
    async (_what, remove) => {
      let repository: RepositoryName
      let image: Image
      const steps = await atEachStep({
        prepare: async () => {
          repository = stage.newRepository()
          image = { layers: [newLayer(), newLayer()] }
          await pushImage(registry, repository, image, 'old')
          await remove(repository, image)
          await stage.age(101)
          return registry
        },
        during: async () => {
          await pushImage(otherProcess(registry), repository, image, 'new')
        },
        after: () => expectKept(repository, image),
      })
      expect(steps).toContain('blob bytes deleted')
    },
    WALK_MS,
  )

  const removal: FaultPoint[] = ['blob unlinked', 'blob bytes deleted', 'blob removed']

  it.each(removal)('takes a blob over that is being removed: %s', async (step) => {
    const { repository, content, digest } = await pushGarbage()
    const collector = await collectUpTo(registry, step)
    const push = pushImage(registry, repository, { layers: [content] }, 'new')
    // Bytes come to where others lay: they wait until those are gone.
    const isHeld = step === 'blob bytes deleted' && registry.blobs.reusesLocations
    expect(isHeld ? await isWaiting(push) : false).toBe(isHeld)
    if (isHeld) await collector.goOn()
    await push
    expect(await stage.blobState(digest)).toBe('live')
    const isGone = isHeld || step === 'blob removed'
    expect(await collector.goOn()).toMatchObject({ blobs: isGone ? 1 : 0 })
    await expectKept(repository, { layers: [content] })
  })

  it.each(removal)('takes a blob over whose collector died: %s', async (step) => {
    const { repository, content, digest } = await pushGarbage()
    await collectGarbage(dyingAt(registry, step)).catch(() => {})
    await pushImage(registry, repository, { layers: [content] }, 'new')
    expect(await stage.blobState(digest)).toBe('live')
    await expectKept(repository, { layers: [content] })
  })

  it.each(['blob locked', 'blob placed'] as const)(
    'makes a collector wait that comes while its upload ends: %s',
    async (step) => {
      const { repository, content, digest } = await pushGarbage()
      const collector = await collectUpTo(registry, 'blob reviewed')
      const barrier = gate()
      const upload = pushBlob(stoppingAt(registry, step, barrier), repository, content)
      await barrier.reached
      expect(await collector.goOn()).toMatchObject({ blobs: 0 })
      barrier.open()
      await upload
      await stage.bringDue()
      expect(await stage.collect()).toMatchObject({ blobs: 0 })
      expect(await stage.blobState(digest)).toBe('live')
      await pushImage(registry, repository, { layers: [content] }, 'new')
      await expectKept(repository, { layers: [content] })
    },
  )

  it('of the same blob to two repositories takes it over once, for both', async () => {
    const { repository, content, digest } = await pushGarbage()
    const other = stage.newRepository()
    const collector = await collectUpTo(registry, 'blob unlinked')
    const image = { layers: [content] }
    await Promise.all([
      pushImage(otherProcess(registry), repository, image, 'new'),
      pushImage(otherProcess(registry), other, image, 'new'),
    ])
    await collector.goOn()
    expect(await stage.blobState(digest)).toBe('live')
    await expectKept(repository, image)
    await expectKept(other, image)
  })
}

describeWithEachStore('a push of what is being collected', describePushes)
