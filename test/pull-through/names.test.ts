import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Answer, expectError, expectStatus, sha256 } from '../acceptance/client.ts'
import { type Image, pushImage } from '../acceptance/images.ts'
import { RawConnection } from '../support/raw-http.ts'
import { type Mirror, openMirror, pathOf } from './mirror.ts'

let mirror: Mirror

beforeAll(async () => {
  mirror = await openMirror({
    hub: {
      prefix: 'mirrors/hub',
      hosts: ['docker.io', 'registry-1.docker.io', 'hub.test:5000'],
      deny: ['secret/**', 'library/forbidden'],
    },
    quay: { prefix: 'q', allow: ['team/**', 'bare'] },
  })
})
afterAll(() => mirror.close())
beforeEach(() => mirror.forget())

const ask = (name: string, rest: string) => mirror.client.get(pathOf(name, rest))

const askedPaths = () => [...new Set(mirror.asked().map(({ path }) => path))]

/** How a client may name one repository, and how that is called at its registry and here. */
const HUB = { remote: 'library/alpine', canonical: 'docker.io/library/alpine' }
const ALPINE = [
  'docker.io/library/alpine',
  'docker.io/alpine',
  'mirrors/hub/library/alpine',
  'mirrors/hub/alpine',
  'library/alpine?ns=docker.io',
  'alpine?ns=docker.io',
  'library/alpine?ns=registry-1.docker.io',
  'library/alpine?ns=hub.test:5000',
  'library/alpine?ns=',
  'library/alpine',
  'alpine',
]
const WAYS: readonly (readonly [string, { remote: string; canonical: string }])[] = [
  ...ALPINE.map((name) => [name, HUB] as const),
  ['docker.io/team/app', { remote: 'team/app', canonical: 'docker.io/team/app' }],
  ['team/app?ns=docker.io', { remote: 'team/app', canonical: 'docker.io/team/app' }],
  ['team/app', { remote: 'team/app', canonical: 'docker.io/team/app' }],
  ['quay.io/team/app', { remote: 'team/app', canonical: 'quay.io/team/app' }],
  ['q/team/app', { remote: 'team/app', canonical: 'quay.io/team/app' }],
  ['team/app?ns=quay.io', { remote: 'team/app', canonical: 'quay.io/team/app' }],
  ['bare?ns=quay.io', { remote: 'bare', canonical: 'quay.io/bare' }],
  ['q/bare', { remote: 'bare', canonical: 'quay.io/bare' }],
]

describe('an image of an upstream', () => {
  let count = 0
  it.each(WAYS)('is had as %s', async (name, { remote, canonical }) => {
    const { client, proxy } = canonical.startsWith('docker.io/') ? mirror.hub : mirror.quay
    const tag = `t${count++}`
    const image = await pushImage(client, remote, tag)
    const manifest = await ask(name, `manifests/${tag}`)
    expectStatus(manifest, 200)
    expect(manifest.body).toEqual(image.bytes)
    const blob = await ask(name, `blobs/${sha256(image.layer)}`)
    expectStatus(blob, 200)
    expect(blob.body).toEqual(image.layer)

    const namespace = new URLSearchParams(name.split('?')[1]).get('ns') || undefined
    expect(manifest.headers['oci-namespace']).toBe(namespace)
    expect(blob.headers['oci-namespace']).toBe(namespace)
    expect(proxy.requests()).toEqual(mirror.asked())
    expect(askedPaths()).toEqual([
      `/v2/${remote}/manifests/${tag}`,
      `/v2/${remote}/manifests/${image.digest}`,
      `/v2/${remote}/blobs/${sha256(image.layer)}`,
    ])
    const again = await ask(canonical, `manifests/${tag}`)
    expect(again.headers['cache-status']).toBe('Slipway; hit')
  })

  it('is kept under one name, whichever way it was asked for', async () => {
    const { rows } = await mirror.here.registry.database.pool.query<{ name: string }>(
      'select name from repositories order by name',
    )
    expect(rows.map(({ name }) => name)).toEqual([
      'docker.io/library/alpine',
      'docker.io/team/app',
      'quay.io/bare',
      'quay.io/team/app',
    ])
  })
})

describe('a namespace that stands for no upstream', () => {
  it.each(['ghcr.io', 'docker.io.evil.test', 'docker.io:443', 'localhost:5000', '*'])(
    '%s: only what is hosted is found, and nothing leaves',
    async (namespace) => {
      const there = await pushImage(mirror.hub.client, 'library/alpine', 'elsewhere')
      const hosted = await pushImage(mirror.client, 'mine/app', 'v1')
      const absent = await ask(`library/alpine?ns=${namespace}`, 'manifests/elsewhere')
      expectError(absent, 404, 'MANIFEST_UNKNOWN')
      await ask(`library/alpine?ns=${namespace}`, `manifests/${there.digest}`)
      await ask(`library/alpine?ns=${namespace}`, `blobs/${sha256(there.layer)}`)
      const mine = await ask(`mine/app?ns=${namespace}`, 'manifests/v1')
      expect(mine.body).toEqual(hosted.bytes)
      expect(mine.headers).not.toHaveProperty('oci-namespace')
      expect(mirror.asked()).toEqual([])
    },
  )

  it('with a NUL in it is refused', async () => {
    expectStatus(await ask('library/alpine?ns=docker.io%00', 'manifests/elsewhere'), 400)
    expect(mirror.asked()).toEqual([])
  })

  it('nor do two that contradict each other', async () => {
    await pushImage(mirror.hub.client, 'library/alpine', 'two')
    await ask('library/alpine?ns=ghcr.io&ns=quay.io', 'manifests/two')
    expect(mirror.asked()).toEqual([])
  })
})

