import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RawConnection } from '../support/raw-http.ts'
import {
  type Client,
  expectBlob,
  expectError,
  expectStatus,
  type RunningRegistry,
  runRegistry,
  sendChunk,
  sha256,
  someBytes,
  startUpload,
} from './client.ts'
import { artifact, OCI_MANIFEST, pushEmpty, pushManifest } from './images.ts'

const MAX_BYTES = 100_000

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry({ limits: { uploadBytes: MAX_BYTES } })
  client = running.client
  await pushEmpty(client, 'm')
})
afterAll(() => running.close())

describe('a blob of more bytes than the registry takes', () => {
  const largest = someBytes(MAX_BYTES)
  const larger = someBytes(MAX_BYTES + 1)

  it('is 413, and one of exactly as many is taken', async () => {
    const location = await startUpload(client, 'limits')
    const url = (blob: Buffer) => `${location}?digest=${sha256(blob)}`
    expectError(await client.send('PUT', url(larger), { body: larger }), 413, 'SIZE_INVALID')
    expectStatus(await client.head(`/v2/limits/blobs/${sha256(larger)}`), 404)
    expectStatus(await client.send('PUT', url(largest), { body: largest }), 201)
    await expectBlob(client, 'limits', largest)
  })

  it('is 413 with the chunk that is too much, and the session stays as it was', async () => {
    const location = await startUpload(client, 'limits')
    expectStatus(await sendChunk(client, location, larger, [0, 9]), 202)
    const refused = await sendChunk(client, location, larger, [10, MAX_BYTES])
    expectError(refused, 413, 'SIZE_INVALID')
    expect((await client.get(location)).headers['range']).toBe('0-9')
    expectStatus(await sendChunk(client, location, larger, [10, MAX_BYTES - 1]), 202)
    const whole = sha256(larger.subarray(0, MAX_BYTES))
    expectStatus(await client.send('PUT', `${location}?digest=${whole}`), 201)
  })

  it('is 413 while it is still being sent, when its length was not announced', async () => {
    const location = await startUpload(client, 'limits')
    const connection = await RawConnection.open(running.registry.host)
    await connection.begin('PATCH', location, { 'Transfer-Encoding': 'chunked' })
    for (let sent = 0; sent <= MAX_BYTES; sent += 50_000) {
      await connection.sendChunk(larger.subarray(0, 50_000))
    }
    const answer = await connection.answer()
    expectError(answer, 413, 'SIZE_INVALID')
    expect(answer.headers['connection']).toBe('close')
    await connection.untilEnded()
    await connection.close()
    expect((await client.get(location)).headers['range']).toMatch(/^0-(?:0|-1)$/)
  })

  it('is 413 in a single POST', async () => {
    const url = `/v2/limits/blobs/uploads/?digest=${sha256(larger)}`
    expectError(await client.send('POST', url, { body: larger }), 413, 'SIZE_INVALID')
  })
})

describe('a manifest whose connection is cut', () => {
  for (const way of ['close', 'reset'] as const) {
    it(`by ${way} moves no tag`, async () => {
      const [before, after] = [artifact(), artifact()]
      await pushManifest(client, 'm', 'cut', before)
      const connection = await RawConnection.open(running.registry.host)
      await connection.begin('PUT', '/v2/m/manifests/cut', {
        'Content-Type': OCI_MANIFEST,
        'Content-Length': after.bytes.length + 1,
      })
      await connection.send(after.bytes) // all of it but a white space
      await pause(50)
      await connection[way]()
      await pause(50)

      const { headers } = await client.get('/v2/m/manifests/cut')
      expect(headers['docker-content-digest']).toBe(before.digest)
      expectStatus(await client.get(`/v2/m/manifests/${after.digest}`), 404)
    })
  }
})

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
