import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { get, type IncomingMessage, request } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { ask, CUT, connect, endOf, openProxy } from './s3-proxy/fixtures.ts'
import type { S3Operation } from './s3-proxy/request.ts'
import { S3Proxy } from './s3-proxy.ts'

const MIB = 1024 * 1024

describe('an S3 proxy', () => {
  it('passes requests and answers on as they are', async () => {
    const { proxy } = await openProxy((incoming, outgoing) => {
      const { method, url, rawHeaders } = incoming
      outgoing.writeHead(207, 'Some Way', ['eTAG', '"1"', 'x-A', 'b', 'x-A', 'c'])
      void buffer(incoming).then((body) =>
        outgoing.end(JSON.stringify({ method, url, rawHeaders, body: body.toString() })),
      )
    })
    const headers = {
      Host: 's3.example',
      'X-AMZ-Date': '20250101T000000Z',
      authorization: 'AWS4-HMAC-SHA256 SignedHeaders=host',
      'Content-Length': 4,
    }
    const client = await connect(proxy)
    await client.begin('PUT', '/bucket/a%2Fb//../c+d?x-id=PutObject&=', headers)
    await client.send('body')
    const answer = await client.answer()

    expect(answer).toMatchObject({ status: 207, headers: { etag: '"1"', 'x-a': 'b, c' } })
    const seen = JSON.parse(answer.body.toString()) as Record<string, unknown>
    expect(seen).toMatchObject({
      method: 'PUT',
      url: '/bucket/a%2Fb//../c+d?x-id=PutObject&=',
      body: 'body',
    })
    const sent = Object.entries(headers).flatMap(([name, value]) => [name, String(value)])
    expect((seen['rawHeaders'] as string[]).slice(0, sent.length)).toEqual(sent)
  })

  it('keeps the connections on both sides', async () => {
    const { proxy } = await openProxy((incoming, outgoing) => {
      outgoing.end(String(incoming.socket.remotePort))
    })
    const client = await connect(proxy)
    const ports: string[] = []
    for (const key of ['a', 'b', 'c']) {
      await client.begin('GET', `/bucket/${key}`)
      ports.push((await client.answer()).body.toString())
    }
    expect(new Set(ports).size).toBe(1)
  })

  it('announces no body where there is none', async () => {
    const { proxy } = await openProxy((incoming, outgoing) => {
      outgoing.end(JSON.stringify(incoming.headers))
    })
    const client = await connect(proxy)
    await client.begin('POST', '/bucket/key?uploads')
    const { body } = await client.answer()
    expect(JSON.parse(body.toString())).toMatchObject({ 'content-length': '0' })
    expect(body.toString()).not.toContain('transfer-encoding')
  })

  it('streams 64 MiB up at the pace of the server', async () => {
    const { proxy, nextRequest } = await openProxy(() => {})
    const blocks = new Blocks(64)
    const headers = { 'Content-Length': 64 * MIB }
    const upload = request(`${proxy.endpoint}/bucket/key`, { method: 'PUT', headers })
    upload.on('error', () => {}) // told by the pipeline
    const sent = pipeline(Readable.from(blocks), upload)

    await untilStill(() => blocks.taken)
    expect(blocks.taken, 'MiB under way to a server that does not read').toBeLessThan(32)

    const received = hashOf(await nextRequest())
    await sent
    expect(await received).toBe(await hashOf(new Blocks(64)))
    expect(proxy.bytesStored).toBe(64 * MIB)
  })

  it('streams 64 MiB down at the pace of the client', async () => {
    const blocks = new Blocks(64)
    const { proxy } = await openProxy((_, outgoing) => {
      void pipeline(Readable.from(blocks), outgoing)
    })
    const [response] = (await once(get(`${proxy.endpoint}/bucket/key`), 'response')) as [
      IncomingMessage,
    ]
    await untilStill(() => blocks.taken)
    expect(blocks.taken, 'MiB under way to a client that does not read').toBeLessThan(32)

    expect(await hashOf(response)).toBe(await hashOf(new Blocks(64)))
    expect(proxy.requests[0]).toMatchObject({ responseBytes: 64 * MIB })
  })

  it('passes on the answer of a server that reads no more of the request', async () => {
    const { proxy } = await openProxy((incoming, outgoing) => {
      outgoing.writeHead(403, { 'Content-Length': 2 }).end('no', () => incoming.socket.destroy())
    })
    const client = await connect(proxy)
    await client.begin('PUT', '/bucket/key', { 'Content-Length': 8 * MIB })
    expect((await client.answer()).status).toBe(403)
    await client.send(Buffer.alloc(8 * MIB))
    await client.begin('GET', '/bucket/key')
    expect((await client.answer()).status, 'the connection can be used on').toBe(403)
  })

  it('breaks off the request of a client that leaves after an early answer', async () => {
    const { proxy, nextRequest } = await openProxy((_, outgoing) => void outgoing.end('no'))
    const client = await connect(proxy)
    await client.begin('PUT', '/bucket/key', { 'Content-Length': 1000 })
    const { socket } = await nextRequest()
    await client.answer()
    await client.close()
    await vi.waitFor(() => expect(socket.destroyed).toBe(true))
  })

  it('breaks off the request of a client that leaves', async () => {
    const { proxy, nextRequest } = await openProxy(() => {})
    const client = await connect(proxy)
    await client.begin('PUT', '/bucket/key', { 'Content-Length': 1000 })
    await client.send('some')
    const { socket } = await nextRequest()
    await vi.waitFor(() => expect(proxy.requests[0]?.requestBytes).toBe(4))
    await client.close()
    await vi.waitFor(() => expect(socket.destroyed).toBe(true))
    expect(proxy.requests[0]).toMatchObject({ status: undefined, responseBytes: 0 })
  })

  it('cuts the client off when the server goes', async () => {
    const { proxy } = await openProxy((_, outgoing) => {
      outgoing.writeHead(200, { 'Content-Length': 10 }).write('half', () => outgoing.destroy())
    })
    await expect(ask(proxy, 'GET /bucket/key')).rejects.toThrow('the connection ended after "half"')

    await proxy.stop()
    const alone = await S3Proxy.start('http://127.0.0.1:1')
    onTestFinished(() => alone.stop())
    expect(await endOf(ask(alone, 'GET /bucket/key'))).toBe(CUT)
  })
})

