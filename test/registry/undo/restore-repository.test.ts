import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseRepositoryName, parseTag, type RepositoryName } from '../../../oci/reference.ts'
import { addLease } from '../../../registry/leases.ts'
import { deleteManifest } from '../../../registry/manifests.ts'
import { MetadataCache } from '../../../registry/metadata-cache.ts'
import type { Registry } from '../../../registry/registry.ts'
import { deleteRepository, getRepositories } from '../../../registry/repositories.ts'
import { deleteTag, getTags } from '../../../registry/tags.ts'
import {
  getDeletedRepositories,
  type RepositoryRestore,
  restoreRepository,
} from '../../../registry/undo/restore-repository.ts'
import { forgetDeleted } from '../../../storage/metadata/garbage.ts'
import { openStage, type Stage } from '../garbage/stage.ts'
import { ANYBODY, imageOf, pushManifest } from '../push.ts'
import { AN_HOUR, digestAt, pullWhole, pushImage, restore } from './images.ts'

let stage: Stage
let registry: Registry

beforeAll(async () => {
  stage = await openStage(AN_HOUR)
  registry = stage.registry
})
afterAll(() => stage.test.close())

const notX = (tag: string) => tag !== 'x'

const ALL = { after: '', limit: 1000 }
const OF_ALL = { all: [], none: [] }

const back = (name: RepositoryName, terms: Partial<RepositoryRestore> = {}) =>
  restoreRepository(registry, name, { permits: () => true, ...terms })

/** A repository with a tag, that was deleted. @param leased seconds of a lease on its image */
async function deleted(leased?: number) {
  const repository = stage.newRepository()
  const { manifest } = await pushImage(registry, repository, 'x')
  if (leased !== undefined) {
    const lease = { repository, digest: manifest, holder: 'h', seconds: leased, actor: undefined }
    await addLease(registry, lease)
  }
  await deleteRepository(registry, repository, { ...ANYBODY, actor: 'user:ann' })
  return { repository, manifest }
}

async function deletedNames(): Promise<RepositoryName[]> {
  return (await getDeletedRepositories(registry, ALL, OF_ALL)).map(({ name }) => name)
}

async function listedNames(): Promise<readonly RepositoryName[]> {
  return (await getRepositories(registry, ALL, OF_ALL)).names
}

