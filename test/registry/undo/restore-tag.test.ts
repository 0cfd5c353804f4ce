import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../../oci/digest.ts'
import { parseReference, parseRepositoryName, parseTag } from '../../../oci/reference.ts'
import { deleteBlob, statBlob } from '../../../registry/blobs.ts'
import { deleteManifest, getManifest } from '../../../registry/manifests.ts'
import { getReferrers } from '../../../registry/referrers.ts'
import type { Registry } from '../../../registry/registry.ts'
import { getRepositories } from '../../../registry/repositories.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { restoreManifest } from '../../../registry/undo/restore-tag.ts'
import { forgetDeleted } from '../../../storage/metadata/garbage.ts'
import { openStage, type Stage } from '../garbage/stage.ts'
import { cacheManifest, newUpstream, openCache } from '../pull-through/caches.ts'
import { ANYBODY, imageOf, indexOf, pushBlob, pushManifest } from '../push.ts'
import { AN_HOUR, digestAt, pullWhole, pushImage, referrerOf, restore } from './images.ts'

let stage: Stage
let registry: Registry

beforeAll(async () => {
  stage = await openStage(AN_HOUR)
  registry = stage.registry
})
afterAll(() => stage.test.close())

/** May do anything but this. */
const without = (action: string) => ({ permits: (asked: string) => asked !== action })

const OF_ALL = { all: [], none: [] }

/** As long as most of the window, with a collector that finds everything due. */
async function waitAlmostTooLong(): Promise<void> {
  await stage.age(AN_HOUR.undoSeconds - 60)
  await stage.bringDue()
  await stage.collect()
}

async function waitTooLong(): Promise<void> {
  await stage.age(AN_HOUR.undoSeconds + 60)
  await stage.bringDue()
}

async function eventsOf(tag: string): Promise<object[]> {
  const { rows } = await registry.db.query<object>(
    'select from_digest as "from", to_digest as "to", actor, cause from tag_events where name = $1 order by id',
    [tag],
  )
  return rows
}

describe('a tag that was deleted', () => {
  it('comes back as long as the window lasts, and tells who restored it', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository, 'back')
    await deleteTag(registry, repository, parseTag('back'), 'ann')
    expect(await digestAt(registry, repository, 'back')).toBeUndefined()
    await waitAlmostTooLong()
    const restored = await restore(registry, repository, 'back', { actor: 'bob' })
    expect(restored).toEqual({ digest: manifest, isChanged: true, manifests: 0 })
    expect(await pullWhole(registry, repository, 'back')).toEqual([manifest])
    expect(await eventsOf('back')).toEqual([
      { from: null, to: manifest, actor: null, cause: null },
      { from: manifest, to: null, actor: 'ann', cause: null },
      { from: null, to: manifest, actor: 'bob', cause: 'restore' },
    ])
    await waitTooLong()
    await stage.collect()
    expect(await pullWhole(registry, repository, 'back')).toEqual([manifest])
  })

  it('cannot be restored when the window is over, collected or not, and says so', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository, 'late')
    await deleteManifest(registry, repository, manifest, ANYBODY)
    await waitTooLong()
    const refusal = {
      code: 'MANIFEST_UNKNOWN',
      details: [`${repository}@${manifest}: the time in which it could be restored is over`],
    }
    await expect(restore(registry, repository, 'late')).rejects.toMatchObject(refusal)
    await stage.collect()
    expect(await stage.hasManifest(manifest)).toBe(false)
    await expect(restore(registry, repository, 'late')).rejects.toMatchObject(refusal)
    await expect(restoreManifest(registry, repository, manifest)).rejects.toMatchObject(refusal)
  })

  it('cannot be restored when what was deleted was forgotten', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository, 'x')
    await deleteManifest(registry, repository, manifest, ANYBODY)
    await forgetDeleted(registry.db, repository)
    await expect(restore(registry, repository, 'x')).rejects.toMatchObject({
      details: [expect.stringContaining('is over')],
    })
  })

  it('is left alone when it was to be missing', async () => {
    const repository = stage.newRepository()
    await pushImage(registry, repository, 'x')
    const { manifest } = await pushImage(registry, repository, 'x')
    await expect(restore(registry, repository, 'x', { onlyMissing: true })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      status: 409,
    })
    expect(await digestAt(registry, repository, 'x')).toBe(manifest)
  })
})

