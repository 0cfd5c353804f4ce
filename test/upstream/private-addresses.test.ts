import { describe, expect, it } from 'vitest'
import { parseReference } from '../../oci/reference.ts'
import type { UpstreamSettings } from '../../upstream/upstream.ts'
import { answerJson, connect, patiently, startServer } from './server.ts'

const LATEST = parseReference('latest')
const PUBLIC_ONLY = { privateAddresses: false }

function pull(url: string, settings: Partial<UpstreamSettings> = PUBLIC_ONLY) {
  return connect(url, settings).getManifest('a', LATEST, patiently())
}

/** Taken for a public address, as a test has none. */
function isHome(address: string): boolean {
  return address === '127.0.0.1'
}

function pullFromPublic(url: string) {
  return connect(url, PUBLIC_ONLY, { isPublic: isHome }).getManifest('a', LATEST, patiently())
}

function refused(host: string) {
  const what = `${host} has a private address, and those are not allowed`
  return { reason: 'invalid', message: expect.stringMatching(`^up.test: (.*: )?${escape(what)}$`) }
}

function escape(text: string): string {
  return text.replaceAll(/[.[\]]/g, '\\$&')
}

describe('an upstream without private addresses', () => {
  it.each([
    ['127.0.0.1', '127.0.0.1'],
    ['0x7f.1', '127.0.0.1'],
    ['2130706433', '127.0.0.1'],
    ['0177.0.0.1', '127.0.0.1'],
    ['localhost', 'localhost'],
  ])('is not asked at %s', async (host, named) => {
    const registry = await startServer((_, response) => response.end('{}'))
    const url = registry.origin.replace('127.0.0.1', host)
    await expect(pull(url)).rejects.toMatchObject(refused(named))
    expect(registry.requests).toEqual([])
    // It is there, and would have answered.
    await pull(url, {})
    expect(registry.requests).toHaveLength(1)
  })

  it.each([
    ['http://[::1]:1', '::1'],
    ['http://[::ffff:127.0.0.1]:1', '::ffff:7f00:1'],
    ['http://169.254.169.254', '169.254.169.254'],
    ['http://10.0.0.1', '10.0.0.1'],
  ])('is not asked at %s', async (url, named) => {
    await expect(pull(url)).rejects.toMatchObject(refused(named))
  })

  it.each([
    ['http://169.254.169.254/latest/meta-data', '169.254.169.254'],
    ['http://[fd00:ec2::254]/', 'fd00:ec2::254'],
    ['http://127.0.0.2:1/', '127.0.0.2'],
    ['http://127.2:1/', '127.0.0.2'],
  ])('is not followed to %s', async (location, named) => {
    const registry = await startServer((_, response) => response.writeHead(307, { location }).end())
    await expect(pullFromPublic(registry.origin)).rejects.toMatchObject(refused(named))
    expect(registry.requests).toHaveLength(1)
  })

  it('is not followed to a private token service', async () => {
    const inside = await startServer((_, response) => answerJson(response, 200, { token: 'x' }), {
      address: '127.0.0.2',
    })
    const registry = await startServer((_, response) => {
      response.setHeader('www-authenticate', `Bearer realm="${inside.origin}"`)
      answerJson(response, 401, {})
    })
    await expect(pullFromPublic(registry.origin)).rejects.toMatchObject(refused('127.0.0.2'))
    expect(inside.requests).toEqual([])
  })

  it('is not left alone for what it redirects to', async () => {
    const location = 'http://169.254.169.254/'
    const registry = await startServer((_, response) => response.writeHead(307, { location }).end())
    const client = connect(registry.origin, PUBLIC_ONLY, { isPublic: isHome })
    for (let count = 0; count < 4; count += 1) {
      await expect(client.getManifest('a', LATEST, patiently())).rejects.toMatchObject({
        reason: 'invalid',
      })
    }
    expect(client.condition().brokenUntil).toBeUndefined()
  })
})
