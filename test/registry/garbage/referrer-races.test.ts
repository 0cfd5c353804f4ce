import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import { parseReference, parseTag, type RepositoryName } from '../../../oci/reference.ts'
import { getManifest } from '../../../registry/manifests.ts'
import type { Registry } from '../../../registry/registry.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { pushManifest } from '../push.ts'
import { bytesOf, type Image, otherProcess, pullWhole, pushImage, referrerOf } from './client.ts'
import { idOf, LONG, newImage, pushOld, WINDOWS } from './old-images.ts'
import { openStage, type Stage } from './stage.ts'
import { atEachStep, collectUpTo } from './steps.ts'

const WALK_MS = 90_000

let stage: Stage
let registry: Registry
let repository: RepositoryName
beforeEach(async () => {
  stage = await openStage(WINDOWS)
  registry = stage.registry
  repository = stage.newRepository()
})
afterEach(() => stage.test.close())

async function referrers(): Promise<Digest[]> {
  const { rows } = await registry.db.query<{ digest: Digest }>(
    `select m.digest from manifests m join repositories r on r.id = m.repository_id
     where r.name = $1 and m.subject_digest is not null order by m.digest`,
    [repository],
  )
  return rows.map(({ digest }) => digest)
}

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
    expect(await idOf(registry, early)).toBeDefined()
  })

  it('stays when its subject is pushed again before it went', { timeout: WALK_MS }, async () => {
    let old: { image: Image; digest: Digest }
    let left: string[]
    const counts = new Set<number>()
    await atEachStep({
      prepare: async () => {
        repository = stage.newRepository()
        old = await pushOld(stage, repository)
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
        old = await pushOld(stage, repository)
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
        expect([at, await idOf(registry, late)]).not.toEqual([at, undefined])
        await deleteTag(registry, repository, parseTag('new'), undefined)
        await stage.age(LONG)
        await stage.collect()
        expect([at, await idOf(registry, late)]).toEqual([at, undefined])
      },
    })
  })
})
