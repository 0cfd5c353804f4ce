import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import { RegistryError } from '../../../oci/errors.ts'
import { parseReference, parseTag, type RepositoryName } from '../../../oci/reference.ts'
import { getManifest, promiseManifest } from '../../../registry/manifests.ts'
import type { Registry } from '../../../registry/registry.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { restoreTag } from '../../../registry/undo/restore-tag.ts'
import { deleteGarbageManifest, lockManifestAlone } from '../../../storage/metadata/garbage.ts'
import { gate, isWaiting, stoppingAt } from '../gate.ts'
import { ANYBODY, imageOf, indexOf, pushManifest } from '../push.ts'
import {
  bytesOf,
  type Image,
  otherProcess,
  pullWhole,
  pushImage,
  pushLayers,
  referrerOf,
} from './client.ts'
import { openStage, type Stage } from './stage.ts'
import { atEachStep, collectUpTo, holding } from './steps.ts'

const GRACE = { graceSeconds: 100, undoSeconds: 1000, untagged: () => 0, blobSeconds: 0 }
/** Longer than anything stays that nothing names. */
const LONG = 1101
const WALK_MS = 90_000

let stage: Stage
let registry: Registry
let repository: RepositoryName
beforeEach(async () => {
  stage = await openStage(GRACE)
  registry = stage.registry
  repository = stage.newRepository()
})
afterEach(() => stage.test.close())

let contents = 0
const newImage = (): Image => ({ layers: [Buffer.from(`image ${contents++}`)] })

/** An image that had a tag, and can be restored no more; but it is still there. */
async function pushOld(): Promise<{ readonly image: Image; readonly digest: Digest }> {
  const image = newImage()
  const digest = await pushImage(registry, repository, image, 'old')
  await deleteTag(registry, repository, parseTag('old'), undefined)
  await stage.age(LONG)
  return { image, digest }
}

/** Whether somebody who asks for it by its digest is told that it is here. */
async function isManifestThere(process: Registry, digest: Digest): Promise<boolean> {
  return promiseManifest(process, repository, parseReference(digest)).then(
    () => true,
    (error: unknown) => {
      if (error instanceof RegistryError && error.code === 'MANIFEST_UNKNOWN') return false
      throw error
    },
  )
}

/** Deletes a manifest as a collector does, and stops before the commit. */
async function deleting(digest: Digest) {
  const { rows } = await registry.db.query<{ id: string }>(
    'select id from manifests where digest = $1',
    [digest],
  )
  const { id } = rows[0]!
  const barrier = gate()
  const deleted = holding(registry, barrier, async (tx) => {
    await lockManifestAlone(tx, id)
    await deleteGarbageManifest(tx, id)
  })
  await barrier.reached
  return {
    commit: () => {
      barrier.open()
      return deleted
    },
  }
}

const idOf = async (digest: Digest) => {
  const text = 'select id from manifests where digest = $1'
  return (await registry.db.query<{ id: string }>(text, [digest])).rows[0]?.id
}

