import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Client,
  expectBlob,
  expectError,
  expectStatus,
  json,
  pushBlob,
  type RunningRegistry,
  runRegistry,
  sha256,
  someBytes,
} from './client.ts'
import {
  artifact,
  describeContent,
  descriptorOf,
  document,
  EMPTY,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
  pushEmpty,
  pushImage,
  pushManifest,
  putManifest,
} from './images.ts'

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
  await pushEmpty(client, 'm')
})
afterAll(() => running.close())

async function expectMissing(content: { mediaType: string; bytes: Buffer }, expected: string[]) {
  const answer = await putManifest(client, 'm', 'incomplete', content)
  expectError(answer, 400, 'MANIFEST_BLOB_UNKNOWN')
  const { errors } = json(answer) as { errors: { code: string; detail: string }[] }
  expect(errors.map(({ detail }) => detail).toSorted()).toEqual(expected.toSorted())
  for (const { code } of errors) expect(code).toBe('MANIFEST_BLOB_UNKNOWN')
  expectStatus(await client.get('/v2/m/manifests/incomplete'), 404)
}

function asQuery(tags: readonly string[]): string {
  return tags.map((tag) => `tag=${tag}`).join('&')
}

async function tagsOf(repository: string): Promise<string[]> {
  const { tags } = json(await client.get(`/v2/${repository}/tags/list`)) as { tags: string[] }
  return tags
}

describe('case 29: a manifest whose content is not there', () => {
  const missing = [someBytes(), someBytes()].map((bytes) => describeContent(OCI_LAYER, bytes))
  const digests = missing.map(({ digest }) => digest)

  it('is refused, with an error for each missing layer', async () => {
    await expectMissing(artifact({ layers: missing }), digests)
    await expectMissing(artifact({ layers: [...missing, ...missing, EMPTY] }), digests)
  })

  it('is refused for a missing config, and for what only another repository has', async () => {
    const bytes = someBytes()
    await pushBlob(client, 'elsewhere', bytes)
    const config = describeContent(OCI_CONFIG, bytes)
    await expectMissing(artifact({ config }), [config.digest])
  })

  it('is refused for missing entries of an index', async () => {
    const there = artifact()
    await pushManifest(client, 'm', there.digest, there)
    const manifests = [descriptorOf(there), descriptorOf(artifact())]
    await expectMissing(document(OCI_INDEX, { manifests }), [manifests[1]!.digest])
  })

  const foreign = [
    'application/vnd.oci.image.layer.nondistributable.v1.tar',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  ]
  for (const mediaType of foreign) {
    it(`is accepted when what is missing may not be distributed: ${mediaType}`, async () => {
      const layers = [describeContent(mediaType, someBytes())]
      const answer = await putManifest(client, 'm', 'foreign', artifact({ layers }))
      expectStatus(answer, 201)
    })
  }

  it('is accepted when a cache index of BuildKit lists blobs', async () => {
    const layer = someBytes()
    const cache = 'application/vnd.buildkit.cacheconfig.v0'
    await pushBlob(client, 'm', layer)
    await pushBlob(client, 'm', '[]')
    const manifests = [describeContent(OCI_LAYER, layer), describeContent(cache, '[]')]
    await pushManifest(client, 'm', 'cache', document(OCI_INDEX, { manifests }))
    expectError(await client.delete(`/v2/m/blobs/${sha256(layer)}`), 405, 'UNSUPPORTED')
    await expectBlob(client, 'm', layer)
  })

  it('is accepted when the subject is missing, and says what it refers to', async () => {
    const subject = descriptorOf(artifact())
    const contents = [artifact({ subject }), document(OCI_INDEX, { manifests: [], subject })]
    for (const content of contents) {
      for (const reference of ['referring', content.digest]) {
        const answer = await pushManifest(client, 'm', reference, content)
        expect(answer.headers['oci-subject']).toBe(subject.digest)
      }
    }
  })

  it('is no question for one that names nothing', async () => {
    const subject = { ...EMPTY, mediaType: OCI_MANIFEST }
    await pushManifest(client, 'm', 'none', document(OCI_INDEX, { manifests: [] }))
    await pushManifest(client, 'm', 'no-config', document(OCI_MANIFEST, { layers: [], subject }))
    const extra = artifact({ unknownField: [{ deep: null }], config: { ...EMPTY, data: 'e30=' } })
    await pushManifest(client, 'm', 'extra', extra)
    const pulled = await client.get('/v2/m/manifests/extra')
    expect(pulled.body.equals(extra.bytes)).toBe(true)
  })
})

