import { setTimeout as sleep } from 'node:timers/promises'
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { ask, CUT, connect, endOf, openProxy } from './fixtures.ts'

describe('a fault of an S3 proxy', () => {
  it('cuts a request', async () => {
    const { proxy, counts, nextRequest } = await openProxy()
    const fault = proxy.cutRequest('PutObject', { afterBytes: 150_000 })
    const end = endOf(ask(proxy, 'PUT /bucket/key', 'x'.repeat(400_000)))
    const incoming = await nextRequest()
    expect(await end).toBe(CUT)
    await vi.waitFor(() => expect(incoming.destroyed).toBe(true))
    expect([counts.bytesRead, incoming.complete, fault.hits]).toEqual([150_000, false, 1])
    expect(proxy.requests[0]).toMatchObject({ status: undefined, requestBytes: 150_000 })
  })

  it('cuts a request after its head', async () => {
    const { proxy, counts, nextRequest } = await openProxy()
    proxy.cutRequest('UploadPart', { afterBytes: 0 })
    const end = endOf(ask(proxy, 'PUT /bucket/key?partNumber=1&uploadId=x', 'part'))
    const incoming = await nextRequest()
    expect(await end).toBe(CUT)
    await vi.waitFor(() => expect(incoming.destroyed).toBe(true))
    expect([counts.bytesRead, proxy.bytesStored]).toEqual([0, 0])
  })

  it.each([0, 5])('cuts an answer after %d bytes', async (afterBytes) => {
    const { proxy } = await openProxy((_, outgoing) => void outgoing.end('0123456789'))
    const fault = proxy.cutResponse('GetObject', { afterBytes })
    const response = await fetch(`${proxy.endpoint}/bucket/key`)
    expect(response.headers.get('content-length')).toBe('10')
    expect(await textBeforeCut(response)).toBe('0123456789'.slice(0, afterBytes))
    expect([fault.hits, proxy.requests[0]?.responseBytes]).toEqual([1, afterBytes])
  })

  it('answers in place of the server', async () => {
    const { proxy, counts } = await openProxy()
    proxy.answer('PutObject', { status: 503, code: 'SlowDown', retryAfter: 7 })
    const client = await connect(proxy)
    await client.begin('PUT', '/bucket/key', { 'Content-Length': 4 })
    await client.send('body')
    const { status, headers, body } = await client.answer()
    expect([status, headers['retry-after']]).toEqual([503, '7'])
    expect(body.toString()).toContain('<Error><Code>SlowDown</Code><Message>SlowDown</Message>')
    expect(proxy.requests[0]).toMatchObject({ status: 503, responseBytes: body.length })
    expect([counts.bytesRead, proxy.bytesStored]).toEqual([0, 0])

    await client.begin('HEAD', '/bucket/key')
    expect((await client.answer('HEAD')).status, 'the connection can be used on').toBe(200)
  })

  it('answers what the SDK understands', async () => {
    const { proxy } = await openProxy()
    const error = { status: 403, code: 'InvalidAccessKeyId', message: 'Who & <you>?' }
    proxy.answer('PutObject', error)
    const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' }
    const { endpoint } = proxy
    const client = new S3Client({ endpoint, region: 'none', credentials, forcePathStyle: true })
    onTestFinished(() => client.destroy())
    const put = new PutObjectCommand({
      Bucket: 'bucket',
      Key: 'key',
      Body: Buffer.alloc(8_000_000),
    })
    await expect(client.send(put)).rejects.toMatchObject({
      name: 'InvalidAccessKeyId',
      message: 'Who & <you>?',
      $metadata: { httpStatusCode: 403 },
    })
  })

  it('delays an answer', async () => {
    const { proxy } = await openProxy()
    proxy.delay('GetObject', { firstByteMs: 150 })
    const started = performance.now()
    const answered = ask(proxy, 'GET /bucket/key')
    await vi.waitFor(() => expect(proxy.requests[0]?.status, 'the server has answered').toBe(200))
    expect((await answered).status).toBe(200)
    expect(performance.now() - started).toBeGreaterThan(149)
  })

  it('loses an answer when all is done', async () => {
    const { proxy, counts } = await openProxy()
    const fault = proxy.loseAnswer('CompleteMultipartUpload')
    const lost = ask(proxy, 'POST /bucket/key?uploadId=x', '<parts/>')
    expect(await endOf(lost)).toBe(CUT)
    expect([counts.bytesRead, counts.answers, fault.hits]).toEqual([8, 1, 1])
    expect(proxy.requests[0]).toMatchObject({ status: 200, responseBytes: 0 })
  })

  it('hangs, and goes on when it is cleared', async () => {
    const { proxy, counts } = await openProxy()
    const fault = proxy.hang('PutObject', { times: 2 })
    const answered = ask(proxy, 'PUT /bucket/key', 'body')
    const impatient = await connect(proxy)
    await impatient.begin('PUT', '/bucket/key', { 'Content-Length': 0 })
    await vi.waitFor(() => expect(fault.hits).toBe(2))
    await impatient.close()
    await sleep(100) // until that is seen
    expect((await ask(proxy, 'GET /bucket/key')).status, 'others pass').toBe(200)
    expect(counts.answers).toBe(1)

    fault.clear()
    expect((await answered).body.toString()).toBe('done: body')
    expect(counts.answers).toBe(2)
  })

  it('ends what hangs when the proxy stops', async () => {
    const { proxy, counts } = await openProxy()
    const fault = proxy.hang('GetObject')
    const end = endOf(ask(proxy, 'GET /bucket/key'))
    await vi.waitFor(() => expect(fault.hits).toBe(1))
    await proxy.stop()
    expect(await end).toBe(CUT)
    fault.clear()
    await sleep(20)
    expect(counts.answers).toBe(0)
  })

  it('is an outage, until it is restored on the same port', async () => {
    const { proxy, nextRequest } = await openProxy(() => {})
    const { endpoint } = proxy
    const idle = await connect(proxy)
    const end = endOf(ask(proxy, 'GET /bucket/key'))
    const { socket } = await nextRequest()
    await proxy.outage()
    expect(await end).toBe(CUT)
    await idle.untilEnded()
    await vi.waitFor(() => expect(socket.destroyed).toBe(true))
    await expect(connect(proxy)).rejects.toThrow('ECONNREFUSED')

    await proxy.restore()
    expect(proxy.endpoint).toBe(endpoint)
    proxy.answer('GetObject', { status: 500, code: 'InternalError' })
    expect((await ask(proxy, 'GET /bucket/key')).status).toBe(500)
  })

  it('hits as many requests as it is told, of those that match', async () => {
    const { proxy } = await openProxy()
    const first = proxy.answer('GetObject', { status: 500, code: 'InternalError' })
    const second = proxy.answer(({ path }) => path === '/bucket/b', {
      status: 503,
      code: 'SlowDown',
      times: Number.POSITIVE_INFINITY,
    })
    const statuses: number[] = []
    for (const key of ['b', 'b', 'a', 'b']) {
      statuses.push((await ask(proxy, `GET /bucket/${key}`)).status)
    }
    expect(statuses).toEqual([500, 503, 200, 503])
    expect([first.hits, second.hits]).toEqual([1, 2])

    second.clear()
    expect((await ask(proxy, 'GET /bucket/b')).status).toBe(200)
    expect(second.hits).toBe(2)
  })
})

/** @throws Error when the body comes to its proper end */
async function textBeforeCut(response: Response): Promise<string> {
  let text = ''
  try {
    for await (const bytes of response.body ?? [])
      text += Buffer.from(bytes as Uint8Array).toString()
  } catch {
    return text
  }
  throw new Error(`nothing was cut: ${text}`)
}