describe('a tag that was moved', () => {
  it('goes back, and not once more when it is asked again', async () => {
    const repository = stage.newRepository()
    const first = await pushImage(registry, repository, 'x')
    const second = await pushImage(registry, repository, 'x')
    await pushImage(registry, repository, 'x')
    await waitAlmostTooLong()
    expect(await restore(registry, repository, 'x')).toMatchObject({ digest: second.manifest })
    expect(await restore(registry, repository, 'x')).toEqual({
      digest: second.manifest,
      isChanged: false,
      manifests: 0,
    })
    expect(await pullWhole(registry, repository, 'x')).toEqual([second.manifest])
    const to = { to: first.manifest }
    expect(await restore(registry, repository, 'x', to)).toMatchObject({ isChanged: true })
    expect(await pullWhole(registry, repository, 'x')).toEqual([first.manifest])
  })

  it('goes to what it named at a time', async () => {
    const repository = stage.newRepository()
    const first = await pushImage(registry, repository, 'x')
    await registry.db.query(`update tag_events set at = at - interval '10 minutes'`)
    const at = new Date(Date.now() - 300_000)
    await pushImage(registry, repository, 'x')
    await pushImage(registry, repository, 'x')
    expect(await restore(registry, repository, 'x', { at })).toMatchObject({
      digest: first.manifest,
    })
    const before = new Date(Date.now() - 3_600_000)
    await expect(restore(registry, repository, 'x', { at: before })).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
      details: [`${repository}:x was not there at ${before.toISOString()}`],
    })
  })
})

describe('what cannot be restored', () => {
  it.each([
    ['a repository that is not there', 'none/at-all:x', 'NAME_UNKNOWN', 'none/at-all'],
    ['a tag that never was there', ':other', 'MANIFEST_UNKNOWN', 'never was there'],
    ['a tag that never named anything else', ':x', 'MANIFEST_UNKNOWN', 'nothing else'],
  ])('is %s', async (_what, image, code, detail) => {
    const [name = '', tag = ''] = image.split(':')
    const own = stage.newRepository()
    await pushImage(registry, own, 'x')
    const repository = name === '' ? own : parseRepositoryName(name)
    await expect(restore(registry, repository, tag)).rejects.toMatchObject({
      code,
      details: [expect.stringContaining(detail)],
    })
  })

  it('is a digest that this tag never named, be it there', async () => {
    const repository = stage.newRepository()
    await pushImage(registry, repository, 'x')
    const { manifest } = await pushImage(registry, repository, 'y')
    await expect(restore(registry, repository, 'x', { to: manifest })).rejects.toMatchObject({
      details: [`${repository}:x never named ${manifest}`],
    })
    const never = digestOf(Buffer.from('never'))
    await expect(restoreManifest(registry, repository, never)).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
      details: [expect.stringContaining('it never was there, or had no tag')],
    })
  })

  it('is a tag that may not be made, or may not be moved', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository, 'x')
    const next = await pushImage(registry, repository, 'x')
    await expect(restore(registry, repository, 'x', without('overwrite'))).rejects.toMatchObject({
      code: 'DENIED',
    })
    expect(await digestAt(registry, repository, 'x')).toBe(next.manifest)
    await deleteTag(registry, repository, parseTag('x'), undefined)
    const to = { to: manifest }
    await expect(
      restore(registry, repository, 'x', { ...to, ...without('push') }),
    ).rejects.toMatchObject({ code: 'DENIED' })
    await restore(registry, repository, 'x', { ...to, ...without('overwrite') })
    expect(await digestAt(registry, repository, 'x')).toBe(manifest)
  })

  it('is what was pulled from an upstream', async () => {
    const cache = await openCache(registry, newUpstream())
    await cacheManifest(registry, cache, { tags: ['x'] })
    await expect(restore(registry, cache.name, 'x')).rejects.toMatchObject({ code: 'DENIED' })
  })
})