describe('case 34, for manifests: one that an index lists', () => {
  it('is not deleted before the index', async () => {
    const child = await pushImage(client, 'case34', 'child')
    const index = document(OCI_INDEX, { manifests: [descriptorOf(child)] })
    const outer = document(OCI_INDEX, { manifests: [descriptorOf(index)] })
    await pushManifest(client, 'case34', 'index', index)
    await pushManifest(client, 'case34', 'outer', outer)

    for (const content of [child, index]) {
      const refused = await client.delete(`/v2/case34/manifests/${content.digest}`)
      expectError(refused, 405, 'UNSUPPORTED')
      expectStatus(await client.get(`/v2/case34/manifests/${content.digest}`), 200)
    }

    for (const content of [outer, index, child]) {
      expectStatus(await client.delete(`/v2/case34/manifests/${content.digest}`), 202)
      expectStatus(await client.get(`/v2/case34/manifests/${content.digest}`), 404)
    }
    expect(json(await client.get('/v2/case34/tags/list'))).toEqual({ name: 'case34', tags: [] })
  })

  it('keeps it although its own tag is deleted', async () => {
    const child = await pushImage(client, 'case34', 'child')
    const index = document(OCI_INDEX, { manifests: [descriptorOf(child)] })
    await pushManifest(client, 'case34', 'index', index)
    expectStatus(await client.delete('/v2/case34/manifests/child'), 202)
    expectStatus(await client.get(`/v2/case34/manifests/${child.digest}`), 200)
  })
})

describe('a push with tag parameters', () => {
  it('sets all of them', async () => {
    await pushEmpty(client, 'tagged')
    const tags = Array.from({ length: 25 }, (_, index) => `t${index}`)
    const content = artifact()
    const reference = `${content.digest}?${asQuery(tags)}&${asQuery(tags.slice(0, 3))}`
    const answer = await pushManifest(client, 'tagged', reference, content)
    const named = new Set(String(answer.headers['oci-tag']).split(/, ?/))
    expect([...named].toSorted()).toEqual(tags.toSorted())
    for (const tag of tags) {
      const head = await client.head(`/v2/tagged/manifests/${tag}`)
      expect(head.headers['docker-content-digest']).toBe(content.digest)
    }
  })

  it('sets none when one is no tag', async () => {
    await pushEmpty(client, 'untagged')
    const content = artifact()
    const tags = [...Array.from({ length: 12 }, (_, index) => `t${index}`), '-bad']
    const answer = await putManifest(
      client,
      'untagged',
      `${content.digest}?${asQuery(tags)}`,
      content,
    )
    expectError(answer, 400, 'TAG_INVALID')
    expect(await tagsOf('untagged')).toEqual([])
    expectStatus(await client.get(`/v2/untagged/manifests/${content.digest}`), 404)
  })

  it('sets none when the manifest is refused', async () => {
    await pushEmpty(client, 'untagged')
    const content = artifact({ layers: [describeContent(OCI_LAYER, someBytes())] })
    const reference = `${content.digest}?${asQuery(['a', 'b'])}`
    expectStatus(await putManifest(client, 'untagged', reference, content), 400)
    expect(await tagsOf('untagged')).toEqual([])
  })

  it('goes with a digest only', async () => {
    const answer = await putManifest(client, 'm', 'x?tag=y', artifact())
    expect(answer.status).toBe(400)
  })
})