const readAll = async (name: string, { digest, layer }: Image): Promise<Answer[]> => {
  const rests = [`manifests/v1`, `manifests/${digest}`, `blobs/${sha256(layer)}`, 'tags/list']
  return Promise.all([...rests, `referrers/${digest}`].map((rest) => ask(name, rest)))
}

describe('a name that no rule allows', () => {
  it.each([
    'docker.io/secret/app',
    'mirrors/hub/secret/app',
    'docker.io/secret/deeper/app',
    'secret/app?ns=docker.io',
    'secret/app',
    'forbidden',
    'library/forbidden',
    'docker.io/forbidden',
    'forbidden?ns=docker.io',
    'quay.io/other/app',
    'q/other/app',
    'other/app?ns=quay.io',
    'quay.io/team',
  ])('%s: is not asked for', async (name) => {
    const image = await pushImage(mirror.hub.client, 'secret/app', 'v1')
    mirror.forget()
    const answers = await readAll(name, image)
    const [byTag, byDigest, blob, tags, referrers] = answers.map(({ status }) => status)
    expect({ byTag, byDigest, blob, tags }).toEqual({
      byTag: 404,
      byDigest: 404,
      blob: 404,
      tags: 404,
    })
    expect([200, 404]).toContain(referrers)
    expect(mirror.asked()).toEqual([])
  })

  it('is not answered by something hosted that is called so here', async () => {
    await pushImage(mirror.client, 'other/app', 'v1')
    expectStatus(await ask('other/app?ns=quay.io', 'manifests/v1'), 404)
  })

  it('is none of Docker Hub’s business when it begins with another host', async () => {
    await ask('ghcr.io/private-team/secret', 'manifests/v1')
    expect(mirror.asked()).toEqual([])
  })
})

/** Of that many characters, in several components. */
const long = (length: number) => `x/${'y'.repeat(length - 2)}`
/** Characters for a name of this server: 255 with its host and a slash. */
const room = () => 254 - mirror.here.registry.host.length

describe('a name that is', () => {
  it.each([
    ['too long with what comes before it', () => 'y'.repeat(room()), 404],
    ['that, with a namespace', () => `${'y'.repeat(room())}?ns=docker.io`, 404],
    ['longer than any', () => long(256), 400],
    ['longer than any, with a namespace', () => `${long(256)}?ns=docker.io`, 400],
    ['a prefix that ends in a slash', () => 'docker.io/', 400],
    ['a prefix with two slashes', () => 'docker.io//alpine', 400],
    ['in capitals', () => 'docker.io/library/Alpine', 400],
    ['escaped', () => 'docker.io/library%2Falpine', 400],
    ['on its way up', () => 'docker.io/../library/alpine', 400],
    ['on its way up, escaped', () => 'docker.io/%2e%2e/alpine', 400],
    ['no name below a prefix', () => 'docker.io/-alpine', 400],
    ['a host with a port', () => 'docker.io:443/library/alpine', 400],
  ])('%s is not asked for', async (_, nameOf, status) => {
    const connection = await RawConnection.open(mirror.here.registry.host)
    await connection.begin('GET', pathOf(nameOf(), 'manifests/v1'), {})
    expect((await connection.answer()).status).toBe(status)
    await connection.close()
    expect(mirror.asked()).toEqual([])
  })

  it('as long as it may be is asked for as it is', async () => {
    const name = long(room() - 'docker.io/'.length)
    const image = await pushImage(mirror.hub.client, name, 'v1')
    expect((await ask(`docker.io/${name}`, 'manifests/v1')).body).toEqual(image.bytes)
  })

  it.each([
    ['docker.io/docker.io/library/alpine', 'docker.io/library/alpine'],
    ['docker.io/quay.io/team/app', 'quay.io/team/app'],
    ['docker.io/library', 'library/library'],
    ['docker.io/manifests', 'library/manifests'],
    ['docker.io/a/blobs/uploads', 'a/blobs/uploads'],
  ])('strange, as %s, is asked for as %s', async (name, remote) => {
    expectError(await ask(name, 'manifests/v1'), 404, 'MANIFEST_UNKNOWN')
    expect(askedPaths()).toEqual([`/v2/${remote}/manifests/v1`])
    expect(mirror.quay.proxy.requests()).toEqual([])
  })
})
