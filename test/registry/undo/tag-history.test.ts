import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseRepositoryName, parseTag } from '../../../oci/reference.ts'
import { addLease } from '../../../registry/leases.ts'
import { deleteManifest } from '../../../registry/manifests.ts'
import type { Registry } from '../../../registry/registry.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { restoreRun } from '../../../registry/undo/restore-run.ts'
import { getTagHistory, type TagChange } from '../../../registry/undo/tag-history.ts'
import { transaction } from '../../../storage/metadata/database.ts'
import { openStage, type Stage } from '../garbage/stage.ts'
import { cacheManifest, newUpstream, openCache } from '../pull-through/caches.ts'
import { ANYBODY, imageOf, indexOf, pushManifest } from '../push.ts'
import { AN_HOUR, digestAt, pushImage, restore } from './images.ts'

let stage: Stage
let registry: Registry

beforeAll(async () => {
  stage = await openStage(AN_HOUR)
  registry = stage.registry
})
afterAll(() => stage.test.close())

/** Milliseconds. */
const timeTo = (until: Date | undefined) => Number(until) - Date.now()

const FIRST = { before: '', limit: 100 }

/** The changes without what differs from run to run. */
function outline({ tag, from, to, actor, cause }: TagChange) {
  return { tag, from: from?.digest, to: to?.digest, actor, cause }
}

describe('the history of tags', () => {
  it('has the last change first, of all tags or one, page by page', async () => {
    const repository = stage.newRepository()
    const one = await pushImage(registry, repository, 'x')
    const two = await pushImage(registry, repository, 'x')
    await pushManifest(registry, repository, imageOf([]), { reference: 'y' })
    await deleteTag(registry, repository, parseTag('x'), 'user:ann')
    await restore(registry, repository, 'x', { actor: 'user:bob' })
    const all = await getTagHistory(registry, repository, FIRST)
    expect(all.map(({ tag }) => tag)).toEqual(['x', 'x', 'y', 'x', 'x'])
    const tag = parseTag('x')
    const ofTag = await getTagHistory(registry, repository, { ...FIRST, tag })
    const nobody = { tag, actor: null, cause: null }
    expect(ofTag.map(outline)).toEqual([
      { tag, from: undefined, to: two.manifest, actor: 'user:bob', cause: 'restore' },
      { tag, from: two.manifest, to: undefined, actor: 'user:ann', cause: null },
      { ...nobody, from: one.manifest, to: two.manifest },
      { ...nobody, from: undefined, to: one.manifest },
    ])
    const pages: TagChange[] = []
    for (let before = ''; ; ) {
      const page = await getTagHistory(registry, repository, { tag, before, limit: 1 })
      if (page[0] === undefined) break
      pages.push(page[0])
      before = page[0].id
    }
    expect(pages.map(outline)).toEqual(ofTag.map(outline))
  })

  it('tells until when what a tag named can be restored', async () => {
    const repository = stage.newRepository()
    const [named, child, gone] = [
      await pushImage(registry, repository, 'x'),
      await pushImage(registry, repository, 'x'),
      await pushImage(registry, repository, 'x'),
    ]
    const last = await pushImage(registry, repository, 'x')
    await pushManifest(registry, repository, indexOf([child.manifest]), { reference: 'index' })
    await deleteManifest(registry, repository, gone.manifest, ANYBODY)
    const tag = parseTag('x')
    const read = async () => {
      const changes = await getTagHistory(registry, repository, { ...FIRST, tag })
      return new Map(changes.flatMap(({ from }) => (from ? [[from.digest, from] as const] : [])))
    }
    const found = await read()
    expect(found.get(child.manifest)).toMatchObject({ isRestorable: true, until: undefined })
    for (const { manifest } of [named, gone]) {
      expect(found.get(manifest)!.isRestorable).toBe(true)
      const ms = timeTo(found.get(manifest)!.until)
      expect(ms > 0 && ms <= AN_HOUR.undoSeconds * 1000).toBe(true)
    }
    const [current] = await getTagHistory(registry, repository, { ...FIRST, tag })
    expect(current!.to).toEqual({ digest: last.manifest, isRestorable: true, until: undefined })
    await addLease(registry, {
      repository,
      digest: named.manifest,
      holder: 'h',
      seconds: 86_400,
      actor: undefined,
    })
    await stage.age(AN_HOUR.undoSeconds + 60)
    const later = await read()
    expect(later.get(gone.manifest)).toMatchObject({ isRestorable: false, until: undefined })
    expect(timeTo(later.get(named.manifest)!.until)).toBeGreaterThan(3600_000)
    await stage.bringDue()
    await stage.collect()
    const afterwards = await read()
    expect(afterwards.get(gone.manifest)).toMatchObject({ isRestorable: false })
    expect(afterwards.get(named.manifest)).toMatchObject({ isRestorable: true })
  })

  it('is there of what was pulled as well, which cannot be restored', async () => {
    const cache = await openCache(registry, newUpstream())
    const digest = await cacheManifest(registry, cache, { tags: ['x'] })
    const [change] = await getTagHistory(registry, cache.name, FIRST)
    expect(change!.to).toEqual({ digest, isRestorable: false, until: undefined })
  })

  it('is of repositories that are there', async () => {
    const none = parseRepositoryName('none/at-all')
    await expect(getTagHistory(registry, none, FIRST)).rejects.toMatchObject({
      code: 'NAME_UNKNOWN',
    })
  })
})

