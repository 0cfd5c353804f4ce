import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  expectBlob,
  expectError,
  type RunningRegistry,
  runRegistry,
  sha256,
} from '../../acceptance/client.ts'
import { UpstreamProxy } from './fault-proxy.ts'
import { type PushedImage, pushRandomImage } from './images.ts'
import { pull } from './pull.ts'
import { kindOf } from './request.ts'

const SIZE = 300_000

let running: RunningRegistry
let image: PushedImage
let layer: string
let bytes: Buffer
let proxy: UpstreamProxy

beforeAll(async () => {
  running = await runRegistry()
  const url = `http://${running.registry.host}`
  image = await pushRandomImage({ url }, { repository: 'some/app', layers: [SIZE] })
  layer = `/v2/some/app/blobs/${image.layers[0]?.digest}`
  bytes = (await pull(url + layer)).body
  await expectBlob(running.client, 'some/app', bytes)
})
afterAll(() => running.close())
beforeEach(async () => {
  proxy = await UpstreamProxy.start(`http://${running.registry.host}`)
})
afterEach(() => proxy.close())

const pullLayer = (headers = {}) => pull(proxy.url + layer, headers)

describe('an upstream proxy', () => {
  it('passes all on, and notes it', async () => {
    const manifest = await pull(`${proxy.url}/v2/some/app/manifests/latest`, {
      Accept: '*/*',
      Authorization: 'Basic YTpi',
    })
    expect(manifest).toMatchObject({ status: 200, body: image.bytes })
    expect(manifest.headers['docker-content-digest']).toBe(image.digest)
    expect(sha256((await pullLayer()).body)).toBe(image.layers[0]?.digest)
    expect((await pullLayer({ Range: 'bytes=10-19' })).body).toEqual(bytes.subarray(10, 20))
    await pull(proxy.url + layer, { Authorization: 'Bearer x' }, 'HEAD')

    expect(proxy.requests()).toEqual([
      {
        kind: 'manifest',
        method: 'GET',
        path: '/v2/some/app/manifests/latest',
        range: undefined,
        authorization: 'basic',
        status: 200,
        requestBytes: 0,
        responseBytes: image.bytes.length,
      },
      expect.objectContaining({ kind: 'blob', authorization: 'none', responseBytes: SIZE }),
      expect.objectContaining({ status: 206, range: 'bytes=10-19', responseBytes: 10 }),
      expect.objectContaining({ method: 'HEAD', authorization: 'bearer', responseBytes: 0 }),
    ])
    expect(proxy.requests('blob')).toHaveLength(3)
    expect(proxy.blobBytes).toBe(SIZE + 10)
    proxy.reset()
    expect([proxy.requests(), proxy.blobBytes]).toEqual([[], 0])
  })

  it.each([
    ['/v2/', 'ping'],
    ['/token?service=a', 'token'],
    ['/v2/a/b/manifests/latest?ns=docker.io', 'manifest'],
    ['/v2/a/blobs/sha256:0', 'blob'],
    ['/registry-v2/docker/registry/v2/blobs/sha256/ab/abcdef/data?signature=1', 'blob'],
    ['/v2/a/blobs/uploads/', 'upload'],
    ['/v2/a/b/tags/list?n=1', 'tags'],
    ['/v2/a/referrers/sha256:0', 'referrers'],
    ['/v2/_catalog', 'other'],
  ])('calls %s a request of kind %s', (path, kind) => {
    expect(kindOf(path)).toBe(kind)
  })
})

