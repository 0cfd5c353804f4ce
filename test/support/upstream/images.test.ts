import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addUser, basic, type GuardedRegistry, runGuarded } from '../../acceptance/accounts.ts'
import { sha256 } from '../../acceptance/client.ts'
import { OCI_INDEX, OCI_MANIFEST } from '../../acceptance/images.ts'
import {
  describeWithDockerRegistry,
  type ForeignRegistry,
  openDockerRegistry,
} from './docker-registry.ts'
import { type PushTarget, pushRandomImage } from './images.ts'
import { pull } from './pull.ts'
import { openUpstreamRegistry } from './second-slipway.ts'

describe('an image in Slipway', () => {
  let running: GuardedRegistry
  beforeAll(async () => {
    running = await runGuarded()
  })
  afterAll(() => running.close())

  describeImages(() => ({
    url: `http://${running.registry.host}`,
    authorization: running.admin.authorization,
  }))

  it('is pushed by those who may', async () => {
    await addUser(running.access, 'nobody')
    const target = { url: `http://${running.registry.host}`, authorization: basic('nobody') }
    await expect(pushRandomImage(target, { repository: 'a' })).rejects.toThrow(
      /^POST \/v2\/a\/blobs\/uploads\/ was answered 40[13]: /,
    )
  })
})

describeWithDockerRegistry('an image in docker-registry', () => {
  let registry: ForeignRegistry
  beforeAll(async () => {
    registry = await openDockerRegistry()
  })
  afterAll(() => registry.close())

  describeImages(() => registry)

  it('is gone with it', async () => {
    const other = await openDockerRegistry()
    expect((await pull(`${other.url}/v2/`)).status).toBe(200)
    await other.close()
    await expect(pull(`${other.url}/v2/`)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

function describeImages(target: () => PushTarget): void {
  const get = (path: string) => {
    const { url, authorization } = target()
    const accepted = { Accept: `${OCI_MANIFEST}, ${OCI_INDEX}` }
    return pull(
      url + path,
      authorization === undefined ? accepted : { ...accepted, Authorization: authorization },
    )
  }

  it('has layers of the sizes that were asked for, which are like no others', async () => {
    const options = { repository: 'some/app', tag: 'v1', layers: [0, 5, 2_500_000] }
    const image = await pushRandomImage(target(), options)
    expect(image).toMatchObject({ repository: 'some/app', tag: 'v1', mediaType: OCI_MANIFEST })
    expect(image.layers.map(({ size }) => size)).toEqual([0, 5, 2_500_000])

    const manifest = await get('/v2/some/app/manifests/v1')
    expect(manifest).toMatchObject({ status: 200, body: image.bytes })
    expect(sha256(manifest.body)).toBe(image.digest)
    for (const { digest, size } of [...image.layers, ...image.configs]) {
      const { body } = await get(`/v2/some/app/blobs/${digest}`)
      expect([body.length, sha256(body)]).toEqual([size, digest])
    }
    const again = await pushRandomImage(target(), options)
    expect(again.layers[2]?.digest).not.toBe(image.layers[2]?.digest)
  })

  it('may be one for each of several architectures', async () => {
    const options = { repository: 'multi', layers: [10, 20], architectures: ['amd64', 'arm64'] }
    const image = await pushRandomImage(target(), options)
    expect((await get('/v2/multi/manifests/latest')).body).toEqual(image.bytes)
    const { manifests } = JSON.parse(image.bytes.toString()) as { manifests: { digest: string }[] }
    expect(manifests.map(({ digest }) => digest)).toEqual(
      image.children.map(({ digest }) => digest),
    )
    for (const { digest, bytes } of image.children) {
      expect((await get(`/v2/multi/manifests/${digest}`)).body).toEqual(bytes)
    }
    expect(new Set(image.layers.map(({ digest }) => digest)).size).toBe(4)
    expect(image.configs).toHaveLength(2)
  })
}

describe('a second Slipway', () => {
  it('lets its user pull with a token, and nobody without', async () => {
    const upstream = await openUpstreamRegistry()
    try {
      const { url, credentials } = upstream
      const image = await upstream.push({ repository: 'team/app' })
      const manifest = `${url}/v2/team/app/manifests/latest`
      const refused = await pull(manifest)
      expect(refused.status).toBe(401)
      expect(refused.headers['www-authenticate']).toContain(`realm="${url}/token"`)

      const asked = `${url}/token?service=slipway&scope=repository:team/app:pull,push`
      const { username, password } = credentials
      const answer = await pull(asked, { Authorization: basic(username, password) })
      const { token } = JSON.parse(answer.body.toString()) as { token: string }
      const bearer = { Authorization: `Bearer ${token}` }
      expect(await pull(manifest, bearer)).toMatchObject({ status: 200, body: image.bytes })
      const push = { url, authorization: bearer.Authorization }
      await expect(pushRandomImage(push, { repository: 'team/app' })).rejects.toThrow(' 401')
    } finally {
      await upstream.close()
    }
  })
})
