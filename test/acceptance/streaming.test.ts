import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { dropExpiredUploads } from '../../registry/expired-uploads.ts'
import { RawConnection } from '../support/raw-http.ts'
import {
  type Client,
  expectBlob,
  expectStatus,
  pushBlob,
  type RunningRegistry,
  runRegistry,
  sendChunk,
  sha256,
  sha512,
  someBytes,
  startUpload,
} from './client.ts'

const MIB = 2 ** 20

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
})
afterAll(() => running.close())

async function withConnection<T>(work: (connection: RawConnection) => Promise<T>): Promise<T> {
  const connection = await RawConnection.open(running.registry.host)
  try {
    return await work(connection)
  } finally {
    await connection.close()
  }
}

async function rangeOf(location: string): Promise<string | undefined> {
  const answer = await client.get(location)
  expectStatus(answer, 204)
  return answer.headers['range']
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

describe('case 13, in small: a streamed PATCH', () => {
  const SIZE_MIB = 384
  /** Most of it are buffers that the engine has not yet collected. */
  const BOUND_MIB = 128

  it(`takes ${SIZE_MIB} MiB of unknown length and holds a bounded part of it in memory`, async () => {
    const piece = someBytes(MIB)
    const hash = createHash('sha256')
    const location = await startUpload(client, 'case13')
    const before = process.memoryUsage().arrayBuffers
    let peak = before
    await withConnection(async (connection) => {
      const headers = { 'Transfer-Encoding': 'chunked', 'Content-Type': 'application/octet-stream' }
      await connection.begin('PATCH', location, headers)
      for (let sent = 0; sent < SIZE_MIB; sent++) {
        hash.update(piece)
        await connection.sendChunk(piece)
        peak = Math.max(peak, process.memoryUsage().arrayBuffers)
      }
      await connection.sendChunk(Buffer.alloc(0))
      const answer = await connection.answer()
      expectStatus(answer, 202)
      expect(answer.headers['range']).toBe(`0-${SIZE_MIB * MIB - 1}`)
    })
    expect(peak - before).toBeLessThan(BOUND_MIB * MIB)

    const digest = `sha256:${hash.digest('hex')}`
    expectStatus(await client.send('PUT', `${location}?digest=${digest}`), 201)
    const head = await client.head(`/v2/case13/blobs/${digest}`)
    expect(head.headers['content-length']).toBe(String(SIZE_MIB * MIB))
  })

  it('may rest between its pieces', async () => {
    const location = await startUpload(client, 'case13')
    await withConnection(async (connection) => {
      await connection.begin('PATCH', location, { 'Transfer-Encoding': 'chunked' })
      for (const piece of ['ab', 'c', 'def']) {
        await connection.sendChunk(Buffer.from(piece))
        await pause(150)
      }
      await connection.sendChunk(Buffer.alloc(0))
      const answer = await connection.answer()
      expect(answer.headers['range']).toBe('0-5')
    })
    expectStatus(await client.send('PUT', `${location}?digest=${sha256('abcdef')}`), 201)
  })
})

/** Until the server has seen the end of every connection that was adding bytes. */
function untilNobodyWrites(): Promise<void> {
  const { uploadLocks } = running.registry.registry
  return vi.waitFor(() => expect(uploadLocks.size).toBe(0), 5000)
}

describe('case 17: a connection that is cut', () => {
  const blob = someBytes(200_000)
  const cuts = [
    { way: 'close', when: 'at once', restMs: 0 },
    { way: 'close', when: 'while the bytes are being stored', restMs: 150 },
    { way: 'reset', when: 'at once', restMs: 0 },
    { way: 'reset', when: 'while the bytes are being stored', restMs: 150 },
  ] as const

  /** Sends the headers of a whole body and half of the body. */
  async function sendHalf(connection: RawConnection, method: string, target: string) {
    await connection.begin(method, target, { 'Content-Length': blob.length })
    await connection.send(blob.subarray(0, blob.length / 2))
  }

  for (const [number, { way, when, restMs }] of cuts.entries()) {
    it(`by ${way} in a PATCH, ${when}, leaves the offset as it was`, async () => {
      const location = await startUpload(client, 'case17')
      await sendChunk(client, location, blob, [0, 99])
      await withConnection(async (connection) => {
        await sendHalf(connection, 'PATCH', location)
        await pause(restMs)
        await connection[way]()
      })
      expect(await rangeOf(location)).toBe('0-99')
      await untilNobodyWrites()
      expect(await rangeOf(location)).toBe('0-99')
      expectStatus(await sendChunk(client, location, blob, [100, blob.length - 1]), 202)
      expectStatus(await client.send('PUT', `${location}?digest=${sha256(blob)}`), 201)
      await expectBlob(client, 'case17', blob)
    })

    it(`by ${way} in a PUT, ${when}, lets the client send the whole again`, async () => {
      const location = await startUpload(client, `case17-${number}`)
      const url = `${location}?digest=${sha256(blob)}`
      await withConnection(async (connection) => {
        await sendHalf(connection, 'PUT', url)
        await pause(restMs)
        await connection[way]()
      })
      expect(await rangeOf(location)).toMatch(/^0-(?:0|-1)$/)
      expectStatus(await client.send('PUT', url, { body: blob }), 201)
      await expectBlob(client, `case17-${number}`, blob)
    })
  }

  it('in the middle of a chunked body is no end of the body', async () => {
    const location = await startUpload(client, 'case17-chunked')
    await withConnection(async (connection) => {
      await connection.begin('PATCH', location, { 'Transfer-Encoding': 'chunked' })
      await connection.sendChunk(blob)
      await pause(150)
      await connection.close()
    })
    await untilNobodyWrites()
    expect(await rangeOf(location)).toMatch(/^0-(?:0|-1)$/)
  })

  it('without the server knowing does not keep the next request waiting', async () => {
    const location = await startUpload(client, 'case17-stalled')
    const url = `${location}?digest=${sha256(blob)}`
    const { uploadLocks } = running.registry.registry
    await untilNobodyWrites()
    await withConnection(async (stalled) => {
      await sendHalf(stalled, 'PUT', url)
      await vi.waitFor(() => expect(uploadLocks.size).toBe(1))

      expectStatus(await client.send('PUT', url, { body: blob }), 201)

      const refused = await stalled.answer()
      expect(refused.status).toBeGreaterThanOrEqual(400)
      expect(refused.headers['connection']).toBe('close')
    })
    await expectBlob(client, 'case17-stalled', blob)
  })
})

describe('a blob that comes in chunks', () => {
  const attempt = fc.record({ first: fc.nat(5000), length: fc.integer({ min: 1, max: 300 }) })
  const uploads = fc.record({
    blob: fc.uint8Array({ minLength: 1, maxLength: 4000 }),
    cuts: fc.array(fc.nat(4000), { maxLength: 6 }),
    wrong: fc.array(fc.array(attempt, { maxLength: 2 }), { minLength: 8, maxLength: 8 }),
    algorithm: fc.constantFrom('sha256', 'sha512'),
    inPut: fc.boolean(),
  })

  it('is the same however it is cut, and whatever is sent to a wrong offset', async () => {
    await fc.assert(
      fc.asyncProperty(uploads, async ({ blob, cuts, wrong, algorithm, inPut }) => {
        const digest = algorithm === 'sha512' ? sha512(blob) : sha256(blob)
        const inside = cuts.map((cut) => cut % blob.length).filter((cut) => cut > 0)
        const bounds = [...new Set([0, ...inside, blob.length])].toSorted((a, b) => a - b)
        const location = await startUpload(client, 'chunks')
        for (const [step, end] of bounds.slice(1).entries()) {
          const offset = bounds[step] ?? 0
          for (const { first, length } of (wrong[step] ?? []).filter((a) => a.first !== offset)) {
            const refused = await client.send('PATCH', location, {
              headers: { 'Content-Range': `${first}-${first + length - 1}` },
              body: someBytes(length),
            })
            expectStatus(refused, 416)
          }
          if (inPut && end === blob.length) break
          expectStatus(await sendChunk(client, location, blob, [offset, end - 1]), 202)
        }
        const last = inPut ? { body: blob.subarray(bounds.at(-2)) } : {}
        expectStatus(await client.send('PUT', `${location}?digest=${digest}`, last), 201)
        await expectBlob(client, 'chunks', blob, digest)
      }),
      { numRuns: 40 },
    )
  })
})

describe('an idle upload session', () => {
  it('is dropped after its time, and not while bytes come', async () => {
    const short = await runRegistry({ limits: { uploadExpirySeconds: 1 } })
    try {
      const idle = await startUpload(short.client, 'idle')
      const busy = await startUpload(short.client, 'idle')
      const connection = await RawConnection.open(short.registry.host)
      await connection.begin('PATCH', busy, { 'Transfer-Encoding': 'chunked' })
      await connection.sendChunk(Buffer.from('a'))
      await pause(1300)

      await dropExpiredUploads(short.registry.registry)

      expectStatus(await short.client.get(idle), 404)
      await connection.sendChunk(Buffer.from('b'))
      await connection.sendChunk(Buffer.alloc(0))
      expectStatus(await connection.answer(), 202)
      await connection.close()
      const url = `${busy}?digest=${sha256('ab')}`
      expectStatus(await short.client.send('PUT', url), 201)
    } finally {
      await short.close()
    }
  })
})

describe('case 22: the same blob at once', () => {
  it('by two clients, into two repositories, and by a mount is one blob in all of them', async () => {
    const blob = someBytes(3 * MIB)
    const digest = sha256(blob)
    await pushBlob(client, 'case22-source', blob)
    const other = someBytes(3 * MIB)
    const repositories = ['case22-a', 'case22-a', 'case22-b', 'case22-c']

    await Promise.all([
      ...repositories.flatMap((name) => [
        pushBlob(client, name, blob),
        pushBlob(client, name, other),
      ]),
      client
        .send('POST', `/v2/case22-d/blobs/uploads/?mount=${digest}&from=case22-source`)
        .then((answer) => expectStatus(answer, 201)),
    ])

    for (const name of repositories) {
      await expectBlob(client, name, other)
      expectStatus(await client.head(`/v2/${name}/blobs/${digest}`), 200)
    }
    await expectBlob(client, 'case22-d', blob)
  })
})
