import { describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { parseReference } from '../../oci/reference.ts'
import type { UpstreamClient } from '../../upstream/upstream.ts'
import { answerJson, connect, listen, patiently, startServer } from './server.ts'

const LATEST = parseReference('latest')
const DIGEST = digestOf(Buffer.from('layer'))

function pull(client: UpstreamClient) {
  return client.getManifest('a', LATEST, patiently())
}

describe('an upstream that takes its time', () => {
  it('to connect', async () => {
    // It accepts, but never says its part of the handshake.
    const host = await listen(() => {})
    await expect(pull(connect(`https://${host}`, {}, { connectMs: 200 }))).rejects.toMatchObject({
      reason: 'unavailable',
      message: 'up.test: cannot be reached (no connection in time)',
    })
  })

  it('to answer', async () => {
    const host = await listen(() => {})
    await expect(pull(connect(`http://${host}`, {}, { headersMs: 200 }))).rejects.toMatchObject({
      reason: 'unavailable',
      message: 'up.test: did not answer in time',
    })
  })

  it('in the middle of a body', async () => {
    const registry = await startServer((_, response) => {
      response.writeHead(200, { 'content-length': 10 }).write('0123')
    })
    const client = connect(registry.origin, {}, { idleMs: 200 })
    const { body } = await client.openBlob('a', DIGEST, { ...patiently(), first: 0 })
    const reading = async () => {
      for await (const chunk of body) expect(chunk).toHaveLength(4)
    }
    await expect(reading()).rejects.toMatchObject({
      reason: 'unavailable',
      message: 'up.test: stopped in the middle of its answer',
    })
  })

  it('with a manifest, a byte at a time', async () => {
    const registry = await startServer((_, response) => {
      const drip = setInterval(() => response.write('.'), 20)
      response.once('close', () => clearInterval(drip))
    })
    await expect(pull(connect(registry.origin, {}, { answerMs: 300 }))).rejects.toMatchObject({
      reason: 'unavailable',
      message: 'up.test: did not answer in time',
    })
  })

  it('with a token', async () => {
    const host = await listen(() => {})
    const registry = await startServer((_, response) => {
      response.setHeader('www-authenticate', `Bearer realm="http://${host}/token"`)
      answerJson(response, 401, {})
    })
    await expect(pull(connect(registry.origin, {}, { headersMs: 200 }))).rejects.toMatchObject({
      reason: 'unavailable',
      message: `up.test: ${host}: did not answer in time`,
    })
  })

  it('with the reason for a refusal', async () => {
    const registry = await startServer((_, response) => {
      response.writeHead(403).write('{"errors"')
    })
    await expect(pull(connect(registry.origin, {}, { idleMs: 200 }))).rejects.toMatchObject({
      reason: 'denied',
      message: 'up.test: 403 Forbidden',
    })
  })

  it.each([
    ['connecting', 'https'],
    ['waiting for its answer', 'http'],
  ])('is left at once while %s, when nobody waits any more', async (_, protocol) => {
    let asked = false
    const host = await listen((socket) =>
      socket.once('data', () => {
        asked = true
      }),
    )
    const leaving = new AbortController()
    const client = connect(`${protocol}://${host}`)
    const pulling = client.getManifest('a', LATEST, leaving)
    await expect.poll(() => asked).toBe(true)
    leaving.abort(new Error('left'))
    await expect(pulling).rejects.toThrow('left')
    expect(client.condition().lastError).toBeUndefined()
  })

  it('is not asked when nobody waits in the first place', async () => {
    const registry = await startServer((_, response) => response.end('{}'))
    const signal = AbortSignal.abort(new Error('left'))
    const client = connect(registry.origin)
    await expect(client.getManifest('a', LATEST, { signal })).rejects.toThrow('left')
    await expect(client.statManifest('a', LATEST, { signal })).rejects.toThrow('left')
    await expect(client.openBlob('a', DIGEST, { signal, first: 0 })).rejects.toThrow('left')
    expect(registry.requests).toEqual([])
  })

  it('is left when all ends', async () => {
    const host = await listen(() => {})
    const client = connect(`http://${host}`)
    const pulling = pull(client)
    const opening = client.openBlob('a', DIGEST, { ...patiently(), first: 0 })
    client.close()
    await expect(pulling).rejects.toThrow('up.test: is not asked any more')
    await expect(opening).rejects.toThrow('up.test: is not asked any more')
    await expect(pull(client)).rejects.toThrow('up.test: is not asked any more')
  })
})