describe('a tag that is put on a manifest', () => {
  it('at any step of a collector of it leaves it whole', { timeout: WALK_MS }, async () => {
    let old: { image: Image; digest: Digest }
    const steps = await atEachStep({
      prepare: async () => {
        repository = stage.newRepository()
        old = await pushOld()
        return registry
      },
      during: async () => {
        await pushImage(otherProcess(registry), repository, old.image, 'new')
      },
      after: async (at) => {
        await stage.age(10 * LONG)
        await stage.collect()
        expect([at, await pullWhole(registry, repository, 'new')]).toEqual([at, old.digest])
      },
    })
    expect(steps).toContain('manifest collected')
  })

  it('keeps it when it had been judged as garbage', async () => {
    const { image, digest } = await pushOld()
    const id = await idOf(digest)
    const collector = await collectUpTo(registry, 'manifest reviewed')
    await pushManifest(registry, repository, bytesOf(image), { reference: 'new' })
    expect(await collector.goOn()).toMatchObject({ manifests: 0 })
    expect(await idOf(digest)).toBe(id)
  })

  it('makes another of it when the collector holds it', async () => {
    const { image, digest } = await pushOld()
    const id = await idOf(digest)
    const collector = await deleting(digest)
    const push = pushManifest(registry, repository, bytesOf(image), { reference: 'new' })
    expect(await isWaiting(push)).toBe(true)
    await collector.commit()
    await push
    expect(await idOf(digest)).not.toBe(id)
    await stage.bringDue()
    await stage.collect()
    expect(await pullWhole(registry, repository, 'new')).toBe(digest)
  })

  it('holds its blobs while the collector takes the manifest away under it', async () => {
    const { image, digest } = await pushOld()
    const barrier = gate()
    const stopping = stoppingAt(registry, 'manifest locked', barrier)
    const push = pushManifest(stopping, repository, bytesOf(image), { reference: 'new' })
    await barrier.reached
    expect(await stage.collect()).toMatchObject({ manifests: 1, blobs: 0 })
    barrier.open()
    await push
    await stage.bringDue()
    await stage.collect()
    expect(await pullWhole(registry, repository, 'new')).toBe(digest)
  })

  it('restores it at the end of the window when the collector has judged it', async () => {
    const { digest } = await pushOld()
    const collector = await collectUpTo(registry, 'manifest reviewed')
    const restore = { to: digest, actor: undefined, permits: ANYBODY.permits }
    await restoreTag(registry, repository, parseTag('old'), restore)
    expect(await collector.goOn()).toMatchObject({ manifests: 0, blobs: 0 })
    await stage.age(LONG)
    await stage.collect()
    expect(await pullWhole(registry, repository, 'old')).toBe(digest)
  })

  it('restores nothing of what the collector holds', async () => {
    const { digest } = await pushOld()
    const collector = await deleting(digest)
    const restore = { to: digest, actor: undefined, permits: ANYBODY.permits }
    const restoring = restoreTag(registry, repository, parseTag('old'), restore)
    restoring.catch(() => {})
    expect(await isWaiting(restoring)).toBe(true)
    await collector.commit()
    await expect(restoring).rejects.toMatchObject({ code: 'MANIFEST_UNKNOWN' })
    await expect(getManifest(registry, repository, parseReference('old'))).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    })
  })

  it('holds up no other garbage while its push takes long', async () => {
    const { image, digest } = await pushOld()
    await pushOld()
    const barrier = gate()
    const stopping = stoppingAt(registry, 'manifest locked', barrier)
    const push = pushManifest(stopping, repository, imageOf([], 'new'), { reference: 'new' })
    await barrier.reached
    expect(await stage.collect()).toMatchObject({ manifests: 2, blobs: 2 })
    barrier.open()
    await push
    expect(await isManifestThere(registry, digest)).toBe(false)
    expect(await pushLayers(registry, repository, image.layers)).toHaveLength(1)
  })
})

describe('an index', () => {
  /** Children that nothing names any more, and an index of them that was never pushed. */
  const pushChildren = async () => {
    const images = [newImage(), newImage()]
    const children: Digest[] = []
    for (const image of images) children.push(await pushImage(registry, repository, image))
    await stage.age(LONG)
    return { images, children, bytes: indexOf(children) }
  }

  it('keeps children that had been judged as garbage', async () => {
    const { bytes } = await pushChildren()
    const collector = await collectUpTo(registry, 'manifest reviewed')
    const digest = await pushManifest(registry, repository, bytes, { reference: 'new' })
    expect(await collector.goOn()).toMatchObject({ manifests: 0 })
    expect(await pullWhole(registry, repository, 'new')).toBe(digest)
  })

  it('makes the collector of a child give way when its push came first', async () => {
    const { bytes } = await pushChildren()
    const collector = await collectUpTo(registry, 'manifest reviewed')
    const barrier = gate()
    const stopping = stoppingAt(registry, 'manifest locked', barrier)
    const push = pushManifest(stopping, repository, bytes, { reference: 'new' })
    await barrier.reached
    expect(await collector.goOn()).toMatchObject({ manifests: 0 })
    barrier.open()
    const digest = await push
    await stage.bringDue()
    await stage.collect()
    expect(await pullWhole(registry, repository, 'new')).toBe(digest)
  })

  it('is refused when the collector of a child came first', async () => {
    const { images, children, bytes } = await pushChildren()
    const collector = await deleting(children[1]!)
    const push = pushManifest(registry, repository, bytes, { reference: 'new' })
    push.catch(() => {})
    expect(await isWaiting(push)).toBe(true)
    await collector.commit()
    await expect(push).rejects.toMatchObject({
      code: 'MANIFEST_BLOB_UNKNOWN',
      details: [children[1]],
    })
    await pushImage(registry, repository, images[1]!)
    await pushManifest(registry, repository, bytes, { reference: 'new' })
    await pullWhole(registry, repository, 'new')
  })

  it('of children that a client was told to be there is taken', { timeout: WALK_MS }, async () => {
    let pushed: Awaited<ReturnType<typeof pushChildren>>
    await atEachStep({
      prepare: async () => {
        repository = stage.newRepository()
        pushed = await pushChildren()
        return registry
      },
      during: async () => {
        const process = otherProcess(registry)
        for (const [index, child] of pushed.children.entries()) {
          if (await isManifestThere(process, child)) continue
          await pushImage(process, repository, pushed.images[index]!)
        }
      },
      after: async (at) => {
        const { bytes } = pushed
        const digest = await pushManifest(registry, repository, bytes, { reference: 'new' })
        await stage.age(10 * LONG)
        await stage.collect()
        expect([at, await pullWhole(registry, repository, 'new')]).toEqual([at, digest])
      },
    })
  })

  it('that a client was told to be there is there whole', { timeout: WALK_MS }, async () => {
    let pushed: Awaited<ReturnType<typeof pushChildren>>
    const answers = new Set<boolean>()
    await atEachStep({
      prepare: async () => {
        repository = stage.newRepository()
        pushed = await pushChildren()
        await pushManifest(registry, repository, pushed.bytes, { reference: 'old' })
        await deleteTag(registry, repository, parseTag('old'), undefined)
        await stage.age(LONG)
        return registry
      },
      during: async () => {
        const process = otherProcess(registry)
        const isThere = await isManifestThere(process, digestOf(pushed.bytes))
        answers.add(isThere)
        if (isThere) return
        for (const image of pushed.images) await pushImage(process, repository, image)
      },
      after: async (at) => {
        const digest = await pushManifest(registry, repository, pushed.bytes, { reference: 'new' })
        expect([at, await pullWhole(registry, repository, 'new')]).toEqual([at, digest])
      },
    })
    expect(answers).toEqual(new Set([true, false]))
  })
})

