import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import {
  type Client,
  expectBlob,
  expectStatus,
  locationOf,
  pushBlob,
  sendChunk,
  sha256,
  someBytes,
  startUpload,
} from '../acceptance/client.ts'
import { describeWithS3 } from '../support/s3.ts'
import type { S3Proxy } from '../support/s3-proxy.ts'
import { runOverProxy } from './proxied.ts'

const MIB = 2 ** 20

const descriptor = (digest: string) => ({ mediaType: 'x/y', digest, size: 1 })

describeWithS3('requests to the object storage', () => {
  let close: () => Promise<void>
  let proxy: S3Proxy
  let client: Client
  beforeAll(async () => ({ close, proxy, client } = await runOverProxy()))
  afterAll(() => close())
  beforeEach(() => proxy.reset())

  const operations = () => proxy.requests.map(({ operation }) => operation)

  /** As Docker does it: the bytes by one PATCH of unknown length, and then an empty PUT. */
  async function pushLikeDocker(repository: string, bytes: Buffer): Promise<string> {
    const location = await startUpload(client, repository)
    const headers = { 'Transfer-Encoding': 'chunked' }
    const patched = await client.send('PATCH', location, { headers, body: bytes })
    expectStatus(patched, 202)
    const digest = sha256(bytes)
    expectStatus(await client.send('PUT', `${locationOf(patched)}?digest=${digest}`), 201)
    return digest
  }

  it.each([0, 10 * 1024, 16 * MIB])('are one for a new blob of %i bytes', async (size) => {
    const bytes = someBytes(size)
    await (size === 0
      ? pushBlob(client, 'requests/small', bytes)
      : pushLikeDocker('requests/small', bytes))
    expect(operations()).toEqual(['PutObject'])
    expect(proxy.bytesStored).toBe(size)
    await pushBlob(client, 'requests/small', someBytes(size + 1))
    expect(proxy.count()).toBe(size === 16 * MIB ? 1 + 4 : 2)
  })

  it('are the parts and two for a large blob, whose bytes are written once', async () => {
    const bytes = someBytes(100 * MIB + 5)
    const digest = await pushLikeDocker('requests/large', bytes)
    expect(proxy.count('UploadPart')).toBe(7)
    expect(proxy.count()).toBe(7 + 2)
    expect(proxy.bytesStored).toBe(bytes.length)
    proxy.reset()
    await expectBlob(client, 'requests/large', bytes, digest)
    expect(operations()).toEqual(['GetObject'])
  })

  it('are few for a blob in chunks, whose bytes are written once', async () => {
    const bytes = someBytes(12 * MIB + 77)
    let location = await startUpload(client, 'requests/chunks')
    for (let at = 0; at < bytes.length; at += MIB) {
      const last = Math.min(at + MIB, bytes.length) - 1
      const answer = await sendChunk(client, location, bytes, [at, last])
      expectStatus(answer, 202)
      location = locationOf(answer)
    }
    const digest = sha256(bytes)
    expectStatus(await client.send('PUT', `${location}?digest=${digest}`), 201)
    expect(proxy.count('UploadPart')).toBe(3)
    expect(proxy.count()).toBe(3 + 2)
    expect(proxy.bytesStored).toBe(bytes.length)
    await expectBlob(client, 'requests/chunks', bytes, digest)
  })

  it('are at most twelve for an image of seven blobs, and none for its manifest', async () => {
    const layers = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        pushLikeDocker('requests/image', someBytes(1000 + index)),
      ),
    )
    const config = await pushLikeDocker('requests/image', someBytes(500))
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: descriptor(config),
      layers: layers.map(descriptor),
    })
    const type = 'application/vnd.oci.image.manifest.v1+json'
    const put = { headers: { 'Content-Type': type }, body: manifest }
    expectStatus(await client.send('PUT', '/v2/requests/image/manifests/v1', put), 201)
    expect(proxy.count()).toBeLessThanOrEqual(12)
    proxy.reset()
    expectStatus(await client.get('/v2/requests/image/manifests/v1', { Accept: type }), 200)
    expectStatus(await client.head(`/v2/requests/image/blobs/${config}`), 200)
    expect(operations()).toEqual([])
    await client.get(`/v2/requests/image/blobs/${config}`)
    expect(operations()).toEqual(['GetObject'])
  })

  it('are none more for a blob that another repository has, but to remove what came again', async () => {
    const bytes = someBytes(1000)
    await pushBlob(client, 'requests/first', bytes)
    proxy.reset()
    await pushBlob(client, 'requests/second', bytes)
    expect(operations()).toEqual(['PutObject', 'HeadObject', 'DeleteObject'])
  })

  it('are none for a digest that is wrong', async () => {
    const location = await startUpload(client, 'requests/wrong')
    const digest = sha256('something else')
    const answer = await client.send('PUT', `${location}?digest=${digest}`, { body: someBytes() })
    expectStatus(answer, 400)
    expect(operations()).toEqual([])
  })

  it('remove what a client gives up', async () => {
    const location = await startUpload(client, 'requests/cancelled')
    await sendChunk(client, location, someBytes(6 * MIB), [0, 6 * MIB - 1])
    expectStatus(await client.delete(location), 204)
    expect(proxy.count('AbortMultipartUpload')).toBe(1)
  })
})