describe('a fault of an upstream proxy', () => {
  it.each([0, 1, 100_000])('cuts an answer after %d bytes, which have come then', async (count) => {
    proxy.cut('blob', { afterBytes: count })
    const pulled = await pullLayer()
    expect(pulled).toMatchObject({ status: 200, isWhole: false, body: bytes.subarray(0, count) })
    expect(pulled.headers['content-length']).toBe(String(SIZE))
    expect(proxy.blobBytes).toBe(count)
    expect((await pullLayer()).isWhole, 'once').toBe(true)
  })

  it('counts the bytes of a cut from where the range begins', async () => {
    proxy.cut('blob', { afterBytes: 10 })
    const pulled = await pullLayer({ Range: 'bytes=200-' })
    expect(pulled).toMatchObject({ status: 206, isWhole: false, body: bytes.subarray(200, 210) })
  })

  it.each([
    ['close', undefined],
    ['reset', 'ECONNRESET'],
  ] as const)('cuts by %s', async (end, code) => {
    proxy.cut('blob', { afterBytes: 5, end })
    const socket = connect(Number(new URL(proxy.url).port), '127.0.0.1')
    let failure: string | undefined
    socket.on('error', (error: NodeJS.ErrnoException) => {
      failure = error.code
    })
    socket.write(`GET ${layer} HTTP/1.1\r\nHost: a\r\n\r\n`)
    socket.resume()
    await new Promise((resolve) => socket.once('close', resolve))
    expect(failure).toBe(code)
  })

  it('truncates a body, whose length tells', async () => {
    proxy.truncate('blob', { missingBytes: 7 })
    const { headers, body, isWhole } = await pullLayer()
    expect([headers['content-length'], body.length, isWhole]).toEqual([`${SIZE}`, SIZE - 7, false])
  })

  it('truncates a body, and tells a length that goes with it', async () => {
    proxy.truncate('blob', { missingBytes: 7, announced: true })
    const { headers, body, isWhole } = await pullLayer()
    expect([headers['content-length'], body.length, isWhole]).toEqual([
      `${SIZE - 7}`,
      SIZE - 7,
      true,
    ])
  })

  it('changes one byte', async () => {
    proxy.corrupt('blob', { at: 200_000 })
    const { body, isWhole } = await pullLayer()
    expect([body.length, isWhole]).toEqual([SIZE, true])
    const differing = [...body.keys()].filter((index) => body[index] !== bytes[index])
    expect(differing).toEqual([200_000])
  })

  it('does not answer where there is no byte to change, or to leave out', async () => {
    proxy.corrupt('manifest', { at: image.bytes.length })
    proxy.truncate('manifest', { missingBytes: image.bytes.length + 1 })
    for (const _ of ['corrupt', 'truncate']) {
      const pulled = pull(`${proxy.url}/v2/some/app/manifests/latest`)
      await expect(pulled).rejects.toMatchObject({ code: 'ECONNRESET' })
    }
  })

  it.each([
    [401, 'UNAUTHORIZED'],
    [403, 'DENIED'],
    [404, 'NAME_UNKNOWN'],
    [429, 'TOOMANYREQUESTS'],
    [500, 'UNKNOWN'],
    [503, 'UNAVAILABLE'],
  ])('answers %d in the words of the spec', async (status, code) => {
    proxy.answer('manifest', { status, message: 'so it is', retryAfter: 7 })
    const answer = await pull(`${proxy.url}/v2/some/app/manifests/latest`)
    expectError(answer, status, code)
    expect(answer.headers['retry-after']).toBe('7')
    expect(answer.body.toString()).toContain('"message":"so it is"')
  })

  it('answers with whatever headers and body', async () => {
    const headers = { 'Content-Type': 'text/html', Location: 'http://10.0.0.1/' }
    proxy.answer('ping', { status: 302, headers, body: '<h1>Sign in</h1>' })
    const answer = await pull(`${proxy.url}/v2/`)
    expect(answer).toMatchObject({ status: 302, body: Buffer.from('<h1>Sign in</h1>') })
    expect(answer.headers).toMatchObject({
      location: 'http://10.0.0.1/',
      'content-type': 'text/html',
    })
  })

  it('hangs before the headers, until it is cleared', async () => {
    const fault = proxy.hang('blob')
    const pulled = pullLayer()
    await vi.waitFor(() => expect(fault.hits).toBe(1))
    await pull(`${proxy.url}/v2/`)
    expect(proxy.requests('blob')[0]).toMatchObject({ status: undefined, responseBytes: 0 })
    fault.clear()
    expect((await pulled).body.equals(bytes)).toBe(true)
  })

  it.each([0, 1000, 150_000])('stalls after %d bytes, until it is cleared', async (afterBytes) => {
    const fault = proxy.stall('blob', { afterBytes })
    const [answer] = (await once(get(proxy.url + layer), 'response')) as [IncomingMessage]
    let came = 0
    answer.on('data', (piece: Buffer) => {
      came += piece.length
    })
    await vi.waitFor(() => expect(came).toBe(afterBytes))
    await pull(`${proxy.url}/v2/`)
    expect([came, proxy.blobBytes]).toEqual([afterBytes, afterBytes])
    fault.clear()
    await once(answer, 'end')
    expect(came).toBe(SIZE)
  })

  it('holds an answer back', async () => {
    proxy.delay('blob', { firstByteMs: 200 })
    const asked = get(proxy.url + layer)
    let began = false
    const answered = once(asked, 'response').finally(() => {
      began = true
    })
    await vi.waitFor(() => expect(proxy.requests('blob')[0]?.status).toBe(200))
    expect(began).toBe(false)
    const [answer] = (await answered) as [IncomingMessage]
    expect((await buffer(answer)).equals(bytes)).toBe(true)
  })

  it('slows a body down, and can cut it besides', async () => {
    const throttle = proxy.throttle('blob', { bytesPerSecond: 10_000 })
    const [answer] = (await once(get(proxy.url + layer), 'response')) as [IncomingMessage]
    await once(answer, 'data')
    expect(proxy.blobBytes).toBeLessThan(SIZE / 10)
    answer.destroy()
    expect(throttle.hits).toBe(1)

    proxy.throttle('blob', { bytesPerSecond: 1_000_000, times: 2 })
    expect((await pullLayer()).body.equals(bytes)).toBe(true)
    proxy.cut('blob', { afterBytes: 100_000 })
    expect(await pullLayer()).toMatchObject({ isWhole: false, body: bytes.subarray(0, 100_000) })
  })

  it('takes headers away', async () => {
    const headers = { 'content-length': undefined, 'Docker-Content-Digest': undefined, 'X-A': 'b' }
    proxy.changeHeaders('blob', { headers, times: 2 })
    const whole = await pullLayer()
    expect(whole.body.equals(bytes)).toBe(true)
    expect(whole.headers).toMatchObject({ 'transfer-encoding': 'chunked', 'x-a': 'b' })
    expect(whole.headers).not.toHaveProperty('content-length')
    expect(whole.headers).not.toHaveProperty('docker-content-digest')
    expect((await pull(proxy.url + layer, {}, 'HEAD')).headers).not.toHaveProperty('content-length')
    expect((await pullLayer()).headers).toHaveProperty('docker-content-digest')
  })

  it('ignores a range', async () => {
    proxy.ignoreRange('blob')
    const pulled = await pullLayer({ Range: 'bytes=100-' })
    expect([pulled.status, pulled.body.equals(bytes)]).toEqual([200, true])
    expect(proxy.requests('blob')[0]?.range).toBe('bytes=100-')
  })

  it('refuses connections, until it is restored on the same port', async () => {
    const { url } = proxy
    const fault = proxy.stall('blob', { afterBytes: 10 })
    const broken = pullLayer()
    await vi.waitFor(() => expect(proxy.blobBytes).toBe(10))
    await proxy.stop()
    expect(await broken).toMatchObject({ isWhole: false, body: bytes.subarray(0, 10) })
    await expect(pull(url + layer)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await proxy.restore()
    expect(proxy.url).toBe(url)
    expect((await pullLayer()).isWhole).toBe(true)
    expect(fault.hits).toBe(1)
  })

  it('hits what is described, as often as it is told; HEAD has no body to fail', async () => {
    const other = `/v2/some/app/blobs/${image.configs[0]?.digest}`
    const cut = proxy.cut('blob', { afterBytes: 1 })
    const refused = proxy.answer(
      { kind: 'blob', method: 'GET', path: image.configs[0]?.digest ?? '' },
      { status: 500, times: 2 },
    )
    expect((await pull(proxy.url + layer, {}, 'HEAD')).status).toBe(200)
    expect(cut.hits).toBe(0)
    expect(await pullLayer()).toMatchObject({ status: 200, isWhole: false })
    const statuses = []
    for (const path of [layer, other, other, other]) {
      statuses.push((await pull(proxy.url + path)).status)
    }
    expect(statuses).toEqual([200, 500, 500, 200])
    expect([cut.hits, refused.hits]).toEqual([1, 2])

    const all = proxy.answer(({ path }) => path === layer, { status: 503, times: Infinity })
    expect([(await pullLayer()).status, (await pullLayer()).status]).toEqual([503, 503])
    all.clear()
    expect((await pullLayer()).status).toBe(200)
  })
})
