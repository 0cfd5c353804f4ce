import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../../oci/digest.ts'
import { OCI_MANIFEST } from '../../../oci/media-types.ts'
import { parseTag } from '../../../oci/reference.ts'
import { finishUpload } from '../../../registry/finish-upload.ts'
import { deleteManifest } from '../../../registry/manifests.ts'
import {
  deleteRepository,
  getRepositories,
  requireRepository,
} from '../../../registry/repositories.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { ANYBODY, imageOf, indexOf, pushManifest } from '../push.ts'
import { referrerOf } from './client.ts'
import { pushImage } from './images.ts'
import { openStage, type Stage } from './stage.ts'

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(() => stage.test.close())

describe('collecting', () => {
  it('frees an image whose tag was deleted: manifest, row, bytes and links', async () => {
    const repository = stage.newRepository()
    const { layer, manifest } = await pushImage(stage, repository, 'gone', 'latest')
    await stage.collect()
    expect(await stage.blobState(layer)).toBe('live')
    const { registry } = stage
    const { rows } = await registry.db.query<{ location: string }>(
      'select location from blobs where digest = $1',
      [layer],
    )
    await deleteTag(registry, repository, parseTag('latest'), undefined)
    expect(await stage.collect()).toEqual({ manifests: 1, blobs: 1, bytes: 4 })
    expect(await stage.hasManifest(manifest)).toBe(false)
    expect(await stage.blobState(layer)).toBeUndefined()
    expect(await registry.blobs.size(rows[0]!.location)).toBeUndefined()
    expect((await stage.test.api.head(`/v2/${repository}/blobs/${layer}`)).status).toBe(404)
    const listed = await getRepositories(
      registry,
      { after: '', limit: 1000 },
      { all: [], none: [] },
    )
    expect(listed.names).not.toContain(repository)
  })

  it('keeps what another tag, another manifest or another repository names', async () => {
    const [one, other] = [stage.newRepository(), stage.newRepository()]
    const shared = await stage.pushBlob(one, 'shared')
    await stage.pushBlob(other, 'shared')
    const first = await pushManifest(stage.registry, one, imageOf([shared], 'a'), {
      reference: 'a',
    })
    await pushManifest(stage.registry, one, imageOf([shared], 'a'), { reference: 'b' })
    await pushManifest(stage.registry, other, imageOf([shared], 'b'), { reference: 'c' })
    await deleteTag(stage.registry, one, parseTag('a'), undefined)
    await stage.collect()
    expect(await stage.hasManifest(first)).toBe(true)
    await deleteTag(stage.registry, one, parseTag('b'), undefined)
    await stage.collect()
    expect(await stage.hasManifest(first)).toBe(false)
    expect(await stage.blobState(shared)).toBe('live')
    await deleteTag(stage.registry, other, parseTag('c'), undefined)
    await stage.collect()
    expect(await stage.blobState(shared)).toBeUndefined()
  })

  it('keeps children of an index as long as it lives, and then takes them with it', async () => {
    const repository = stage.newRepository()
    const { registry } = stage
    const [one, two] = [
      await pushImage(stage, repository, 'child one'),
      await pushImage(stage, repository, 'child two'),
    ]
    const index = await pushManifest(registry, repository, indexOf([one.manifest, two.manifest]), {
      reference: 'multi',
    })
    await stage.bringDue()
    await stage.collect()
    expect(await stage.hasManifest(one.manifest)).toBe(true)
    await deleteTag(registry, repository, parseTag('multi'), undefined)
    await stage.collect()
    for (const digest of [index, one.manifest, two.manifest]) {
      expect(await stage.hasManifest(digest)).toBe(false)
    }
    expect(await stage.blobState(one.layer)).toBeUndefined()
  })

  it('keeps referrers of what lives, however long the chain, and takes them with it', async () => {
    const repository = stage.newRepository()
    const { registry } = stage
    const { manifest } = await pushImage(stage, repository, 'subject', 'signed')
    const chain = [manifest]
    for (let depth = 0; depth < 5; depth++) {
      chain.push(await pushManifest(registry, repository, referrerOf(chain.at(-1)!, `${depth}`)))
    }
    await stage.bringDue()
    await stage.collect()
    for (const digest of chain) expect(await stage.hasManifest(digest)).toBe(true)
    await deleteTag(registry, repository, parseTag('signed'), undefined)
    await stage.collect()
    for (const digest of chain) expect(await stage.hasManifest(digest)).toBe(false)
  })

  it('takes an index whose subject is its own child: they keep only each other', async () => {
    const repository = stage.newRepository()
    const { registry } = stage
    const { manifest } = await pushImage(stage, repository, 'both')
    const index: object = JSON.parse(indexOf([manifest]).toString())
    const subject = { mediaType: OCI_MANIFEST, digest: manifest, size: 1 }
    const bytes = Buffer.from(JSON.stringify({ ...index, subject }))
    const both = await pushManifest(registry, repository, bytes, { reference: 'both' })
    await stage.bringDue()
    await stage.collect()
    expect(await stage.hasManifest(manifest)).toBe(true)
    await deleteTag(registry, repository, parseTag('both'), undefined)
    await stage.collect()
    expect([await stage.hasManifest(manifest), await stage.hasManifest(both)]).toEqual([
      false,
      false,
    ])
  })

  it('takes the tags of clients without referrers with their subject', async () => {
    const repository = stage.newRepository()
    const { registry } = stage
    const { manifest } = await pushImage(stage, repository, 'cosigned', 'v1')
    const name = manifest.replace(':', '-')
    const signature = await pushImage(stage, repository, 'signature', `${name}.sig`)
    const fallback = await pushImage(stage, repository, 'fallback', name)
    const other = await pushImage(stage, repository, 'not of it', `${name}0`)
    await stage.collect()
    await deleteTag(registry, repository, parseTag('v1'), undefined)
    await stage.collect()
    expect(await stage.hasManifest(manifest)).toBe(false)
    expect(await stage.hasManifest(signature.manifest)).toBe(false)
    expect(await stage.hasManifest(fallback.manifest)).toBe(false)
    expect(await stage.blobState(signature.layer)).toBeUndefined()
    expect(await stage.hasManifest(other.manifest)).toBe(true)
  })

  it('takes a blob that no manifest ever named', async () => {
    const layer = await stage.pushBlob(stage.newRepository(), 'never named')
    await stage.collect()
    expect(await stage.blobState(layer)).toBeUndefined()
  })

  it('empties a deleted repository, however much it holds, and keeps what others have', async () => {
    const [repository, other] = [stage.newRepository(), stage.newRepository()]
    const { registry } = stage
    const shared = await stage.pushBlob(repository, 'in both')
    await stage.pushBlob(other, 'in both')
    await pushManifest(registry, other, imageOf([shared]), { reference: 'kept' })
    for (let count = 0; count < 150; count++) {
      await pushManifest(registry, repository, imageOf([shared], `${count}`), {
        reference: `t${count}`,
      })
    }
    const id = await requireRepository(registry, repository)
    await deleteRepository(registry, repository, ANYBODY)
    await stage.collect()
    const { rowCount } = await registry.db.query('select from repositories where id = $1', [id])
    expect(rowCount).toBe(0)
    expect(await stage.blobState(shared)).toBe('live')
  })
})

