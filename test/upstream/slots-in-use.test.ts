import type { ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { parseReference } from '../../oci/reference.ts'
import { connect, patiently, startServer } from './server.ts'

const LATEST = parseReference('latest')
const DIGEST = digestOf(Buffer.from('layer'))

/** A registry that answers when it is told to. */
async function startWaiting() {
  const waiting: ServerResponse[] = []
  const registry = await startServer(({ method }, response) => {
    if (method === 'HEAD') response.setHeader('content-length', 5).end()
    else waiting.push(response)
  })
  return { registry, waiting }
}

describe('fetches from one upstream', () => {
  it('are no more at a time than they may be', async () => {
    const { registry, waiting } = await startWaiting()
    const client = connect(registry.origin, { concurrency: 2 })
    const fetches = Array.from({ length: 5 }, () => client.getManifest('a', LATEST, patiently()))
    for (let count = 0; count < 5; count += 1) {
      await expect.poll(() => waiting.length).toBeGreaterThan(count)
      expect(waiting.length).toBeLessThanOrEqual(count + 2)
      waiting[count]!.end('{}')
    }
    await Promise.all(fetches)
  })

  it('hold their place until the body ends', async () => {
    const { registry, waiting } = await startWaiting()
    const client = connect(registry.origin, { concurrency: 1 })
    const opening = client.openBlob('a', DIGEST, { ...patiently(), first: 0 })
    await expect.poll(() => waiting.length).toBe(1)
    waiting[0]!.writeHead(200, { 'content-length': 5 }).write('lay')
    const { body } = await opening
    const next = client.openBlob('a', DIGEST, { ...patiently(), first: 0 })
    // Looking takes no place, and a manifest one of its own.
    expect(await client.statBlob('a', DIGEST, patiently())).toBe(5)
    await client.statManifest('a', LATEST, patiently())
    const manifest = client.getManifest('a', LATEST, patiently())
    await expect.poll(() => waiting.length).toBe(2)
    waiting[1]!.end('{}')
    await manifest
    expect(waiting).toHaveLength(2)
    waiting[0]!.end('er')
    for await (const chunk of body) expect(chunk.length).toBeGreaterThan(0)
    await expect.poll(() => waiting.length).toBe(3)
    waiting[2]!.writeHead(200, { 'content-length': 5 }).end('layer')
    for await (const chunk of (await next).body) expect(chunk.length).toBeGreaterThan(0)
  })

  it('do not wait for one that nobody wants any more', async () => {
    const { registry, waiting } = await startWaiting()
    const client = connect(registry.origin, { concurrency: 1 })
    const leaving = new AbortController()
    const first = client.getManifest('a', LATEST, leaving)
    const second = client.getManifest('a', LATEST, leaving)
    await expect.poll(() => waiting.length).toBe(1)
    leaving.abort(new Error('left'))
    await expect(first).rejects.toThrow('left')
    await expect(second).rejects.toThrow('left')
    const third = client.getManifest('a', LATEST, patiently())
    await expect.poll(() => waiting.length).toBe(2)
    waiting[1]!.end('{}')
    await third
    expect(registry.requests).toHaveLength(2)
  })
})
