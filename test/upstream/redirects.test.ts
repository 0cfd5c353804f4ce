import type { ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { parseReference } from '../../oci/reference.ts'
import type { UpstreamClient } from '../../upstream/upstream.ts'
import { answerJson, connect, patiently, startServer, type TestServer } from './server.ts'

const LATEST = parseReference('latest')
const DIGEST = digestOf(Buffer.from('layer'))
const PASSWORD = { kind: 'password', username: 'alice', password: 's3cret' } as const

function redirect(response: ServerResponse, location: string, status = 307): void {
  response.writeHead(status, { location }).end('elsewhere')
}

async function read(client: UpstreamClient): Promise<string> {
  const { body } = await client.openBlob('a', DIGEST, { ...patiently(), first: 0 })
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

/** A registry that wants Basic, and sends those who show it on to `location()`. */
function startRedirecting(location: () => string, status = 307): Promise<TestServer> {
  return startServer(({ headers, url }, response) => {
    if (url === '/here') return response.end('layer')
    if (headers.authorization !== undefined) return redirect(response, location(), status)
    response.setHeader('www-authenticate', 'Basic realm="x"')
    return answerJson(response, 401, {})
  })
}

function authorizations({ requests }: TestServer) {
  return requests.map(({ headers }) => headers.authorization !== undefined)
}

describe('a redirect', () => {
  it.each([301, 302, 303, 307, 308])('of %i is followed, without credentials', async (status) => {
    const cdn = await startServer((_, response) => response.end('layer'), { address: '127.0.0.2' })
    const registry = await startRedirecting(() => `${cdn.origin}/x?sig=1`, status)
    const client = connect(registry.origin, { credentials: PASSWORD })
    expect(await read(client)).toBe('layer')
    expect(authorizations(registry)).toEqual([false, true])
    expect(cdn.requests).toMatchObject([{ method: 'GET', url: '/x?sig=1' }])
    expect(authorizations(cdn)).toEqual([false])
    expect(JSON.stringify(cdn.requests)).not.toContain('s3cret')
  })

  it('to another port of the same host is to another origin', async () => {
    const other = await startServer((_, response) => response.end('layer'))
    const registry = await startRedirecting(() => other.origin)
    await read(connect(registry.origin, { credentials: PASSWORD }))
    expect(authorizations(other)).toEqual([false])
  })

  it('within the origin keeps credentials', async () => {
    const registry = await startRedirecting(() => '/here')
    await read(connect(registry.origin, { credentials: PASSWORD }))
    expect(authorizations(registry)).toEqual([false, true, true])
  })

  it('that comes back brings no credentials back', async () => {
    const cdn = await startServer((_, response) => redirect(response, `${registry.origin}/here`), {
      address: '127.0.0.2',
    })
    const registry: TestServer = await startRedirecting(() => cdn.origin)
    expect(await read(connect(registry.origin, { credentials: PASSWORD }))).toBe('layer')
    expect(authorizations(registry)).toEqual([false, true, false])
  })

  it('is no place for a challenge', async () => {
    const thief = await startServer(
      (_, response) => {
        const realm = `Bearer realm="${thief.origin}/token"`
        response.setHeader('www-authenticate', [realm, 'Basic realm="x"'])
        answerJson(response, 401, {})
      },
      { address: '127.0.0.2' },
    )
    const registry = await startServer((_, response) => redirect(response, `${thief.origin}/x`))
    const client = connect(registry.origin, { credentials: PASSWORD, realms: ['127.0.0.2'] })
    await expect(read(client)).rejects.toMatchObject({
      reason: 'denied',
      message: `up.test: ${thief.host}: 401 Unauthorized`,
    })
    expect(authorizations(registry)).toEqual([false])
    expect(authorizations(thief)).toEqual([false])
  })

  it('tells nothing of the budget', async () => {
    const cdn = await startServer((_, response) => {
      response.setHeader('ratelimit-limit', '100;w=60').setHeader('ratelimit-remaining', '0;w=60')
      response.end('layer')
    })
    const registry = await startRedirecting(() => cdn.origin)
    const client = connect(registry.origin, { credentials: PASSWORD })
    await read(client)
    expect(client.mayRevalidate).toBe(true)
  })

  it('is followed by HEAD as HEAD', async () => {
    const cdn = await startServer((_, response) =>
      response.setHeader('content-length', 5).end('layer'),
    )
    const registry = await startServer((_, response) => redirect(response, cdn.origin, 303))
    expect(await connect(registry.origin).statBlob('a', DIGEST, patiently())).toBe(5)
    expect(cdn.requests).toMatchObject([{ method: 'HEAD' }])
  })

  it('keeps the range', async () => {
    const cdn = await startServer((_, response) => {
      response.writeHead(206, { 'content-range': 'bytes 3-4/5' }).end('er')
    })
    const registry = await startServer((_, response) => redirect(response, cdn.origin))
    const client = connect(registry.origin)
    await client.openBlob('a', DIGEST, { ...patiently(), first: 3 })
    expect(cdn.requests).toMatchObject([{ headers: { range: 'bytes=3-' } }])
  })

  it('without end is followed five times', async () => {
    const registry = await startServer((_, response) => redirect(response, '/again'))
    await expect(
      connect(registry.origin).getManifest('a', LATEST, patiently()),
    ).rejects.toMatchObject({ reason: 'invalid', message: 'up.test: redirects more than 5 times' })
    expect(registry.requests).toHaveLength(6)
  })

  it.each([
    [''],
    ['http://'],
    ['file:///etc/passwd'],
    ['data:text/plain,layer'],
    ['ftp://127.0.0.1/x'],
  ])('to %j is refused', async (location) => {
    const registry = await startServer((_, response) => redirect(response, location))
    await expect(read(connect(registry.origin))).rejects.toMatchObject({
      reason: 'invalid',
      message: 'up.test: redirects to what is no URL of a server',
    })
  })

  it('to user info shows none', async () => {
    const cdn = await startServer((_, response) => response.end('layer'))
    const location = cdn.origin.replace('//', '//mallory:s3cret@')
    const registry = await startServer((_, response) => redirect(response, location))
    expect(await read(connect(registry.origin))).toBe('layer')
    expect(authorizations(cdn)).toEqual([false])
  })
})