describe('what is kept for a while', () => {
  let timed: Stage
  beforeAll(async () => {
    timed = await openStage({
      graceSeconds: 100,
      undoSeconds: 1000,
      untagged: () => 500,
      blobSeconds: 50,
    })
  })
  afterAll(() => timed.test.close())

  /** Ages everything, and collects what is due. */
  const pass = async (seconds: number) => {
    await timed.age(seconds)
    return timed.collect()
  }

  it('a deleted tag keeps its image for the undo window, and its blobs a little longer', async () => {
    const repository = timed.newRepository()
    const { layer, manifest } = await pushImage(timed, repository, 'undo', 'latest')
    await pass(600)
    await deleteTag(timed.registry, repository, parseTag('latest'), undefined)
    await pass(990)
    expect(await timed.hasManifest(manifest)).toBe(true)
    await pass(11)
    expect(await timed.hasManifest(manifest)).toBe(false)
    expect(await timed.blobState(layer)).toBe('live')
    await pass(51)
    expect(await timed.blobState(layer)).toBeUndefined()
  })

  it('so does a moved one, and a manifest deleted by its digest', async () => {
    const repository = timed.newRepository()
    const before = await pushImage(timed, repository, 'before', 'moved')
    await pass(600)
    const after = await pushImage(timed, repository, 'after', 'moved')
    await deleteManifest(timed.registry, repository, after.manifest, ANYBODY)
    await pass(990)
    expect(await timed.hasManifest(before.manifest)).toBe(true)
    expect(await timed.hasManifest(after.manifest)).toBe(true)
    await pass(11)
    expect(await timed.hasManifest(before.manifest)).toBe(false)
    expect(await timed.hasManifest(after.manifest)).toBe(false)
  })

  it('a manifest without a tag stays as long as the policy says', async () => {
    const { manifest } = await pushImage(timed, timed.newRepository(), 'untagged')
    await pass(490)
    expect(await timed.hasManifest(manifest)).toBe(true)
    await pass(11)
    expect(await timed.hasManifest(manifest)).toBe(false)
  })

  it('a referrer that came before its subject stays with it when that comes in time', async () => {
    const repository = timed.newRepository()
    const { registry } = timed
    const layer = await timed.pushBlob(repository, 'late subject')
    const bytes = imageOf([layer], 'late subject')
    const early = await pushManifest(registry, repository, referrerOf(digestOf(bytes), 'early'))
    await pass(400)
    await pushManifest(registry, repository, bytes, { reference: 'late' }).catch(async () => {
      await timed.pushBlob(repository, 'late subject')
      await pushManifest(registry, repository, bytes, { reference: 'late' })
    })
    await pass(5000)
    expect(await timed.hasManifest(early)).toBe(true)
  })

  it('a lease keeps a manifest, and one on a blob the blob', async () => {
    const repository = timed.newRepository()
    const { registry } = timed
    const { layer, manifest } = await pushImage(timed, repository, 'leased', 'leased')
    const loose = await timed.pushBlob(repository, 'leased blob')
    const id = await requireRepository(registry, repository)
    await registry.db.query(
      `insert into leases (repository_id, digest, holder, expires_at)
       select $1, unnest($2::text[]), 'test', now() + interval '10000 seconds'`,
      [id, [manifest, loose]],
    )
    await deleteManifest(registry, repository, manifest, ANYBODY)
    await pass(5000)
    expect(await timed.hasManifest(manifest)).toBe(true)
    expect(await timed.blobState(loose)).toBe('live')
    await pass(5001)
    expect(await timed.hasManifest(manifest)).toBe(false)
    expect(await timed.blobState(loose)).toBeUndefined()
    await pass(51)
    expect(await timed.blobState(layer)).toBeUndefined()
  })

  it('a HEAD keeps a blob for the grace period', async () => {
    const repository = timed.newRepository()
    const layer = await timed.pushBlob(repository, 'asked for')
    await pass(90)
    expect((await timed.test.api.head(`/v2/${repository}/blobs/${layer}`)).status).toBe(200)
    await pass(90)
    expect(await timed.blobState(layer)).toBe('live')
    await pass(11)
    expect(await timed.blobState(layer)).toBeUndefined()
  })

  it('so does an upload that is finished once more', async () => {
    const repository = timed.newRepository()
    const layer = await timed.pushBlob(repository, 'finished twice')
    await pass(90)
    const ended = { repository, id: randomUUID(), owner: undefined }
    await finishUpload(timed.registry, ended, layer, undefined)
    await pass(90)
    expect(await timed.blobState(layer)).toBe('live')
    await pass(11)
    expect(await timed.blobState(layer)).toBeUndefined()
  })

  it('a deleted repository stays for the undo window, with all it holds', async () => {
    const repository = timed.newRepository()
    const { layer, manifest } = await pushImage(timed, repository, 'repository', 'latest')
    await deleteRepository(timed.registry, repository, ANYBODY)
    await pass(990)
    expect(await timed.hasManifest(manifest)).toBe(true)
    await pass(11)
    expect(await timed.hasManifest(manifest)).toBe(false)
    await pass(51)
    expect(await timed.blobState(layer)).toBeUndefined()
  })
})
