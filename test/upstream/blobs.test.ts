import type { OutgoingHttpHeaders } from 'node:http'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import type { UpstreamClient } from '../../upstream/upstream.ts'
import { connect, patiently, startServer } from './server.ts'

const BYTES = Buffer.from('0123456789')
const DIGEST = digestOf(BYTES)

async function read(client: UpstreamClient, first = 0) {
  const { sizeBytes, body } = await client.openBlob('a', DIGEST, { ...patiently(), first })
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return { sizeBytes, text: Buffer.concat(chunks).toString() }
}

describe('a blob of an upstream', () => {
  it('comes whole', async () => {
    const registry = await startServer((_, response) => response.end(BYTES))
    const client = connect(registry.origin)
    expect(await read(client)).toEqual({ sizeBytes: 10, text: '0123456789' })
    expect(registry.requests).toMatchObject([{ method: 'GET', url: `/v2/a/blobs/${DIGEST}` }])
    expect(registry.requests[0]?.headers.range).toBeUndefined()
    expect(client.condition().fetchedBytes).toBe(10)
  })

  it('may be empty', async () => {
    const registry = await startServer((_, response) =>
      response.setHeader('content-length', 0).end(),
    )
    expect(await read(connect(registry.origin))).toEqual({ sizeBytes: 0, text: '' })
  })

  it('is looked at without a byte of it', async () => {
    const registry = await startServer((_, response) =>
      response.setHeader('content-length', 10).end(BYTES),
    )
    const client = connect(registry.origin)
    expect(await client.statBlob('a', DIGEST, patiently())).toBe(10)
    expect(registry.requests).toMatchObject([{ method: 'HEAD' }])
    expect(client.condition().fetchedBytes).toBe(0)
  })

  it('comes from an offset on', async () => {
    const registry = await startServer((_, response) =>
      response.writeHead(206, { 'content-range': 'bytes 4-9/10' }).end('456789'),
    )
    const client = connect(registry.origin)
    expect(await read(client, 4)).toEqual({ sizeBytes: 10, text: '456789' })
    expect(registry.requests[0]?.headers.range).toBe('bytes=4-')
    expect(client.condition().fetchedBytes).toBe(6)
  })

  it.each([1, 4, 9, 10])('comes from offset %i on where ranges are ignored', async (first) => {
    const registry = await startServer((_, response) => {
      response.writeHead(200, { 'content-length': 10 })
      response.write('012')
      setImmediate(() => response.end('3456789'))
    })
    const client = connect(registry.origin)
    expect(await read(client, first)).toEqual({ sizeBytes: 10, text: '0123456789'.slice(first) })
    expect(client.condition().fetchedBytes).toBe(10)
  })

  it.each<[string, number, number, OutgoingHttpHeaders]>([
    ['without a length', 0, 200, { 'transfer-encoding': 'chunked' }],
    ['as a part nobody asked for', 0, 206, { 'content-range': 'bytes 0-9/10' }],
    ['as another part', 4, 206, { 'content-range': 'bytes 3-9/10' }],
    ['as too small a part', 4, 206, { 'content-range': 'bytes 4-8/10' }],
    ['as a part of an unknown whole', 4, 206, { 'content-range': 'bytes 4-9/*' }],
    ['as a part of nothing', 4, 206, { 'content-range': 'bytes 4-3/4' }],
    ['as several parts', 4, 206, { 'content-type': 'multipart/byteranges; boundary=x' }],
    [
      'as a part of another length',
      4,
      206,
      { 'content-range': 'bytes 4-9/10', 'content-length': 7 },
    ],
    ['shorter than it was', 14, 200, { 'content-length': 10 }],
    ['not at all, as it is shorter than it was', 14, 416, { 'content-range': 'bytes */10' }],
    ['compressed', 0, 200, { 'content-encoding': 'gzip', 'content-length': 10 }],
    ['not at all', 0, 204, {}],
  ])('that comes %s is refused', async (_, first, status, headers) => {
    const registry = await startServer((__, response) =>
      response.writeHead(status, headers).end(BYTES),
    )
    const client = connect(registry.origin, { concurrency: 1 })
    for (let count = 0; count < 2; count += 1) {
      await expect(read(client, first)).rejects.toMatchObject({ reason: 'invalid' })
    }
  })

  it('that is longer than its range is refused', async () => {
    const registry = await startServer((_, response) => {
      response.writeHead(206, { 'content-range': 'bytes 4-9/10', 'transfer-encoding': 'chunked' })
      response.end('456789!')
    })
    await expect(read(connect(registry.origin), 4)).rejects.toMatchObject({
      reason: 'invalid',
      message: 'up.test: sends more than it announced',
    })
  })

  it('that is shorter than its range broke off', async () => {
    const registry = await startServer((_, response) => {
      response.writeHead(206, { 'content-range': 'bytes 4-9/10', 'transfer-encoding': 'chunked' })
      response.end('45')
    })
    await expect(read(connect(registry.origin), 4)).rejects.toMatchObject({
      reason: 'unavailable',
      message: 'up.test: broke off after 2 of 6 bytes',
    })
  })

  it('whose connection breaks fails once its bytes were given', async () => {
    const registry = await startServer((_, response) => {
      response.writeHead(200, { 'content-length': 10 }).write('0123', () => response.destroy())
    })
    const { body } = await connect(registry.origin).openBlob('a', DIGEST, {
      ...patiently(),
      first: 0,
    })
    let text = ''
    const reading = async () => {
      for await (const chunk of body) text += Buffer.from(chunk).toString()
    }
    await expect(reading()).rejects.toMatchObject({ reason: 'unavailable' })
    expect(text).toBe('0123')
  })

  it('whose connection broke before anybody read fails as well', async () => {
    const registry = await startServer((_, response) => {
      response.writeHead(200, { 'content-length': 10 }).write('0123')
    })
    const { body } = await connect(registry.origin).openBlob('a', DIGEST, {
      ...patiently(),
      first: 0,
    })
    await registry.close()
    const reading = async () => {
      for await (const chunk of body) expect(chunk.length).toBeLessThanOrEqual(4)
    }
    await expect(reading()).rejects.toMatchObject({ reason: 'unavailable' })
  })

  it('is not fetched on when its reader leaves', async () => {
    let isClosed = false
    const registry = await startServer((_, response) => {
      response.once('close', () => {
        isClosed = true
      })
      response.writeHead(200, { 'content-length': 1000 }).write('0123')
    })
    const client = connect(registry.origin, { concurrency: 1 })
    const { body } = await client.openBlob('a', DIGEST, { ...patiently(), first: 0 })
    for await (const chunk of body) {
      expect(chunk).toHaveLength(4)
      break
    }
    await expect.poll(() => isClosed).toBe(true)
  })

  it('that is not read yet ends with the signal, and gives its slot back', async () => {
    let closed = 0
    const registry = await startServer((_, response) => {
      response.once('close', () => {
        closed += 1
      })
      response.writeHead(200, { 'content-length': 1000 }).write('0123')
    })
    const client = connect(registry.origin, { concurrency: 1 })
    const leaving = new AbortController()
    const { body } = await client.openBlob('a', DIGEST, { signal: leaving.signal, first: 0 })
    leaving.abort(new Error('left'))
    await expect.poll(() => closed).toBe(1)
    await client.openBlob('a', DIGEST, { ...patiently(), first: 0 })
    const reading = async () => {
      for await (const chunk of body) expect(chunk).toBeUndefined()
    }
    await expect(reading()).rejects.toThrow('left')
  })

  it('that is being read ends with the signal', async () => {
    const registry = await startServer((_, response) => {
      response.writeHead(200, { 'content-length': 1000 }).write('0123')
    })
    const leaving = new AbortController()
    const client = connect(registry.origin)
    const { body } = await client.openBlob('a', DIGEST, { signal: leaving.signal, first: 0 })
    const reading = async () => {
      for await (const chunk of body) {
        expect(chunk).toHaveLength(4)
        leaving.abort(new Error('left'))
      }
    }
    await expect(reading()).rejects.toThrow('left')
    expect(client.condition()).toMatchObject({ lastError: undefined, brokenUntil: undefined })
  })

  it('comes as fast as it is read', async () => {
    const sizeBytes = 64 * 1024 * 1024
    let written = 0
    const registry = await startServer((_, response) => {
      response.writeHead(200, { 'content-length': sizeBytes })
      const send = () => {
        while (written < sizeBytes) {
          written += 65_536
          if (!response.write(Buffer.alloc(65_536))) return response.once('drain', send)
        }
        return response.end()
      }
      send()
    })
    const { body } = await connect(registry.origin).openBlob('a', DIGEST, {
      ...patiently(),
      first: 0,
    })
    const reader = body[Symbol.asyncIterator]()
    await reader.next()
    // What the two ends and the kernel between them may hold is far less than the blob.
    let before = -1
    await expect.poll(() => before === (before = written), { interval: 100 }).toBe(true)
    expect(written).toBeLessThan(sizeBytes / 2)
    await reader.return?.()
  })
})
