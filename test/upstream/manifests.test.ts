import { describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { OCI_MANIFEST } from '../../oci/media-types.ts'
import { parseReference } from '../../oci/reference.ts'
import { connect, patiently, startServer } from './server.ts'

const LATEST = parseReference('latest')
const BYTES = Buffer.from('{ "schemaVersion":2,\n\n "odd": "spacing"}')
const DIGEST = digestOf(BYTES)
const TYPE = `${OCI_MANIFEST}; charset=utf-8`

function startRegistry() {
  return startServer((_, response) => {
    response.setHeader('docker-content-digest', DIGEST).setHeader('content-length', BYTES.length)
    response.setHeader('content-type', TYPE).end(BYTES)
  })
}

describe('a manifest of an upstream', () => {
  it('comes byte for byte', async () => {
    const registry = await startRegistry()
    const client = connect(registry.origin)
    const manifest = await client.getManifest('library/alpine', LATEST, patiently())
    expect(manifest).toEqual({ bytes: BYTES, contentType: TYPE })
    expect(client.condition().fetchedBytes).toBe(BYTES.length)
  })

  it('is asked for by tag and by digest, as any kind there is, and not compressed', async () => {
    const registry = await startRegistry()
    const client = connect(`${registry.origin}/some/where/`)
    await client.getManifest('library/alpine', LATEST, patiently())
    await client.getManifest('library/alpine', parseReference(DIGEST), patiently())
    const path = '/some/where/v2/library/alpine/manifests'
    expect(registry.requests.map(({ url }) => url)).toEqual([`${path}/latest`, `${path}/${DIGEST}`])
    const { headers } = registry.requests[0]!
    expect(headers.accept?.split(', ')).toHaveLength(5)
    expect(headers.accept).toContain(OCI_MANIFEST)
    expect(headers['accept-encoding']).toBe('identity')
  })

  it('is looked at with HEAD', async () => {
    const registry = await startRegistry()
    const client = connect(registry.origin)
    expect(await client.statManifest('a', LATEST, patiently())).toEqual({ digest: DIGEST })
    expect(registry.requests).toMatchObject([{ method: 'HEAD', url: '/v2/a/manifests/latest' }])
  })

  it.each([
    ['no digest', 200, {}],
    ['a digest that is none', 200, { 'docker-content-digest': 'sha256:../..' }],
    ['no HEAD', 405, { 'docker-content-digest': DIGEST }],
    ['no HEAD either', 501, {}],
  ])('has to be fetched when there is %s', async (_, status, headers) => {
    const registry = await startServer((__, response) => response.writeHead(status, headers).end())
    const client = connect(registry.origin)
    expect(await client.statManifest('a', LATEST, patiently())).toEqual({ digest: undefined })
  })

  it('may have 4 MiB and no more', async () => {
    const registry = await startServer((_, response) => response.end(Buffer.alloc(4_194_304)))
    const client = connect(registry.origin)
    const { bytes } = await client.getManifest('a', LATEST, patiently())
    expect(bytes).toHaveLength(4_194_304)
    registry.handle((_, response) => response.end(Buffer.alloc(4_194_305)))
    await expect(client.getManifest('a', LATEST, patiently())).rejects.toMatchObject({
      reason: 'invalid',
      message: 'up.test: its answer is longer than 4194304 bytes',
    })
  })

  it('that never ends is not read on', async () => {
    let sent = 0
    let isClosed = false
    const registry = await startServer((_, response) => {
      response.once('close', () => {
        isClosed = true
      })
      const send = () => {
        sent += 65_536
        if (isClosed) return
        response.write(Buffer.alloc(65_536), send)
      }
      send()
    })
    await expect(
      connect(registry.origin).getManifest('a', LATEST, patiently()),
    ).rejects.toMatchObject({ reason: 'invalid' })
    await expect.poll(() => isClosed).toBe(true)
    expect(sent).toBeGreaterThan(4_194_304)
  })

  it('that is compressed nevertheless is refused', async () => {
    const registry = await startServer((_, response) =>
      response.setHeader('content-encoding', 'gzip').end('{}'),
    )
    await expect(
      connect(registry.origin).getManifest('a', LATEST, patiently()),
    ).rejects.toMatchObject({
      reason: 'invalid',
      message: 'up.test: sends an encoding nobody asked for',
    })
  })

  it('that is cut off has not come', async () => {
    const registry = await startServer((_, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('{', () => response.destroy())
    })
    await expect(
      connect(registry.origin).getManifest('a', LATEST, patiently()),
    ).rejects.toMatchObject({ reason: 'unavailable', message: 'up.test: the connection broke' })
  })

  it.each(['../../etc', 'a/../b', 'A', 'a?x=y', 'a%2fb', '', '/a', 'a//b'])(
    'of a repository %j is never asked for',
    async (repository) => {
      const registry = await startRegistry()
      await expect(
        connect(registry.origin).getManifest(repository, LATEST, patiently()),
      ).rejects.toMatchObject({ reason: 'invalid' })
      expect(registry.requests).toEqual([])
    },
  )
})
