import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { dropExpiredUploads } from '../../registry/expired-uploads.ts'
import {
  type Answer,
  type Client,
  expectBlob,
  expectError,
  expectStatus,
  locationOf,
  pushBlob,
  sendChunk,
  sha256,
  someBytes,
  startUpload,
} from '../acceptance/client.ts'
import { RawConnection } from '../support/raw-http.ts'
import { describeWithS3 } from '../support/s3.ts'
import type { S3Proxy } from '../support/s3-proxy.ts'
import { runOverProxy } from './proxied.ts'

const MIB = 2 ** 20
const EVER = { times: Number.POSITIVE_INFINITY }
const REPOSITORY = 'faults/here'

function expectUnavailable(answer: Answer): void {
  expectError(answer, 503, 'UNAVAILABLE')
  expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
}

describeWithS3('an object storage that fails', () => {
  let proxied: Awaited<ReturnType<typeof runOverProxy>>
  let proxy: S3Proxy
  let client: Client
  beforeEach(async () => {
    proxied = await runOverProxy({ attempts: 3, idleSeconds: 1 })
    ;({ proxy, client } = proxied)
  })
  afterEach(() => proxied.close())

  const contents = () => proxied.s3.contents()

  async function patch(location: string, bytes: Buffer): Promise<Answer> {
    const headers = { 'Transfer-Encoding': 'chunked' }
    return client.send('PATCH', location, { headers, body: bytes })
  }

  /** By one PATCH and an empty PUT, as Docker does. */
  async function push(bytes: Buffer): Promise<string> {
    const patched = await patch(await startUpload(client, REPOSITORY), bytes)
    expectStatus(patched, 202)
    const digest = sha256(bytes)
    expectStatus(await client.send('PUT', `${locationOf(patched)}?digest=${digest}`), 201)
    return digest
  }

  async function expectOneObject(): Promise<void> {
    const { objects, multiparts } = await contents()
    expect(objects).toHaveLength(1)
    expect(multiparts).toEqual([])
  }

  describe('for a moment is not noticed by a client', () => {
    const bytes = someBytes(40 * MIB)
    const moments: [string, (during: S3Proxy) => unknown][] = [
      ['a part is cut off', (during) => during.cutRequest('UploadPart', { afterBytes: 5 * MIB })],
      ['the answer to a part is lost', (during) => during.loseAnswer('UploadPart', { times: 2 })],
      ['requests are too many', (during) => during.answer(() => true, slowDown(2))],
      ['a part is never answered', (during) => during.hang('UploadPart')],
      ['the answer to the end is lost', (during) => during.loseAnswer('CompleteMultipartUpload')],
      [
        'the end is carried out and never answered',
        (during) => during.delay('CompleteMultipartUpload', { firstByteMs: 60_000 }),
      ],
    ]

    it.each(moments)('when %s', async (_what, begin) => {
      begin(proxy)
      const digest = await push(bytes)
      await expectBlob(client, REPOSITORY, bytes, digest)
      await expectOneObject()
    })

    it('when the answer to a small blob is lost', async () => {
      proxy.loseAnswer('PutObject')
      const small = someBytes(1000)
      await expectBlob(client, REPOSITORY, small, await push(small))
      await expectOneObject()
    })

    it('when the first byte of a download is late, or the rest never comes', async () => {
      const digest = await push(bytes)
      proxy.delay('GetObject', { firstByteMs: 3000 })
      await expectBlob(client, REPOSITORY, bytes, digest)
      proxy.reset()
      proxy.cutResponse('GetObject', { afterBytes: 7 * MIB, times: 3 })
      await expectBlob(client, REPOSITORY, bytes, digest)
      expect(proxy.count('GetObject')).toBe(4)
    })
  })

  describe('is told to the client, who may try again', () => {
    const outages: [string, (during: S3Proxy) => unknown][] = [
      [
        'refuses the credentials',
        (during) => during.answer(() => true, refusal('InvalidAccessKeyId', 403)),
      ],
      ['has no such bucket', (during) => during.answer(() => true, refusal('NoSuchBucket', 404))],
      ['is overloaded', (during) => during.answer(() => true, slowDown(EVER.times))],
      ['does not answer', (during) => during.hang(() => true, EVER)],
    ]

    it.each(outages)('when it %s', async (_what, begin) => {
      const kept = someBytes(1000)
      const digest = await push(kept)
      const location = await startUpload(client, REPOSITORY)
      const bytes = someBytes(20 * MIB)
      const fault = begin(proxy) as { clear(): void }

      expectUnavailable(await patch(location, bytes))
      expectUnavailable(await client.get(`/v2/${REPOSITORY}/blobs/${digest}`))
      expectStatus(await client.head(`/v2/${REPOSITORY}/blobs/${digest}`), 200)
      expectStatus(await client.get('/readyz'), 503)

      fault.clear()
      const ready = async () => (await client.get('/readyz')).status
      await expect.poll(ready, { timeout: 10_000 }).toBe(200)
      await expectBlob(client, REPOSITORY, kept, digest)
      expectStatus(await patch(location, bytes), 202)
      const put = await client.send('PUT', `${location}?digest=${sha256(bytes)}`)
      expectStatus(put, 201)
      await expectBlob(client, REPOSITORY, bytes)
      expect((await contents()).objects).toHaveLength(2)
    })

    it('when it is gone in the middle of a chunk, which can be sent again', async () => {
      const bytes = someBytes(30 * MIB)
      let location = await startUpload(client, REPOSITORY)
      location = locationOf(await sendChunk(client, location, bytes, [0, 7 * MIB - 1]))
      const rest = [7 * MIB, bytes.length - 1] as const
      const fault = proxy.cutRequest('UploadPart', { afterBytes: 1000, ...EVER })
      expectUnavailable(await sendChunk(client, location, bytes, rest))
      await proxy.outage()
      expectUnavailable(await sendChunk(client, location, bytes, rest))
      const status = await client.get(location)
      expect(status.headers['range']).toBe(`0-${7 * MIB - 1}`)

      fault.clear()
      await proxy.restore()
      expectStatus(await sendChunk(client, location, bytes, rest), 202)
      const put = await client.send('PUT', `${location}?digest=${sha256(bytes)}`)
      expectStatus(put, 201)
      await expectBlob(client, REPOSITORY, bytes)
      await expectOneObject()
    })

    it('when the end of an upload is carried out and none of its answers arrive', async () => {
      const bytes = someBytes(20 * MIB)
      const location = await startUpload(client, REPOSITORY)
      await sendChunk(client, location, bytes, [0, bytes.length - 1])
      const url = `${location}?digest=${sha256(bytes)}`
      const lost = proxy.loseAnswer(
        ({ operation }) => operation === 'CompleteMultipartUpload' || operation === 'HeadObject',
        EVER,
      )
      expectUnavailable(await client.send('PUT', url))
      expect((await contents()).objects).toHaveLength(1) // it was carried out
      lost.clear()
      expectStatus(await client.send('PUT', url), 201)
      await expectBlob(client, REPOSITORY, bytes)
      await expectOneObject()
    })
  })

  describe('leaves nothing behind', () => {
    it('of a client that leaves in the middle of a blob', async () => {
      const location = await startUpload(client, REPOSITORY)
      const connection = await RawConnection.open(client.host)
      await connection.begin('PATCH', location, { 'Transfer-Encoding': 'chunked' })
      for (let chunks = 0; chunks < 40; chunks++) await connection.sendChunk(someBytes(MIB))
      await expect.poll(async () => (await contents()).multiparts.length).toBe(1)
      await connection.reset()
      await expect.poll(contents).toEqual({ objects: [], multiparts: [] })
    })

    it('when it could not be cleaned up at once, after the upload has ended', async () => {
      const location = await startUpload(client, REPOSITORY)
      const fault = proxy.answer(
        ({ operation }) =>
          operation === 'CompleteMultipartUpload' ||
          operation === 'AbortMultipartUpload' ||
          operation === 'HeadObject' ||
          operation === 'DeleteObject',
        slowDown(EVER.times),
      )
      expectUnavailable(await patch(location, someBytes(20 * MIB)))
      expect((await contents()).multiparts).toHaveLength(1)
      fault.clear()
      const bytes = someBytes(100)
      expectStatus(await patch(location, bytes), 202)
      expectStatus(await client.send('PUT', `${location}?digest=${sha256(bytes)}`), 201)
      await expectOneObject()
      await expectBlob(client, REPOSITORY, bytes)
    })

    it('of a session that nobody goes on with', async () => {
      const bytes = someBytes(20 * MIB)
      for (const finish of [true, false]) {
        const location = await startUpload(client, REPOSITORY)
        if (finish) await patch(location, bytes)
        else await sendChunk(client, location, bytes, [0, bytes.length - 1])
      }
      const { objects, multiparts } = await contents()
      expect([objects.length, multiparts.length]).toEqual([1, 1])
      const { registry } = proxied.running.registry
      await registry.db.query(`update upload_sessions set expires_at = now() - interval '1 s'`)
      expect(await dropExpiredUploads(registry)).toBe(2)
      expect(await contents()).toEqual({ objects: [], multiparts: [] })
    })

    it('of a blob that came twice at once', async () => {
      const bytes = someBytes(1000)
      await Promise.all(Array.from({ length: 10 }, () => pushBlob(client, REPOSITORY, bytes)))
      await expectOneObject()
      await expectBlob(client, REPOSITORY, bytes)
    })
  })
})

const slowDown = (times: number) => ({ status: 503, code: 'SlowDown', times })
const refusal = (code: string, status: number) => ({ status, code, ...EVER })
