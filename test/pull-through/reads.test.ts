import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  expectError,
  expectStatus,
  pushBlob,
  sha256,
  sha512,
  someBytes,
} from '../acceptance/client.ts'
import { type Image, pushImage, putManifest } from '../acceptance/images.ts'
import { type Mirror, openMirror, pathOf } from './mirror.ts'

const WAYS = ['docker.io/library/alpine', 'alpine?ns=docker.io', 'alpine']

let mirror: Mirror
let image: Image

beforeAll(async () => {
  mirror = await openMirror()
})
afterAll(() => mirror.close())
beforeEach(async () => {
  image = await pushImage(mirror.hub.client, 'library/alpine', 'latest')
  const { database, registry } = mirror.here.registry
  await database.pool.query('update tags set due = true')
  registry.cache.forgetUpstreamTags()
  mirror.forget()
})

const get = (name: string, rest: string, headers = {}) =>
  mirror.client.get(pathOf(name, rest), headers)
const head = (name: string, rest: string, headers = {}) =>
  mirror.client.head(pathOf(name, rest), headers)

const asked = () => mirror.asked().map(({ method, kind }) => `${method} ${kind}`)

describe.each(WAYS)('a manifest by %s', (name) => {
  it('has the headers of its content, at GET and HEAD', async () => {
    for (const reference of ['latest', image.digest]) {
      const [first, then] = [
        await head(name, `manifests/${reference}`),
        await get(name, `manifests/${reference}`),
      ]
      for (const answer of [first, then]) {
        expectStatus(answer, 200)
        expect(answer.headers).toMatchObject({
          'docker-content-digest': image.digest,
          'content-type': image.mediaType,
          'content-length': String(image.bytes.length),
          etag: `"${image.digest}"`,
        })
      }
      expect(first.body.length).toBe(0)
      expect(then.body).toEqual(image.bytes)
    }
    expect(asked()).toEqual(['HEAD manifest', 'GET manifest'])
  })

  it('is not sent again to who has it', async () => {
    for (const reference of ['latest', image.digest]) {
      const answer = await get(name, `manifests/${reference}`, {
        'If-None-Match': `"${image.digest}"`,
      })
      expectStatus(answer, 304)
      expect(answer.headers['docker-content-digest']).toBe(image.digest)
      expect(answer.body.length).toBe(0)
      const other = await get(name, `manifests/${reference}`, {
        'If-None-Match': `"${sha256('x')}"`,
      })
      expect(other.body).toEqual(image.bytes)
    }
  })

  it('is sent whatever the client says it takes', async () => {
    const answer = await get(name, 'manifests/latest', { Accept: 'application/vnd.docker.x+json' })
    expect(answer.body).toEqual(image.bytes)
    expect(answer.headers['content-type']).toBe(image.mediaType)
  })

  it.each([
    ['manifests/sha256:x', 400, 'DIGEST_INVALID'],
    ['manifests/-x', 400, 'TAG_INVALID'],
    ['blobs/latest', 400, 'DIGEST_INVALID'],
    ['referrers/latest', 400, 'DIGEST_INVALID'],
    [`manifests/${sha256('nothing')}`, 404, 'MANIFEST_UNKNOWN'],
    ['manifests/nothing', 404, 'MANIFEST_UNKNOWN'],
  ])('that is none, %s, is told apart', async (rest, status, code) => {
    await get(name, 'manifests/latest') // a mirror of Docker knows the repository then
    expectError(await get(name, rest), status, code)
  })
})

describe.each(WAYS)('a blob by %s', (name) => {
  it('comes in ranges, whether it is here or not', async () => {
    await get(name, 'manifests/latest')
    const bytes = someBytes(100_000)
    const path = `blobs/${await pushBlob(mirror.hub.client, 'library/alpine', bytes)}`
    for (const [range, part] of [
      ['bytes=10-19', bytes.subarray(10, 20)],
      ['bytes=99990-', bytes.subarray(99_990)],
      ['bytes=-7', bytes.subarray(-7)],
    ] as const) {
      const answer = await get(name, path, { Range: range })
      expectStatus(answer, 206)
      expect(answer.body).toEqual(part)
      expect(answer.headers['content-range']).toMatch(/^bytes \d+-\d+\/100000$/)
    }
    const beyond = await get(name, path, { Range: 'bytes=100000-' })
    expect([beyond.status, beyond.headers['content-range']]).toEqual([416, 'bytes */100000'])
    expect((await get(name, path)).body).toEqual(bytes)
    expect(mirror.hub.proxy.blobBytes).toBe(bytes.length)
  })

  it('can be looked at without being fetched', async () => {
    await get(name, 'manifests/latest')
    mirror.forget()
    const path = `blobs/${sha256(image.layer)}`
    const answer = await head(name, path)
    expectStatus(answer, 200)
    expect(answer.headers).toMatchObject({
      'content-length': String(image.layer.length),
      'docker-content-digest': sha256(image.layer),
    })
    expect(asked()).toEqual(['HEAD blob'])
    expectError(await get(name, `blobs/${sha256('nothing')}`), 404, 'BLOB_UNKNOWN')
    expectStatus(await head(name, `blobs/${sha256('nothing')}`), 404)
  })

  it('is not sent again to who has it', async () => {
    await get(name, 'manifests/latest')
    const path = `blobs/${sha256(image.layer)}`
    const etag = { 'If-None-Match': `"${sha256(image.layer)}"` }
    expectStatus(await get(name, path), 200)
    expectStatus(await get(name, path, etag), 304)
    expectStatus(await head(name, path, etag), 304)
  })
})

describe('content under sha512', () => {
  it.each(WAYS)('is pulled by that digest as %s', async (name) => {
    const { client } = mirror.hub
    await get(name, 'manifests/latest')
    const bytes = someBytes(3000)
    const blob = await pushBlob(client, 'library/alpine', bytes, sha512(bytes))
    const digest = sha512(image.bytes)
    expectStatus(await putManifest(client, 'library/alpine', digest, image), 201)
    for (const source of ['upstream', 'cache']) {
      const manifest = await get(name, `manifests/${digest}`)
      expectStatus(manifest, 200)
      expect({ source, body: manifest.body }).toEqual({ source, body: image.bytes })
      expect(manifest.headers['docker-content-digest']).toBe(digest)
      expect((await get(name, `blobs/${blob}`)).body).toEqual(bytes)
    }
    expect(asked().filter((each) => each === 'GET blob')).toHaveLength(1)
  })

  it('that is something else is refused', async () => {
    const bytes = someBytes(3000)
    const blob = await pushBlob(mirror.hub.client, 'library/alpine', bytes, sha512(bytes))
    mirror.hub.proxy.corrupt('blob', { at: 2999 })
    // Whether it began before the last byte was there, or not: it is not taken for the blob.
    const received = await get('docker.io/alpine', `blobs/${blob}`).then(
      ({ body }) => body.length,
      () => 0,
    )
    expect(received).not.toBe(bytes.length)
    expect((await get('docker.io/alpine', `blobs/${blob}`)).body).toEqual(bytes)
  })
})