describe('the record of an S3 proxy', () => {
  it('has the requests in the order in which they came', async () => {
    const { proxy } = await openProxy()
    await ask(proxy, 'PUT /bucket/key', 'content')
    await ask(proxy, 'PUT /bucket/key?partNumber=1&uploadId=x', 'part')
    await ask(proxy, 'POST /bucket/key?uploadId=x', '<xml/>')
    await ask(proxy, 'GET /bucket/key')

    expect(proxy.requests.map(({ operation }) => operation)).toEqual([
      'PutObject',
      'UploadPart',
      'CompleteMultipartUpload',
      'GetObject',
    ])
    expect(proxy.requests[1]).toEqual({
      operation: 'UploadPart',
      method: 'PUT',
      path: '/bucket/key',
      query: new URLSearchParams({ partNumber: '1', uploadId: 'x' }),
      status: 200,
      requestBytes: 4,
      responseBytes: 'done: part'.length,
    })
    expect([proxy.count(), proxy.count('UploadPart'), proxy.bytesStored]).toEqual([4, 1, 11])

    proxy.reset()
    expect([proxy.count(), proxy.requests, proxy.bytesStored]).toEqual([0, [], 0])
  })

  it.each<[string, S3Operation]>([
    ['PUT /b/k', 'PutObject'],
    ['PUT /b/k/e/y?x-id=PutObject', 'PutObject'],
    ['PUT /b/k copy', 'CopyObject'],
    ['PUT /b/k?tagging', 'other'],
    ['POST /b/k?uploads', 'CreateMultipartUpload'],
    ['PUT /b/k?x-id=UploadPart&partNumber=1&uploadId=2', 'UploadPart'],
    ['PUT /b/k?partNumber=1&uploadId=2 copy', 'UploadPartCopy'],
    ['POST /b/k?uploadId=2', 'CompleteMultipartUpload'],
    ['DELETE /b/k?uploadId=2', 'AbortMultipartUpload'],
    ['GET /b/k?uploadId=2', 'ListParts'],
    ['GET /b/k?X-Amz-Signature=0&versionId=1', 'GetObject'],
    ['GET /b/k?acl', 'other'],
    ['HEAD /b/k', 'HeadObject'],
    ['DELETE /b/k', 'DeleteObject'],
    ['HEAD /b', 'HeadBucket'],
    ['HEAD /b/', 'HeadBucket'],
    ['GET /b?list-type=2&prefix=k', 'ListObjectsV2'],
    ['GET /b/?uploads&prefix=k', 'ListMultipartUploads'],
    ['GET /b?location', 'other'],
    ['POST /b?delete', 'other'],
    ['PUT /b', 'other'],
    ['GET /', 'other'],
  ])('calls %s %s', async (line, operation) => {
    const { proxy } = await openProxy()
    await ask(proxy, line, '', line.endsWith(' copy') ? { 'x-amz-copy-source': '/b/other' } : {})
    expect(proxy.requests.map((seen) => seen.operation)).toEqual([operation])
  })
})

/** A body of so many MiB, no two the same. */
class Blocks implements Iterable<Buffer> {
  readonly #count: number
  /** How many were asked for. */
  taken = 0

  constructor(count: number) {
    this.#count = count
  }

  *[Symbol.iterator]() {
    while (this.taken < this.#count) yield Buffer.alloc(MIB, this.taken++)
  }
}

async function hashOf(bytes: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of bytes) hash.update(chunk)
  return hash.digest('hex')
}

/** Waits until a number changes no more. */
async function untilStill(number: () => number): Promise<void> {
  for (let last = -1; last !== number(); ) {
    last = number()
    await sleep(200)
  }
}
