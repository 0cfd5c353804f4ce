import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { dropExpiredUploads } from '../../registry/expired-uploads.ts'
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
import { until } from '../durability/support/workspace.ts'
import { RawConnection } from '../support/raw-http.ts'
import { describeWithS3 } from '../support/s3.ts'
import type { S3Proxy } from '../support/s3-proxy.ts'
import { openFleet } from './fleet.ts'
import { runOverProxy } from './proxied.ts'

const MIB = 2 ** 20
const EVER = { times: Number.POSITIVE_INFINITY }
const REPOSITORY = 'waiting/here'

describeWithS3('while the object storage lets somebody wait', () => {
  let proxied: Awaited<ReturnType<typeof runOverProxy>>
  let proxy: S3Proxy
  let client: Client
  beforeEach(async () => {
    proxied = await runOverProxy({ sockets: 2, connectSeconds: 1, idleSeconds: 20 })
    ;({ proxy, client } = proxied)
  })
  afterEach(() => proxied.close())

  const pull = async (digest: string) => {
    const connection = await RawConnection.open(client.host)
    await connection.begin('GET', `/v2/${REPOSITORY}/blobs/${digest}`)
    return connection
  }

  it('slow downloads keep no other from the bucket', async () => {
    const bytes = someBytes(32 * MIB)
    const digest = await pushBlob(client, REPOSITORY, bytes)
    const slow = Array.from({ length: 8 }, () => pullWithoutReading(client.host, digest))
    await until('all have begun', () => proxy.count('GetObject') === slow.length)
    await sleep(1500) // longer than a connection may take
    await expectBlob(client, REPOSITORY, bytes, digest)
    expectStatus(await client.get('/readyz'), 200)
    for (const socket of slow) socket.destroy()
  })

  it('more uploads than there are connections wait for their turn', async () => {
    proxy.delay('PutObject', { firstByteMs: 700, ...EVER })
    const blobs = Array.from({ length: 10 }, () => someBytes(1000))
    await Promise.all(blobs.map((bytes) => pushBlob(client, REPOSITORY, bytes)))
    expect(proxy.count('PutObject')).toBe(blobs.length)
  })

  it('a client that leaves takes its request with it', async () => {
    const digest = await pushBlob(client, REPOSITORY, someBytes(1000))
    const hanging = proxy.hang('GetObject', EVER)
    const waiting = await Promise.all(Array.from({ length: 5 }, () => pull(digest)))
    await until('all are asked for', () => hanging.hits === waiting.length)
    const { storage } = proxied.running.registry
    expect(await storage.openHandles()).toBe(5)
    await Promise.all(waiting.map((connection) => connection.reset()))
    await until('nothing is waited for', async () => (await storage.openHandles()) === 0, 3000)
  })

  it('a newer request for an upload does not wait for the older one', async () => {
    const bytes = someBytes(1000)
    const location = await startUpload(client, REPOSITORY)
    const hanging = proxy.hang('PutObject')
    const older = client.send('PATCH', location, { body: bytes })
    await until('the older one hangs', () => hanging.hits === 1)
    const startedAt = performance.now()
    const put = await client.send('PUT', `${location}?digest=${sha256(bytes)}`, { body: bytes })
    expectStatus(put, 201)
    expect(performance.now() - startedAt).toBeLessThan(5000)
    expectStatus(await older, 409)
    await expectBlob(client, REPOSITORY, bytes)
  })

  describe('and an upload comes to an end', () => {
    it('one that cannot go on is unknown from then on', async () => {
      const bytes = someBytes(7 * MIB)
      const location = await startUpload(client, REPOSITORY)
      expectStatus(await sendChunk(client, location, bytes, [0, bytes.length - 1]), 202)
      for (const multipart of await proxied.s3.objects.listMultiparts('')) {
        await proxied.s3.objects.abortMultipart(multipart)
      }
      const put = `${location}?digest=${sha256(bytes)}`
      expectStatus(await client.send('PUT', put), 404)
      expectStatus(await client.get(location), 404)
    })

    it('what is superfluous and cannot be removed at once is removed later', async () => {
      const bytes = someBytes(1000)
      await pushBlob(client, REPOSITORY, bytes)
      const fault = proxy.answer('DeleteObject', { status: 503, code: 'SlowDown', ...EVER })
      await pushBlob(client, 'waiting/there', bytes)
      expect((await proxied.s3.contents()).objects).toHaveLength(2)
      fault.clear()
      const { registry } = proxied.running.registry
      expect(await dropExpiredUploads(registry)).toBe(1)
      expect((await proxied.s3.contents()).objects).toHaveLength(1)
      await expectBlob(client, 'waiting/there', bytes)
    })
  })

  it('a push after a range of which the answer was lost goes on', async () => {
    const bytes = someBytes(9 * MIB)
    const location = await startUpload(client, REPOSITORY)
    const first = await sendChunk(client, location, bytes, [0, 6 * MIB - 1])
    expectStatus(first, 202)
    const again = await sendChunk(client, locationOf(first), bytes, [0, 6 * MIB - 1])
    expectStatus(again, 416)
    expect(again.headers['range']).toBe(`0-${6 * MIB - 1}`)
    expectStatus(await sendChunk(client, location, bytes, [6 * MIB, 9 * MIB - 1]), 202)
    expectStatus(await client.send('PUT', `${location}?digest=${sha256(bytes)}`), 201)
    await expectBlob(client, REPOSITORY, bytes)
  })
})

/** Asks for a blob and takes no byte of it beyond what the system buffers. */
function pullWithoutReading(host: string, digest: string): Socket {
  const [address, port] = host.split(':')
  const socket = connect({ host: address, port: Number(port) }).pause()
  socket.write(`GET /v2/${REPOSITORY}/blobs/${digest} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  return socket
}

describeWithS3('a replica that is told to stop while the object storage hangs', () => {
  it('ends when its time is over', async () => {
    const fleet = await openFleet()
    try {
      const replica = await fleet.start({ 'limits.drainSeconds': '1' })
      const session = (
        await fetch(`http://${replica.host}/v2/stop/blobs/uploads/`, { method: 'POST' })
      ).headers.get('location')
      const hanging = fleet.s3.hang(() => true, EVER)
      const sending = fetch(`http://${replica.host}${session}`, {
        method: 'PATCH',
        body: someBytes(40 * MIB),
      }).catch((error: unknown) => error)
      await until('parts are on their way', () => hanging.hits > 0)
      const startedAt = performance.now()
      expect((await replica.stop()).code).toBe(0)
      expect(performance.now() - startedAt).toBeLessThan(10_000)
      await sending
    } finally {
      await fleet.workspace.close()
    }
  })
})
