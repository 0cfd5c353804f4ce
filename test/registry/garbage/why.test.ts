import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Digest } from '../../../oci/digest.ts'
import { parseTag, type RepositoryName } from '../../../oci/reference.ts'
import { explainKeeping } from '../../../registry/garbage/why.ts'
import { deleteManifest } from '../../../registry/manifests.ts'
import { deleteRepository, requireRepository } from '../../../registry/repositories.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { ANYBODY, imageOf, indexOf, pushManifest } from '../push.ts'
import { openStage, type Stage } from './stage.ts'

let stage: Stage
beforeAll(async () => {
  stage = await openStage({
    graceSeconds: 100,
    undoSeconds: 1000,
    untagged: () => 500,
    blobSeconds: 50,
  })
})
afterAll(() => stage.test.close())

const why = (repository: RepositoryName, digest: Digest) =>
  explainKeeping(stage.registry, repository, digest)

/** Seconds from now, roughly. */
function secondsUntil(time: Date | null | undefined): number {
  return Math.round(((time?.getTime() ?? 0) - Date.now()) / 10_000) * 10
}

describe('why', () => {
  it('a layer is there: the tag of the index that lists the manifest that names it', async () => {
    const repository = stage.newRepository()
    const layer = await stage.pushBlob(repository, 'why layer')
    const image = await pushManifest(stage.registry, repository, imageOf([layer], 'why'))
    const index = await pushManifest(stage.registry, repository, indexOf([image]), {
      reference: 'multi',
    })
    expect(await why(repository, layer)).toMatchObject({
      kind: 'blob',
      state: 'live',
      keeper: { kind: 'tag', detail: 'multi', until: null },
      path: [
        { via: 'named by', digest: image, repository },
        { via: 'listed by', digest: index, repository },
      ],
      goesAt: undefined,
    })
    expect((await why(repository, index)).path).toEqual([])
  })

  it('a tag that was deleted: until when it can be restored, and that it goes then', async () => {
    const repository = stage.newRepository()
    const layer = await stage.pushBlob(repository, 'why deleted')
    const image = await pushManifest(stage.registry, repository, imageOf([layer], 'deleted'), {
      reference: 'old',
    })
    await deleteTag(stage.registry, repository, parseTag('old'), undefined)
    const explained = await why(repository, layer)
    expect(explained.keeper).toMatchObject({ kind: 'history', detail: 'old' })
    expect(secondsUntil(explained.keeper?.until)).toBe(1000)
    expect(secondsUntil(explained.goesAt)).toBe(1000)
    await deleteManifest(stage.registry, repository, image, ANYBODY)
    expect(await why(repository, image)).toMatchObject({ state: 'deleted' })
    await stage.age(1100)
    expect(await why(repository, image)).toMatchObject({ keeper: undefined })
    await stage.collect()
    const unnamed = await why(repository, layer)
    expect(unnamed.keeper?.kind).toBe('unnamed')
    expect(secondsUntil(unnamed.goesAt)).toBe(50)
  })

  it('a manifest without a tag, a leased one, and one of a deleted repository', async () => {
    const repository = stage.newRepository()
    const { registry } = stage
    const image = await pushManifest(registry, repository, imageOf([], 'untagged'))
    expect((await why(repository, image)).keeper?.kind).toBe('recent')
    const id = await requireRepository(registry, repository)
    await registry.db.query(
      `insert into leases (repository_id, digest, holder, expires_at)
       values ($1, $2, 'cluster', now() + interval '5000 seconds')`,
      [id, image],
    )
    expect((await why(repository, image)).keeper).toMatchObject({
      kind: 'lease',
      detail: 'cluster',
    })
    await registry.db.query('delete from leases')
    await deleteRepository(registry, repository, ANYBODY)
    expect(await why(repository, image)).toMatchObject({
      state: 'deleted',
      keeper: { kind: 'deleted', detail: 'repository' },
    })
  })

  it('says so when there is no such thing', async () => {
    const repository = stage.newRepository()
    const digest = await stage.pushBlob(repository, 'why nothing')
    await expect(why(stage.newRepository(), digest)).rejects.toThrow(/^name unknown/)
    const other = digest.replace(/.$/, digest.endsWith('0') ? '1' : '0') as Digest
    await expect(why(repository, other)).rejects.toThrow(/manifest unknown/i)
  })
})
