/* Servers of the version before know nothing of deleted manifests; they run beside new ones during an upgrade. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../../oci/digest.ts'
import { OCI_INDEX, OCI_MANIFEST } from '../../../oci/media-types.ts'
import type { RepositoryName } from '../../../oci/reference.ts'
import { sweepGarbage } from '../../../registry/garbage/sweep.ts'
import { deleteManifest } from '../../../registry/manifests.ts'
import type { Registry } from '../../../registry/registry.ts'
import { requireRepository } from '../../../registry/repositories.ts'
import { ANYBODY, indexOf } from '../push.ts'
import { bytesOf, pullWhole, pushImage } from './client.ts'
import { LONG, newImage, WINDOWS } from './old-images.ts'
import { openStage, type Stage } from './stage.ts'
import { collectUpTo } from './steps.ts'

/** How they pushed a manifest. */
const OLD_COMMIT = `with manifest as (
    insert into manifests (repository_id, digest, media_type, artifact_type,
      subject_digest, bytes, size_bytes, annotations, pushed_by, used_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, case when $13 then now() end)
    on conflict (repository_id, digest) do update set media_type = excluded.media_type
    returning id
  ), listed as (
    update repositories set listed = true where id = $1 and not listed
  ), blob_edges as (
    insert into manifest_blobs (manifest_id, digest)
    select distinct id, unnest($10::text[]) from manifest
    on conflict do nothing
  ), child_edges as (
    insert into manifest_children (manifest_id, digest)
    select distinct id, unnest($11::text[]) from manifest
    on conflict do nothing
  )
  insert into tags (repository_id, name, manifest_id, updated_by, checked_at)
  select distinct $1::bigint, unnest($12::text[]), id, $9::text,
    case when $13 then now() end
  from manifest
  order by 2
  on conflict (repository_id, name) do update
    set manifest_id = excluded.manifest_id, updated_at = now(),
        updated_by = excluded.updated_by, checked_at = excluded.checked_at,
        due = false`

/** How they recorded the blob of an upload that ended, where it lay before. */
const OLD_UPLOAD = `with blob as (
    insert into blobs (digest, size_bytes, location)
    select digest, size_bytes, location from blobs where digest = $2
    on conflict (digest) do update
      set size_bytes = excluded.size_bytes, location = excluded.location, state = 'live',
          verified_at = now()
      where blobs.state <> 'live' or blobs.location <> excluded.location
  )
  insert into repository_blobs (repository_id, digest) values ($1, $2)
  on conflict do nothing`

let stage: Stage
let registry: Registry
beforeAll(async () => {
  stage = await openStage(WINDOWS)
  registry = stage.registry
})
afterAll(() => stage.test.close())

interface OldPush {
  readonly bytes: Buffer
  readonly mediaType: string
  readonly layers?: readonly string[]
  readonly children?: readonly string[]
}

/** Pushes a manifest below the tag `old`. @returns its digest */
async function oldPush(
  repository: RepositoryName,
  { bytes, mediaType, layers = [], children = [] }: OldPush,
) {
  const id = await requireRepository(registry, repository)
  const digest = digestOf(bytes)
  const manifest = [digest, mediaType, null, null, bytes, bytes.length, null, null]
  const values = [id, ...manifest, layers, children, ['old'], false]
  await registry.db.query({ text: OLD_COMMIT, values })
  return digest
}

/** An image that was deleted, and can be restored. */
async function pushDeleted() {
  const repository = stage.newRepository()
  const image = newImage()
  const digest = await pushImage(registry, repository, image, 'v1')
  await deleteManifest(registry, repository, digest, ANYBODY)
  await expect(pullWhole(registry, repository, digest)).rejects.toMatchObject({
    code: 'MANIFEST_UNKNOWN',
  })
  return { repository, image, digest }
}

async function collectLater(): Promise<void> {
  await stage.age(LONG)
  for (let pass = 0; pass < 2; pass++) {
    await stage.bringDue()
    await stage.collect()
  }
}

/** They do not queue what they push. */
async function sweepAndCollect(): Promise<void> {
  await sweepGarbage(registry, { everySeconds: 0, signal: new AbortController().signal })
  await stage.bringDue()
  await stage.collect()
}

describe('a server of the version before', () => {
  it('brings back what was deleted when it is pushed there, for good', async () => {
    const { repository, image, digest } = await pushDeleted()
    const layers = image.layers.map((content) => digestOf(content))
    await oldPush(repository, { bytes: bytesOf(image), mediaType: OCI_MANIFEST, layers })
    expect(await pullWhole(registry, repository, digest)).toBe(digest)
    await collectLater()
    expect(await pullWhole(registry, repository, 'old')).toBe(digest)
  })

  it('brings back what was deleted when an index lists it that is pushed there', async () => {
    const { repository, digest } = await pushDeleted()
    const bytes = indexOf([digest])
    const index = await oldPush(repository, { bytes, mediaType: OCI_INDEX, children: [digest] })
    expect(await pullWhole(registry, repository, 'old')).toBe(index)
    await collectLater()
    expect(await pullWhole(registry, repository, 'old')).toBe(index)
  })

  it('makes a blob that was being deleted stay for the grace period when it is pushed there', async () => {
    const repository = stage.newRepository()
    const digest = await stage.pushBlob(repository, 'pushed where nothing is promised')
    const id = await requireRepository(registry, repository)
    await stage.age(WINDOWS.graceSeconds + 1)
    const collector = await collectUpTo(registry, 'blob unlinked')
    expect(await stage.blobState(digest)).toBe('deleting')
    await registry.db.query({ text: OLD_UPLOAD, values: [id, digest] })
    await collector.goOn()
    await stage.age(WINDOWS.graceSeconds - 2)
    await sweepAndCollect()
    expect(await stage.blobState(digest)).toBe('live')
    await stage.age(3)
    await sweepAndCollect()
    expect(await stage.blobState(digest)).toBeUndefined()
  })
})
