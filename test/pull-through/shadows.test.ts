import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  expectError,
  expectStatus,
  pushBlob,
  sha256,
  someBytes,
  startUpload,
} from '../acceptance/client.ts'
import { pushImage } from '../acceptance/images.ts'
import { type Mirror, openMirror, pathOf } from './mirror.ts'

let mirror: Mirror

beforeEach(async () => {
  mirror = await openMirror()
})
afterEach(() => mirror.close())

const ask = (name: string, rest = 'manifests/v1') => mirror.client.get(pathOf(name, rest))

/** An image of the same name here, at Docker Hub and at Quay. */
async function pushEverywhere(name: string) {
  const { client, hub, quay } = mirror
  const [hosted, ofHub, ofQuay] = await Promise.all(
    [client, hub.client, quay.client].map((each) => pushImage(each, name, 'v1')),
  )
  return { hosted: hosted!, ofHub: ofHub!, ofQuay: ofQuay! }
}

describe('what is hosted here', () => {
  it.each(['team/app', 'library/app', 'app'])(
    'as %s, comes first without a prefix, and for what answers without one',
    async (name) => {
      const { hosted } = await pushEverywhere(name)
      for (const asked of [name, `${name}?ns=docker.io`]) {
        const answer = await ask(asked)
        expectStatus(answer, 200)
        expect(answer.body).toEqual(hosted.bytes)
        expect(answer.headers['oci-namespace']).toBe(asked === name ? undefined : 'docker.io')
        expect(answer.headers).not.toHaveProperty('cache-status')
        expectError(await ask(asked, 'manifests/absent'), 404, 'MANIFEST_UNKNOWN')
        expectError(await ask(asked, `blobs/${sha256('absent')}`), 404, 'BLOB_UNKNOWN')
        expectStatus(await ask(asked, 'tags/list'), 200)
        expectStatus(await ask(asked, `referrers/${hosted.digest}`), 200)
      }
      expect(mirror.asked()).toEqual([])
    },
  )

  it('does not stand in the way of another registry that is named', async () => {
    const { ofQuay, ofHub } = await pushEverywhere('team/app')
    for (const name of ['quay.io/team/app', 'team/app?ns=quay.io']) {
      expect((await ask(name)).body).toEqual(ofQuay.bytes)
    }
    expect((await ask('docker.io/team/app')).body).toEqual(ofHub.bytes)
  })

  it('keeps names of its namespace from leaving, unless a registry is named', async () => {
    await pushImage(mirror.client, 'team/app', 'v1')
    const other = await pushImage(mirror.hub.client, 'team/other', 'v1')
    for (const rest of ['manifests/v1', `manifests/${other.digest}`]) {
      expectError(await ask('team/other', rest), 404, 'MANIFEST_UNKNOWN')
    }
    expectError(await ask('team/deeper/other'), 404, 'MANIFEST_UNKNOWN')
    expectError(await ask('team/other', 'tags/list'), 404, 'NAME_UNKNOWN')
    expect(mirror.asked()).toEqual([])

    expect((await ask('team/other?ns=docker.io')).body).toEqual(other.bytes)
    mirror.forget()
    expectError(await ask('team/other'), 404, 'MANIFEST_UNKNOWN')
    expectError(await ask('team/other', `blobs/${sha256(other.layer)}`), 404, 'BLOB_UNKNOWN')
    expect(mirror.asked()).toEqual([])
  })

  it('has to be in that very namespace', async () => {
    await pushImage(mirror.client, 'team/app', 'v1')
    await pushImage(mirror.client, 'tea', 'v1')
    for (const name of ['tea/other', 'team2/other', 'team-2/other']) {
      const image = await pushImage(mirror.hub.client, name, 'v1')
      expect((await ask(name)).body).toEqual(image.bytes)
    }
  })

  it('has no namespace where images of Docker have theirs', async () => {
    await pushImage(mirror.client, 'library/mine', 'v1')
    const other = await pushImage(mirror.hub.client, 'library/other', 'v1')
    for (const name of ['library/other', 'other']) {
      expect((await ask(name)).body).toEqual(other.bytes)
    }
  })

  it('shadows an upstream that is configured later, and takes pushes as before', async () => {
    const { upstreams } = mirror.here.registry.registry.pullThrough
    const configured = upstreams.all
    upstreams.replace([])
    const name = 'docker.io/library/old'
    const hosted = await pushImage(mirror.client, name, 'v1')
    const ofHub = await pushImage(mirror.hub.client, 'library/old', 'v1')
    upstreams.replace(configured)

    for (const asked of [name, 'docker.io/old', 'old', 'library/old?ns=docker.io']) {
      expect((await ask(asked)).body).toEqual(hosted.bytes)
      expectError(await ask(asked, `manifests/${ofHub.digest}`), 404, 'MANIFEST_UNKNOWN')
    }
    expect(mirror.asked()).toEqual([])
    const next = await pushImage(mirror.client, name, 'v2')
    expect((await ask('old', 'manifests/v2')).body).toEqual(next.bytes)
  })
})

describe('a push by a name without a prefix', () => {
  it('tells nobody of it', async () => {
    const { client } = mirror
    const bytes = someBytes()
    expectStatus(await client.head(`/v2/new/app/blobs/${sha256(bytes)}`), 404)
    expectStatus(await client.get(`/v2/new/app/blobs/${sha256(bytes)}`), 404)
    expectStatus(await client.head(`/v2/new/blobs/${sha256(bytes)}`), 404)
    await pushBlob(client, 'new/app', bytes)
    await client.delete(await startUpload(client, 'new/app'))
    await pushImage(client, 'new/app', 'v1')
    expectStatus(await client.delete('/v2/new/app/manifests/v1'), 202)
    expectStatus(await client.delete('/v2/unknown/app/manifests/v1'), 404)
    expectStatus(await client.delete(`/v2/unknown/app/blobs/${sha256(bytes)}`), 404)
    const mount = `/v2/other/app/blobs/uploads/?mount=${sha256('x')}&from=library/alpine`
    expectStatus(await client.send('POST', mount), 202)
    expect(mirror.asked()).toEqual([])
  })

  it.each(['library/some', 'some', 'some/app'])(
    'to %s goes here, though it is kept of an upstream',
    async (name) => {
      const remote = name.includes('/') ? name : `library/${name}`
      const ofHub = await pushImage(mirror.hub.client, remote, 'v1')
      expect((await ask(name)).body).toEqual(ofHub.bytes)
      mirror.forget()
      const hosted = await pushImage(mirror.client, name, 'v1')
      expect((await ask(name)).body).toEqual(hosted.bytes)
      expect(mirror.asked()).toEqual([])
      expect((await ask(`docker.io/${name}`)).body).toEqual(ofHub.bytes)
    },
  )

  it('is of no use to who asks for lists of what was never pulled', async () => {
    const { digest } = await pushImage(mirror.hub.client, 'library/alpine', 'v1')
    expectError(await ask('library/alpine', 'tags/list'), 404, 'NAME_UNKNOWN')
    await ask('library/alpine', `referrers/${digest}`)
    expect(mirror.asked()).toEqual([])
    expectStatus(await ask('library/alpine'), 200)
    expectStatus(await ask('library/alpine', 'tags/list'), 200)
  })
})
