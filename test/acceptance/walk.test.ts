import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Answer,
  type Client,
  expectStatus,
  json,
  locationOf,
  type RunningRegistry,
  runRegistry,
  sha256,
  sha512,
  someBytes,
  startUpload,
} from './client.ts'
import { type Content, document, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST } from './images.ts'

/**
 * One client's whole day: every way to push, everything a manifest may be, and all of it deleted
 * again, parents before children. In each algorithm, because whoever pushes by sha512 has to meet
 * sha512 everywhere.
 */
describe.each([
  { algorithm: 'sha256', digestOf: sha256 },
  { algorithm: 'sha512', digestOf: sha512 },
])('a walk through the whole API by $algorithm', ({ algorithm, digestOf }) => {
  const repository = `walk/${algorithm}`
  const uploads = `/v2/${repository}/blobs/uploads/`
  const blobs = new Map<string, Buffer>()
  const manifests: (Content & { tags: string[] })[] = []
  let running: RunningRegistry
  let client: Client
  beforeAll(async () => {
    running = await runRegistry()
    client = running.client
  })
  afterAll(() => running.close())

  /** A 201 names what it made, and what it made is there, byte for byte. */
  async function expectCreated(answer: Answer, digest: string, bytes: Buffer): Promise<void> {
    expectStatus(answer, 201)
    expect(answer.headers['docker-content-digest']).toBe(digest)
    const pulled = await client.get(locationOf(answer))
    expectStatus(pulled, 200)
    expect(pulled.headers['docker-content-digest']).toBe(digest)
    expect(pulled.body.equals(bytes)).toBe(true)
    const head = await client.head(locationOf(answer))
    expectStatus(head, 200)
    expect(head.headers['content-length']).toBe(String(bytes.length))
    expect(head.headers['docker-content-digest']).toBe(digest)
  }

  const put = (session: string, digest: string, body?: Uint8Array, range?: string) =>
    client.send('PUT', `${session}?digest=${digest}`, {
      ...(body === undefined ? {} : { body }),
      ...(range === undefined ? {} : { headers: { 'Content-Range': range } }),
    })
  const patch = (session: string, body: Uint8Array, range?: string) =>
    client.send('PATCH', session, {
      body,
      ...(range === undefined ? {} : { headers: { 'Content-Range': range } }),
    })

  type Push = (digest: string, bytes: Buffer) => Promise<Answer>
  const WAYS: Readonly<Record<string, Push>> = {
    'POST, PUT': async (digest, bytes) => put(await startUpload(client, repository), digest, bytes),
    'one POST': (digest, bytes) =>
      client.send('POST', `${uploads}?digest=${digest}`, { body: bytes }),
    'PATCH as a stream': async (digest, bytes) => {
      const streamed = await patch(await startUpload(client, repository), bytes)
      expectStatus(streamed, 202)
      return put(locationOf(streamed), digest)
    },
    'PATCH in chunks': async (digest, bytes) => {
      const half = Math.max(1, bytes.length >> 1)
      const session = await startUpload(client, repository)
      const early = await patch(session, bytes.subarray(half), `${half}-${bytes.length - 1}`)
      expectStatus(early, 416)
      const status = await client.get(session)
      expectStatus(status, 204)
      expect(status.headers.range).toMatch(/^0-/)
      const first = await patch(session, bytes.subarray(0, half), `0-${half - 1}`)
      expectStatus(first, 202)
      expect(first.headers.range).toBe(`0-${half - 1}`)
      const rest = bytes.subarray(half)
      return put(locationOf(first), digest, rest, `${half}-${bytes.length - 1}`)
    },
    'POST with the algorithm named': async (digest, bytes) => {
      const begun = await client.send('POST', `${uploads}?digest-algorithm=${algorithm}`)
      expectStatus(begun, 202)
      return put(locationOf(begun), digest, bytes)
    },
  }

  describe.each(Object.entries(WAYS))('pushing by %s', (_way, push) => {
    it('makes the blob', async () => {
      const bytes = someBytes(2000)
      await expectCreated(await push(digestOf(bytes), bytes), digestOf(bytes), bytes)
      blobs.set(digestOf(bytes), bytes)
    })

    it('makes nothing of other bytes than the digest is of', async () => {
      const digest = digestOf(someBytes())
      expectStatus(await push(digest, someBytes(2000)), 400)
      expectStatus(await client.head(`/v2/${repository}/blobs/${digest}`), 404)
    })
  })

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['an empty object', Buffer.from('{}')],
  ])('pushes a blob of %s', async (_what, bytes) => {
    const session = await startUpload(client, repository)
    await expectCreated(await put(session, digestOf(bytes), bytes), digestOf(bytes), bytes)
    blobs.set(digestOf(bytes), bytes)
  })

  it('mounts what another repository has, with its name and without', async () => {
    const [[digest, bytes] = ['', Buffer.alloc(0)]] = blobs
    const target = `/v2/${repository}/mounted/blobs/uploads/?mount=${digest}`
    await expectCreated(await client.send('POST', `${target}&from=${repository}`), digest, bytes)
    await expectCreated(await client.send('POST', target.replace('mounted', 'any')), digest, bytes)
    const missing = target.replace(digest, digestOf(someBytes()))
    expectStatus(await client.send('POST', `${missing}&from=${repository}`), 202)
    expectStatus(await client.send('POST', missing), 202)
  })

  it.each([
    ['500-1499', 206, [500, 1500]],
    ['500-', 206, [500, 2000]],
    ['-500', 206, [1500, 2000]],
    ['1000-5000', 206, [1000, 2000]],
    ['500-0', 416, []],
    ['2000-', 416, []],
  ])('answers the range %s with %d', async (range, status, [first = 0, end = 0]) => {
    const [[digest, bytes] = ['', Buffer.alloc(0)]] = blobs
    const answer = await client.get(`/v2/${repository}/blobs/${digest}`, {
      Range: `bytes=${range}`,
    })
    expectStatus(answer, status)
    if (status === 416) return
    expect(answer.headers['content-range']).toBe(`bytes ${first}-${end - 1}/2000`)
    expect(answer.body.equals(bytes.subarray(first, end))).toBe(true)
  })

  const describeBlob = (mediaType: string, digest: string) => {
    return { mediaType, digest, size: blobs.get(digest)?.length ?? 1 }
  }
  const describeManifest = ({ mediaType, bytes }: Content) => {
    return { mediaType, digest: digestOf(bytes), size: bytes.length }
  }

  const annotated = (mediaType: string, fields: object) =>
    document(mediaType, { ...fields, annotations: { number: String(manifests.length) } })

  it('takes every kind of manifest, and gives it back as it was', async () => {
    const [config = '', ...layers] = blobs.keys()
    const image = {
      config: describeBlob(OCI_CONFIG, config),
      layers: layers.map((layer) => describeBlob(OCI_LAYER, layer)),
    }
    const nondistributable = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'
    const elsewhere = describeBlob(nondistributable, digestOf(someBytes()))
    const pushOne = async (content: Content, tags: string[] = []): Promise<Content> => {
      const digest = digestOf(content.bytes)
      const query = tags.map((tag) => `tag=${tag}`).join('&')
      const answer = await client.send('PUT', `/v2/${repository}/manifests/${digest}?${query}`, {
        headers: { 'Content-Type': content.mediaType },
        body: content.bytes,
      })
      await expectCreated(answer, digest, content.bytes)
      expect(answer.headers['oci-tag'] ?? '').toBe(tags.join(', '))
      manifests.push({ ...content, digest, tags })
      return content
    }
    const plain = await pushOne(annotated(OCI_MANIFEST, image), ['plain'])
    const manyTags = Array.from({ length: 10 }, (_none, index) => `many-${index}`)
    await pushOne(annotated(OCI_MANIFEST, { ...image, unknown: { field: [1] } }), manyTags)
    await pushOne(annotated(OCI_MANIFEST, { ...image, layers: [elsewhere] }))
    await pushOne(
      annotated(OCI_MANIFEST, { ...image, layers: [], artifactType: 'application/x.one' }),
    )
    const index = await pushOne(annotated(OCI_INDEX, { manifests: [describeManifest(plain)] }), [
      'multi',
    ])
    await pushOne(annotated(OCI_INDEX, { manifests: [describeManifest(index)] }), ['nested'])
    await pushOne(annotated(OCI_INDEX, { manifests: [] }))

    const subject = describeManifest(index)
    const types = ['application/x.one', 'application/x.one', 'application/x.two']
    for (const artifactType of types) {
      await pushOne(annotated(OCI_MANIFEST, { ...image, layers: [], artifactType, subject }))
    }
    await pushOne(
      annotated(OCI_INDEX, { manifests: [], artifactType: 'application/x.index', subject }),
    )
    const absent = { ...subject, digest: digestOf(someBytes()) }
    await pushOne(annotated(OCI_MANIFEST, { ...image, subject: absent }))
    for (const { digest, tags, bytes } of manifests) {
      for (const tag of tags) {
        const pulled = await client.get(`/v2/${repository}/manifests/${tag}`)
        expect(pulled.headers['docker-content-digest']).toBe(digest)
        expect(pulled.body.equals(bytes)).toBe(true)
      }
    }
    const list = async (query = '') => {
      const answer = await client.get(`/v2/${repository}/referrers/${subject.digest}${query}`)
      const { manifests: found } = json(answer) as { manifests: { artifactType: string }[] }
      return found.map(({ artifactType }) => artifactType)
    }
    expect(await list()).toEqual([...types, 'application/x.index'])
    expect(await list('?artifactType=application/x.two')).toEqual(['application/x.two'])
  })

  it('is empty again when all of it was deleted, parents before children', async () => {
    const gone = async (path: string) => {
      expectStatus(await client.delete(path), 202)
      expectStatus(await client.head(path), 404)
    }
    const of = (kind: string, name: string) => `/v2/${repository}/${kind}/${name}`
    for (const { tags } of manifests) for (const tag of tags) await gone(of('manifests', tag))
    for (const { digest } of manifests.toReversed()) await gone(of('manifests', digest))
    for (const digest of blobs.keys()) await gone(of('blobs', digest))
    expect(json(await client.get(`/v2/${repository}/tags/list`))).toMatchObject({ tags: [] })
    expect(manifests.length).toBe(12)
    expect(blobs.size).toBe(7)
  })
})
