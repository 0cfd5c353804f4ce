import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Client,
  expectError,
  expectStatus,
  type RunningRegistry,
  runRegistry,
  sha256,
} from './client.ts'
import {
  artifact,
  type Content,
  DOCKER_MANIFEST,
  document,
  type Image,
  OCI_INDEX,
  OCI_MANIFEST,
  pushEmpty,
  pushImage,
  pushManifest,
} from './images.ts'

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
})
afterAll(() => running.close())

function putIf(tag: string, content: Content, headers: Record<string, string>) {
  return client.send('PUT', `/v2/case32/manifests/${tag}`, {
    headers: { 'Content-Type': content.mediaType, ...headers },
    body: content.bytes,
  })
}

describe('case 32, but for the policy: a PUT with a condition', () => {
  beforeAll(() => pushEmpty(client, 'case32'))

  it('If-None-Match: * makes a tag and moves none', async () => {
    const [first, second] = [artifact(), artifact()]
    const onlyNew = { 'If-None-Match': '*' }
    expectStatus(await putIf('new', first, onlyNew), 201)
    expectError(await putIf('new', second, onlyNew), 412, 'DENIED')
    const { headers } = await client.get('/v2/case32/manifests/new')
    expect(headers['docker-content-digest']).toBe(first.digest)
    expectStatus(await client.get(`/v2/case32/manifests/${second.digest}`), 404)
  })

  it('If-Match moves a tag only from the digest that is named', async () => {
    const [first, second, third] = [artifact(), artifact(), artifact()]
    await pushManifest(client, 'case32', 'moving', first)
    expectStatus(await putIf('moving', second, { 'If-Match': `"${first.digest}"` }), 201)
    expectStatus(await putIf('moving', third, { 'If-Match': `"${first.digest}"` }), 412)
    expectStatus(await putIf('moving', third, { 'If-Match': '*' }), 201)
    expectStatus(await putIf('none', third, { 'If-Match': '*' }), 412)
    expectStatus(await client.get('/v2/case32/manifests/none'), 404)
  })

  it('lets one of many win', async () => {
    const contents = Array.from({ length: 10 }, () => artifact())
    const answers = await Promise.all(
      contents.map((content) => putIf('raced', content, { 'If-None-Match': '*' })),
    )
    const won = answers.flatMap(({ status }, number) => (status === 201 ? [number] : []))
    expect(won).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 412)).toHaveLength(9)
    const { headers } = await client.get('/v2/case32/manifests/raced')
    expect(headers['docker-content-digest']).toBe(contents[won[0]!]?.digest)
  })

  it('of nothing is not hindered: the same and another digest', async () => {
    const [first, second] = [artifact(), artifact()]
    for (const content of [first, first, second]) {
      expectStatus(await putIf('free', content, {}), 201)
    }
  })
})

describe('case 40: a manifest', () => {
  let image: Image
  let index: Content
  beforeAll(async () => {
    image = await pushImage(client, 'case40', 'image')
    index = document(OCI_INDEX, { manifests: [] })
    await pushManifest(client, 'case40', 'index', index)
  })

  const forms: Record<string, (digest: string) => string> = {
    quoted: (digest) => `"${digest}"`,
    unquoted: (digest) => digest,
    weak: (digest) => `W/"${digest}"`,
    'a star': () => '*',
    'a list': (digest) => `"${sha256('x')}", "${digest}"`,
  }
  for (const [what, form] of Object.entries(forms)) {
    it(`is not sent again to one who has it: ${what}`, async () => {
      for (const reference of ['image', image.digest]) {
        for (const method of ['GET', 'HEAD']) {
          const headers = { 'If-None-Match': form(image.digest) }
          const url = `/v2/case40/manifests/${reference}`
          const answer = await client.send(method, url, { headers })
          expectStatus(answer, 304)
          expect(answer.body).toHaveLength(0)
          expect(answer.headers.etag).toBe(`"${image.digest}"`)
          expect(answer.headers['docker-content-digest']).toBe(image.digest)
        }
      }
    })
  }

  it('is sent to one who has another', async () => {
    const headers = { 'If-None-Match': `"${sha256('x')}", "${index.digest}"` }
    expectStatus(await client.get('/v2/case40/manifests/image', headers), 200)
  })

  const accepts = {
    nothing: {},
    anything: { Accept: '*/*' },
    'what is there': { Accept: `${OCI_MANIFEST}, ${OCI_INDEX};q=0.5` },
    'Docker types only': { Accept: DOCKER_MANIFEST },
    'text only': { Accept: 'text/html' },
    'no image but an index': { Accept: OCI_INDEX },
  }
  for (const [what, headers] of Object.entries(accepts)) {
    it(`is what was pushed to a client that accepts ${what}`, async () => {
      for (const [reference, content] of Object.entries({ image, index, [image.digest]: image })) {
        const answer = await client.get(`/v2/case40/manifests/${reference}`, headers)
        expectStatus(answer, 200)
        expect(answer.headers['content-type']).toBe(content.mediaType)
        expect(answer.body.equals(content.bytes)).toBe(true)
      }
    })
  }

  it('has the headers of GET on HEAD', async () => {
    for (const reference of ['image', image.digest]) {
      const url = `/v2/case40/manifests/${reference}`
      const [get, head] = [await client.get(url), await client.head(url)]
      const { date: _, ...headers } = get.headers
      expect(head.headers).toMatchObject(headers)
      expect(head.headers['content-length']).toBe(String(image.bytes.length))
      expect(head.headers['content-type']).toBe(OCI_MANIFEST)
      expect(head.headers['docker-content-digest']).toBe(image.digest)
      expect(head.body).toHaveLength(0)
    }
  })

  it('that is not there is 404 on HEAD, without a body', async () => {
    const answer = await client.head('/v2/case40/manifests/none')
    expectStatus(answer, 404)
    expect(answer.body).toHaveLength(0)
    expectError(await client.get('/v2/case40/manifests/none'), 404, 'MANIFEST_UNKNOWN')
  })

  it('is never compressed, nor is anything else', async () => {
    const urls = [
      '/v2/',
      '/v2/_catalog',
      '/v2/case40/manifests/image',
      '/v2/case40/tags/list',
      `/v2/case40/blobs/${sha256(image.layer)}`,
      `/v2/case40/referrers/${image.digest}`,
    ]
    for (const url of urls) {
      for (const coding of ['gzip', 'zstd;q=1.0, gzip;q=0.8, deflate;q=0.5', 'identity', '*']) {
        const answer = await client.get(url, { 'Accept-Encoding': coding })
        expectStatus(answer, 200)
        expect(answer.headers['content-encoding']).toBeUndefined()
        expect(answer.headers['content-length']).toBe(String(answer.body.length))
      }
    }
  })
})