describe('a referrer', () => {
  it('that came first is kept by its subject when that comes at last', async () => {
    const image = newImage()
    const early = await pushManifest(
      registry,
      repository,
      referrerOf(digestOf(bytesOf(image)), 'early'),
    )
    await stage.age(LONG)
    const collector = await collectUpTo(registry, 'manifest reviewed')
    await pushImage(registry, repository, image, 'new')
    expect(await collector.goOn()).toMatchObject({ manifests: 0 })
    await stage.age(10 * LONG)
    await stage.collect()
    expect(await idOf(early)).toBeDefined()
  })

  it('stays when its subject is pushed again before it went', { timeout: WALK_MS }, async () => {
    let old: { image: Image; digest: Digest }
    let left: string[]
    const counts = new Set<number>()
    const referrers = async () => {
      const { rows } = await registry.db.query<{ digest: Digest }>(
        `select m.digest from manifests m join repositories r on r.id = m.repository_id
         where r.name = $1 and m.subject_digest is not null order by m.digest`,
        [repository],
      )
      return rows.map(({ digest }) => digest)
    }
    await atEachStep({
      prepare: async () => {
        repository = stage.newRepository()
        old = await pushOld()
        const one = await pushManifest(registry, repository, referrerOf(old.digest, 'one'))
        await pushManifest(registry, repository, referrerOf(old.digest, 'two'))
        await pushManifest(registry, repository, referrerOf(one, 'of one'))
        await stage.age(LONG)
        return registry
      },
      during: async () => {
        await pushImage(otherProcess(registry), repository, old.image, 'new')
        left = await referrers()
        counts.add(left.length)
      },
      after: async (at) => {
        await stage.age(10 * LONG)
        await stage.collect()
        expect([at, await pullWhole(registry, repository, 'new')]).toEqual([at, old.digest])
        const kept = await referrers()
        // One whose own subject was gone by then goes by itself.
        const one = digestOf(referrerOf(old.digest, 'one'))
        const ofOne = digestOf(referrerOf(one, 'of one'))
        const stays = left.filter((digest) => digest !== ofOne || left.includes(one))
        expect([at, kept]).toEqual([at, stays])
      },
    })
    expect(counts).toContain(3)
    expect(counts).toContain(0)
  })

  it('of what is being collected is taken, and listed', { timeout: WALK_MS }, async () => {
    let old: { image: Image; digest: Digest }
    let late: Digest
    await atEachStep({
      prepare: async () => {
        repository = stage.newRepository()
        old = await pushOld()
        return registry
      },
      during: async () => {
        const bytes = referrerOf(old.digest, 'late')
        late = await pushManifest(otherProcess(registry), repository, bytes)
      },
      after: async (at) => {
        const { digest } = await getManifest(
          otherProcess(registry),
          repository,
          parseReference(late),
        )
        expect([at, digest]).toEqual([at, late])
        await pushImage(registry, repository, old.image, 'new')
        await stage.age(10 * LONG)
        await stage.collect()
        expect([at, await idOf(late)]).not.toEqual([at, undefined])
        await deleteTag(registry, repository, parseTag('new'), undefined)
        await stage.age(LONG)
        await stage.collect()
        expect([at, await idOf(late)]).toEqual([at, undefined])
      },
    })
  })
})