describe('a manifest that was deleted', () => {
  it('comes back with a tag, with its blobs linked again, and its repository listed', async () => {
    const repository = stage.newRepository()
    const { manifest, layer } = await pushImage(registry, repository, 'x')
    await deleteManifest(registry, repository, manifest, ANYBODY)
    await deleteBlob(registry, repository, layer)
    await waitAlmostTooLong()
    const listed = async () => (await getRepositories(registry, EVERYTHING, OF_ALL)).names
    expect(await listed()).not.toContain(repository)
    expect(await restore(registry, repository, 'x')).toMatchObject({ manifests: 1 })
    expect(await pullWhole(registry, repository, 'x')).toEqual([manifest])
    expect(await listed()).toContain(repository)
    await waitTooLong()
    await stage.collect()
    expect(await pullWhole(registry, repository, 'x')).toEqual([manifest])
  })

  it('comes back with what it lists, however deep and deleted by itself', async () => {
    const repository = stage.newRepository()
    const leaves = [await pushImage(registry, repository), await pushImage(registry, repository)]
    const inner = await pushManifest(
      registry,
      repository,
      indexOf(leaves.map(({ manifest }) => manifest)),
    )
    const top = await pushManifest(registry, repository, indexOf([inner]), { reference: 'multi' })
    for (const digest of [top, inner, ...leaves.map(({ manifest }) => manifest)]) {
      await deleteManifest(registry, repository, digest, ANYBODY)
    }
    await waitAlmostTooLong()
    expect(await restore(registry, repository, 'multi')).toEqual({
      digest: top,
      isChanged: true,
      manifests: 4,
    })
    const expected = [top, inner, ...leaves.map(({ manifest }) => manifest)]
    expect(await pullWhole(registry, repository, 'multi')).toEqual(expected)
  })

  it('comes back with its signatures: those that stayed, and those deleted after it', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository, 'signed')
    const [stays, before, after] = [
      await pushManifest(registry, repository, referrerOf(manifest)),
      await pushManifest(registry, repository, referrerOf(manifest)),
      await pushManifest(registry, repository, referrerOf(manifest)),
    ]
    for (const digest of [before, manifest, after]) {
      await deleteManifest(registry, repository, digest, ANYBODY)
    }
    await waitAlmostTooLong()
    expect(await restore(registry, repository, 'signed')).toMatchObject({ manifests: 2 })
    const request = { artifactTypes: [], after: '0' }
    const { descriptors } = await getReferrers(registry, repository, manifest, request)
    expect(descriptors.map(({ digest }) => digest)).toEqual([stays, after])
  })

  it('comes back without a tag, for as long as one that is pushed so', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository)
    await deleteManifest(registry, repository, manifest, ANYBODY)
    expect(await restoreManifest(registry, repository, manifest)).toBe(1)
    expect(await restoreManifest(registry, repository, manifest)).toBe(0)
    expect(await pullWhole(registry, repository, manifest)).toEqual([manifest])
    const { rowCount } = await registry.db.query(
      `select from gc_queue q join manifests m on m.id::text = q.key
       where m.digest = $1 and q.reason = 'restored without a tag'`,
      [manifest],
    )
    expect(rowCount).toBe(1)
    await stage.bringDue()
    await stage.collect()
    expect(await stage.hasManifest(manifest)).toBe(false)
  })

  it('does not come back without a blob that is damaged, and says which', async () => {
    const repository = stage.newRepository()
    const { manifest, layer } = await pushImage(registry, repository, 'x')
    await deleteManifest(registry, repository, manifest, ANYBODY)
    await registry.db.query(
      `update blobs set state = 'quarantined', problem = 'test' where digest = $1`,
      [layer],
    )
    await expect(restore(registry, repository, 'x')).rejects.toMatchObject({
      code: 'MANIFEST_BLOB_UNKNOWN',
      status: 409,
      details: [`${layer} is damaged or gone: push it again`],
    })
    expect(await digestAt(registry, repository, 'x')).toBeUndefined()
    expect(await digestAt(registry, repository, manifest)).toBeUndefined()
  })

  it('gives nobody a blob that its repository never served', async () => {
    const [secret, repository] = [stage.newRepository(), stage.newRepository()]
    const layer = await pushBlob(registry, secret, Buffer.from('nobody else has this'))
    await pushManifest(registry, secret, imageOf([layer]), { reference: 'x' })
    const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar'
    const image = JSON.parse(imageOf([]).toString()) as object
    const foreign = { ...image, layers: [{ mediaType, digest: layer, size: 1 }] }
    const bytes = Buffer.from(JSON.stringify(foreign))
    const manifest = await pushManifest(registry, repository, bytes, { reference: 'x' })
    await deleteManifest(registry, repository, manifest, ANYBODY)
    await restore(registry, repository, 'x')
    expect((await getManifest(registry, repository, parseReference('x'))).digest).toBe(manifest)
    await expect(statBlob(registry, repository, layer)).rejects.toMatchObject({
      code: 'BLOB_UNKNOWN',
    })
  })
})

const EVERYTHING = { after: '', limit: 1000 }
