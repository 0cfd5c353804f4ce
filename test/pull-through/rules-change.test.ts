import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseUpstream } from '../../config/upstream-settings.ts'
import { openUpstream } from '../../server/upstreams.ts'
import { expectError, expectStatus, sha256 } from '../acceptance/client.ts'
import { type Image, pushImage } from '../acceptance/images.ts'
import { type Mirror, openMirror, pathOf } from './mirror.ts'

const NAME = 'docker.io/library/alpine'

let mirror: Mirror
let image: Image

beforeEach(async () => {
  mirror = await openMirror()
  image = await pushImage(mirror.hub.client, 'library/alpine', 'v1')
  expectStatus(await ask('alpine'), 200)
  expectStatus(await ask('alpine', `blobs/${sha256(image.layer)}`), 200)
  mirror.forget()
})
afterEach(() => mirror.close())

const ask = (name: string, rest = 'manifests/v1') => mirror.client.get(pathOf(name, rest))

/** In place of both upstreams, and of how they are. */
async function configure(upstreams: Readonly<Record<string, object>>): Promise<void> {
  const definitions = Object.entries(upstreams).map(([name, fields]) =>
    parseUpstream(name, { url: mirror.hub.proxy.url, privateAddresses: true, ...fields }),
  )
  const opened = await Promise.all(definitions.map(openUpstream))
  mirror.here.registry.registry.pullThrough.upstreams.replace(opened)
}

describe('what is kept of an upstream that is gone', () => {
  beforeEach(() => configure({}))

  it('is not asked for', async () => {
    for (const name of ['alpine', 'library/alpine', NAME, 'alpine?ns=docker.io']) await ask(name)
    expect(mirror.asked()).toEqual([])
  })

  it('is not had by the names that it gave', async () => {
    for (const name of ['alpine', 'library/alpine', 'docker.io/alpine', 'alpine?ns=docker.io']) {
      expectError(await ask(name), 404, 'MANIFEST_UNKNOWN')
    }
  })

  it('cannot be pushed to', async () => {
    const start = await mirror.client.send('POST', `/v2/${NAME}/blobs/uploads/`)
    expectError(start, 403, 'DENIED')
    const put = await mirror.client.send('PUT', `/v2/${NAME}/manifests/v1`, {
      headers: { 'Content-Type': image.mediaType },
      body: image.bytes,
    })
    expectError(put, 403, 'DENIED')
  })

  it('is there again with it', async () => {
    await configure({ 'docker.io': {} })
    expect((await ask('alpine')).headers['cache-status']).toBe('Slipway; hit')
    expect(mirror.asked()).toEqual([])
  })
})

describe('what is kept, and must not be asked for any more', () => {
  it.each([
    ['deny', { deny: ['library/alpine'] }],
    ['allow', { allow: ['team/**'] }],
  ])('by %s, is served by no name', async (_, fields) => {
    await configure({ 'docker.io': fields })
    const names = ['alpine', 'library/alpine', NAME, 'docker.io/alpine', 'alpine?ns=docker.io']
    const answers = await Promise.all(names.map(async (name) => (await ask(name)).status))
    expect(Object.fromEntries(names.map((name, index) => [name, answers[index]]))).toEqual(
      Object.fromEntries(names.map((name) => [name, 404])),
    )
    expect(mirror.asked()).toEqual([])
  })
})

describe('an upstream that another one follows', () => {
  it('by the same name is asked where it is now', async () => {
    await configure({ 'docker.io': { url: mirror.quay.proxy.url, freshSeconds: 0 } })
    const other = await pushImage(mirror.quay.client, 'library/alpine', 'v1')
    expect((await ask('alpine')).body).toEqual(other.bytes)
    expect(mirror.hub.proxy.requests()).toEqual([])
  })

  it('under another name has nothing of it', async () => {
    await configure({ 'mirror.test': { url: mirror.quay.proxy.url, plain: true, library: true } })
    expectError(await ask('alpine'), 404, 'MANIFEST_UNKNOWN')
    expect(mirror.hub.proxy.requests()).toEqual([])
    expect(mirror.quay.proxy.requests('manifest')[0]?.path).toBe('/v2/library/alpine/manifests/v1')
  })
})