describe('a repository that was deleted', () => {
  it('comes back with all it held, as long as the window lasts', async () => {
    const { repository, manifest } = await deleted()
    expect(await digestAt(registry, repository, 'x')).toBeUndefined()
    expect(await listedNames()).not.toContain(repository)
    await stage.age(AN_HOUR.undoSeconds - 60)
    await stage.bringDue()
    await stage.collect()
    await back(repository)
    expect(await pullWhole(registry, repository, 'x')).toEqual([manifest])
    expect(await listedNames()).toContain(repository)
    expect(await deletedNames()).not.toContain(repository)
    await stage.age(AN_HOUR.undoSeconds + 60)
    await stage.bringDue()
    await stage.collect()
    expect(await pullWhole(registry, repository, 'x')).toEqual([manifest])
    await pushManifest(registry, repository, imageOf([], 'goes on'), { reference: 'y' })
  })

  it('comes back as long as a lease keeps it, also when the window is over', async () => {
    const { repository, manifest } = await deleted(2 * AN_HOUR.undoSeconds)
    await stage.age(AN_HOUR.undoSeconds + 60)
    await stage.bringDue()
    await stage.collect()
    expect(await stage.hasManifest(manifest)).toBe(true)
    const all = await getDeletedRepositories(registry, ALL, OF_ALL)
    const found = all.find(({ name }) => name === repository)!
    expect(found.until.getTime()).toBeGreaterThan(Date.now())
    await back(repository)
    expect(await pullWhole(registry, repository, 'x')).toEqual([manifest])
  })

  it('under another name takes no push to the old one of a process that did not hear of it', async () => {
    const there = { ...registry, cache: new MetadataCache(false) }
    const repository = stage.newRepository()
    await pushImage(there, repository, 'old')
    await deleteRepository(registry, repository, ANYBODY)
    const as = parseRepositoryName(`${repository}/restored`)
    await back(repository, { as })
    const { manifest } = await pushImage(there, repository, 'new')
    expect(await pullWhole(registry, repository, 'new')).toEqual([manifest])
    expect(await digestAt(registry, as, 'new')).toBeUndefined()
  })

  it('brings back what was deleted in it before, to be restored as well', async () => {
    const repository = stage.newRepository()
    const { manifest } = await pushImage(registry, repository, 'x')
    await deleteManifest(registry, repository, manifest, ANYBODY)
    await deleteRepository(registry, repository, ANYBODY)
    await back(repository)
    expect(await listedNames()).not.toContain(repository)
    expect((await getTags(registry, repository, ALL)).names).toEqual([])
    await restore(registry, repository, 'x')
    expect(await listedNames()).toContain(repository)
    expect(await pullWhole(registry, repository, 'x')).toEqual([manifest])
  })

  it('is not restored over another one, but beside it', async () => {
    const { repository, manifest } = await deleted()
    const next = await pushImage(registry, repository, 'x')
    await expect(back(repository)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      status: 409,
      details: [`the name ${repository} is taken`],
    })
    const as = parseRepositoryName(`${repository}-old`)
    await back(repository, { as })
    expect(await pullWhole(registry, as, 'x')).toEqual([manifest])
    expect(await pullWhole(registry, repository, 'x')).toEqual([next.manifest])
    // A server that pushed to it by its old name does not push to it by its id.
    const pushed = await pushManifest(registry, repository, imageOf([], 'new'), { reference: 'n' })
    expect(await digestAt(registry, repository, 'n')).toBe(pushed)
    expect(await digestAt(registry, as, 'n')).toBeUndefined()
  })

  it('is the last one of its name, and then the one before it', async () => {
    const { repository, manifest: first } = await deleted()
    const { manifest: second } = await pushImage(registry, repository, 'x')
    await deleteRepository(registry, repository, ANYBODY)
    await registry.db.query(
      `update repositories set deleted_at = deleted_at - interval '1 minute'
       where id = (select min(id) from repositories where deleted_name = $1)`,
      [repository],
    )
    expect((await deletedNames()).filter((name) => name === repository)).toHaveLength(1)
    await back(repository)
    expect(await pullWhole(registry, repository, 'x')).toEqual([second])
    const as = parseRepositoryName(`${repository}-first`)
    await back(repository, { as })
    expect(await pullWhole(registry, as, 'x')).toEqual([first])
  })

  it('is listed with who deleted it, and until when it can be restored', async () => {
    const { repository } = await deleted()
    const all = await getDeletedRepositories(registry, ALL, OF_ALL)
    const found = all.find(({ name }) => name === repository)!
    expect(found.deletedBy).toBe('user:ann')
    expect(found.until.getTime() - found.deletedAt.getTime()).toBe(AN_HOUR.undoSeconds * 1000)
    const pages = []
    for (let after = ''; ; ) {
      const page = await getDeletedRepositories(registry, { after, limit: 1 }, OF_ALL)
      if (page[0] === undefined) break
      pages.push(page[0])
      after = page[0].name
    }
    expect(pages).toEqual(all)
    const only = { all: [`^${repository}$`], none: [] }
    expect(await getDeletedRepositories(registry, ALL, only)).toEqual([found])
  })
})

describe('a repository that cannot be restored', () => {
  it('is one whose window is over, collected or not', async () => {
    const { repository, manifest } = await deleted()
    await stage.age(AN_HOUR.undoSeconds + 60)
    await expect(back(repository)).rejects.toMatchObject({
      code: 'NAME_UNKNOWN',
      details: [`${repository}: the time in which it could be restored is over`],
    })
    expect(await deletedNames()).not.toContain(repository)
    await stage.bringDue()
    await stage.collect()
    expect(await stage.hasManifest(manifest)).toBe(false)
    await expect(back(repository)).rejects.toMatchObject({
      details: [`${repository}: no repository of that name was deleted, or it is gone`],
    })
  })

  it('is one whose window is over, and its lease as well', async () => {
    const { repository } = await deleted(2 * AN_HOUR.undoSeconds)
    await stage.age(2 * AN_HOUR.undoSeconds + 60)
    expect(await deletedNames()).not.toContain(repository)
    await expect(back(repository)).rejects.toMatchObject({ code: 'NAME_UNKNOWN' })
  })

  it('is one that was forgotten, or never was there', async () => {
    const { repository } = await deleted()
    await forgetDeleted(registry.db, repository)
    await expect(back(repository)).rejects.toMatchObject({
      details: [expect.stringContaining('is over')],
    })
    await expect(back(parseRepositoryName('never/there'))).rejects.toMatchObject({
      code: 'NAME_UNKNOWN',
    })
  })

  it('is one with a tag that may not be made', async () => {
    const { repository } = await deleted()
    await expect(back(repository, { permits: notX })).rejects.toMatchObject({ code: 'DENIED' })
    expect(await deletedNames()).toContain(repository)
    await back(repository)
    await deleteTag(registry, repository, parseTag('x'), undefined)
  })
})
