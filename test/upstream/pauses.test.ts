import type { ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { parseReference } from '../../oci/reference.ts'
import type { UpstreamClient } from '../../upstream/upstream.ts'
import { answerJson, connect, listen, patiently, startServer } from './server.ts'

const LATEST = parseReference('latest')
const DIGEST = digestOf(Buffer.from('layer'))
const START = Date.parse('2026-11-21T10:00:00Z')

function pull(client: UpstreamClient) {
  return client.getManifest('a', LATEST, patiently())
}

async function startFailing(status: number, headers = {}) {
  let ms = START
  const pass = (seconds: number) => {
    ms += seconds * 1000
  }
  const registry = await startServer((_, response) => response.writeHead(status, headers).end())
  return { clock: { pass, now: () => ms }, registry }
}

describe('an upstream', () => {
  it('that is down is not asked for a while, and then once', async () => {
    const { clock, registry } = await startFailing(503)
    const client = connect(registry.origin, {}, { now: clock.now })
    for (let count = 0; count < 5; count += 1) {
      await expect(pull(client)).rejects.toMatchObject({ reason: 'unavailable' })
    }
    expect(registry.requests).toHaveLength(3)
    expect(client.condition().brokenUntil).toEqual(new Date(START + 30_000))
    await expect(client.statBlob('a', DIGEST, patiently())).rejects.toMatchObject({
      retryAfterSeconds: 30,
      message: 'up.test: 503 Service Unavailable (not asked again for 30 s)',
    })
    clock.pass(30)
    registry.handle((_, response) => response.end('{}'))
    await pull(client)
    await pull(client)
    expect(client.condition().brokenUntil).toBeUndefined()
  })

  it('that limits is not asked at all before it says', async () => {
    const { clock, registry } = await startFailing(429, { 'retry-after': '17' })
    const client = connect(registry.origin, {}, { now: clock.now })
    await expect(client.statManifest('a', LATEST, patiently())).rejects.toMatchObject({
      reason: 'rate limited',
      retryAfterSeconds: 17,
    })
    clock.pass(10)
    const refusal = { reason: 'rate limited', retryAfterSeconds: 7 }
    const blob = { ...patiently(), first: 0 }
    await expect(pull(client)).rejects.toMatchObject(refusal)
    await expect(client.openBlob('a', DIGEST, blob)).rejects.toMatchObject(refusal)
    await expect(client.statBlob('a', DIGEST, patiently())).rejects.toMatchObject(refusal)
    await expect(client.listTags('a', { after: '', limit: 1 }, patiently())).rejects.toMatchObject(
      refusal,
    )
    await expect(client.listReferrers('a', DIGEST, patiently())).rejects.toMatchObject(refusal)
    expect(registry.requests).toHaveLength(1)
    clock.pass(7)
    registry.handle((_, response) => response.end('{}'))
    await pull(client)
  })

  it('that limits lets what is under way go on', async () => {
    const registry = await startServer(({ url }, response) => {
      if (url.includes('/manifests/')) return response.writeHead(429).end()
      response.writeHead(200, { 'content-length': 10 })
      return response.write('0123')
    })
    const client = connect(registry.origin)
    const { body } = await client.openBlob('a', DIGEST, { ...patiently(), first: 0 })
    const reader = body[Symbol.asyncIterator]()
    await reader.next()
    await expect(pull(client)).rejects.toMatchObject({ retryAfterSeconds: 30 })
    const rest = reader.next()
    await registry.close()
    await expect(rest).rejects.toMatchObject({ reason: 'unavailable' })
    expect(client.condition().lastError?.message).toBe('up.test: the connection broke')
  })

  it.each([
    ['not a byte', '', 3],
    ['a byte', '0', 6],
  ])('whose blobs break off after %s', async (_, bytes, asked) => {
    const registry = await startServer((__, response) => {
      response.writeHead(200, { 'content-length': 10 })
      if (bytes === '') response.flushHeaders()
      else response.write(bytes)
      setTimeout(() => response.destroy(), 20)
    })
    const client = connect(registry.origin)
    for (let count = 0; count < 6; count += 1) {
      const reading = async () => {
        const { body } = await client.openBlob('a', DIGEST, { ...patiently(), first: 0 })
        for await (const chunk of body) expect(chunk).toHaveLength(1)
      }
      await expect(reading()).rejects.toMatchObject({ reason: 'unavailable' })
    }
    expect(registry.requests).toHaveLength(asked)
  })

  it('whose token service is down, or limits, is left alone as well', async () => {
    const realm = await startServer((_, response) =>
      response.writeHead(429, { 'retry-after': '5' }).end(),
    )
    const registry = await startServer((_, response) => {
      response.setHeader('www-authenticate', `Bearer realm="${realm.origin}"`)
      answerJson(response, 401, {})
    })
    const client = connect(registry.origin)
    await expect(pull(client)).rejects.toMatchObject({ reason: 'rate limited' })
    await expect(pull(client)).rejects.toMatchObject({ reason: 'rate limited' })
    expect(realm.requests).toHaveLength(1)
    expect(registry.requests).toHaveLength(1)
  })

  it('that fails twenty who wait for one token has failed once', async () => {
    const waiting: ServerResponse[] = []
    const realm = await startServer((_, response) => waiting.push(response))
    const registry = await startServer(({ url }, response) => {
      if (url.startsWith('/v2/open/')) return response.end('{}')
      response.setHeader('www-authenticate', `Bearer realm="${realm.origin}"`)
      return answerJson(response, 401, {})
    })
    const client = connect(registry.origin)
    const looks = Array.from({ length: 20 }, () => client.statManifest('a', LATEST, patiently()))
    await expect.poll(() => registry.requests.length).toBe(20)
    // By the time that this is back, so are the others.
    await client.getManifest('open', LATEST, patiently())
    realm.handle((_, response) => response.writeHead(500).end())
    for (const response of waiting) response.writeHead(500).end()
    for (const { status } of await Promise.allSettled(looks)) expect(status).toBe('rejected')
    expect(realm.requests.length).toBeLessThan(3)
    expect(client.condition().brokenUntil).toBeUndefined()
  })

  it('tells what its limit leaves', async () => {
    const registry = await startServer((_, response) => {
      response.setHeader('ratelimit-limit', '100;w=21600')
      response.setHeader('ratelimit-remaining', '5;w=21600').end('{}')
    })
    const client = connect(registry.origin, { reserve: 5 }, { now: () => START })
    expect(client.mayRevalidate).toBe(true)
    await client.statManifest('a', LATEST, patiently())
    expect(client.mayRevalidate).toBe(false)
    expect(client.condition().budget).toEqual({ limit: 100, left: 5, at: new Date(START) })
  })

  it('may close a connection as it is asked on it again', async () => {
    let cut = 0
    const host = await listen((socket) => {
      let asked = 0
      socket.on('data', () => {
        asked += 1
        if (asked === 1) return socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}')
        cut += 1
        return socket.end()
      })
    })
    const client = connect(`http://${host}`)
    await pull(client)
    // Until the connection counts as free, the library opens another.
    await expect
      .poll(async () => {
        await pull(client)
        return cut
      })
      .toBeGreaterThan(0)
    expect(client.condition().lastError).toBeUndefined()
  })

  it('that limits refuses at once, even when all places are taken', async () => {
    const registry = await startServer(({ method }, response) => {
      if (method === 'HEAD') return response.writeHead(429).end()
      response.writeHead(200, { 'content-length': 10 })
      return response.write('0123')
    })
    const client = connect(registry.origin, { concurrency: 1 })
    await client.openBlob('a', DIGEST, { ...patiently(), first: 0 })
    await expect(client.statBlob('a', DIGEST, patiently())).rejects.toMatchObject({
      reason: 'rate limited',
    })
    await expect(pull(client)).rejects.toMatchObject({ reason: 'rate limited' })
  })

  it.each(['ftp://x', 'registry.test', '', 'http://x/?a=b', 'http://x/#a'])(
    'is none at %j',
    (url) => {
      expect(() => connect(url)).toThrow(/upstream up\.test/)
    },
  )
})