/** Deletes tags as retention does. */
function retain(names: readonly string[]): Promise<void> {
  return transaction(registry.db, async (tx) => {
    await tx.query({ text: `select set_config('slipway.cause', 'retention', true)` })
    await tx.query({ text: 'delete from tags where name = any($1)', values: [names] })
  })
}

describe('what retention deleted', () => {
  it('is restored at once, but what is there by now, cannot be, or was before', async () => {
    const [one, two] = [stage.newRepository(), stage.newRepository()]
    const early = await pushImage(registry, one, 'early')
    await retain(['early'])
    await registry.db.query(`update tag_events set at = at - interval '10 minutes'`)
    const [a, b] = [await pushImage(registry, one, 'a'), await pushImage(registry, two, 'b')]
    await pushImage(registry, one, 'asked')
    const lost = await pushImage(registry, two, 'lost')
    await pushImage(registry, two, 'again')
    await retain(['a', 'b', 'lost', 'again'])
    const again = await pushImage(registry, two, 'again')
    await deleteTag(registry, one, parseTag('asked'), undefined)
    await registry.db.query('delete from manifests where digest = $1', [lost.manifest])
    const run = {
      since: new Date(Date.now() - 300_000),
      actor: 'user:ann',
      permits: () => () => true,
    }
    const narrow = { ...run, repositories: 'none/**' }
    expect(await restoreRun(registry, narrow)).toEqual([])
    const outcomes = await restoreRun(registry, { ...run, repositories: 'garbage/*' })
    expect(outcomes.map(({ tag, refusal }) => [tag, refusal])).toEqual([
      ['a', undefined],
      ['again', 'tag again is there'],
      ['b', undefined],
      ['lost', `${two}@${lost.manifest}: the time in which it could be restored is over`],
    ])
    expect(await digestAt(registry, one, 'a')).toBe(a.manifest)
    expect(await digestAt(registry, two, 'b')).toBe(b.manifest)
    expect(await digestAt(registry, two, 'again')).toBe(again.manifest)
    expect(await digestAt(registry, one, 'early')).toBeUndefined()
    expect(await digestAt(registry, one, 'asked')).toBeUndefined()
    expect(early.manifest).toBeDefined()
    await expect(restoreRun(registry, { ...run, repositories: 'No!' })).rejects.toMatchObject({
      code: 'NAME_INVALID',
    })
  })

  it('is not restored where the rules say no', async () => {
    const repository = stage.newRepository()
    await pushImage(registry, repository, 'held')
    await retain(['held'])
    const [outcome] = await restoreRun(registry, {
      since: new Date(Date.now() - 300_000),
      repositories: repository,
      actor: undefined,
      permits: () => () => false,
    })
    expect(outcome).toMatchObject({ tag: 'held', refusal: 'tag held may not be made' })
  })
})
