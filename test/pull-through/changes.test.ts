import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type Client,
  expectBlob,
  expectError,
  expectStatus,
  pushBlob,
  sha256,
  someBytes,
} from '../acceptance/client.ts'
import { artifact, type Image, pushEmpty, pushImage, putManifest } from '../acceptance/images.ts'
import { type Mirror, openMirror, pathOf } from './mirror.ts'

const UUID = '3d2b2c56-4b0f-4f0b-9d5c-1c1f3a1c2b4d'

let mirror: Mirror
let client: Client
let image: Image

beforeAll(async () => {
  mirror = await openMirror({ hub: { prefix: 'mirrors/hub', deny: ['secret/**'] } })
  client = mirror.client
  image = await pushImage(mirror.hub.client, 'library/alpine', 'v1')
})
afterAll(() => mirror.close())
beforeEach(() => mirror.forget())

const pull = (name: string, rest = 'manifests/v1') => client.get(pathOf(name, rest))

async function hostedNames(): Promise<readonly string[]> {
  const { rows } = await mirror.here.registry.database.pool.query<{ name: string }>(
    `select name from repositories where kind = 'hosted'`,
  )
  return rows.map(({ name }) => name)
}

/** What changes a repository, by the rest of its path. */
const CHANGES: readonly (readonly [what: string, method: string, rest: string])[] = [
  ['an upload', 'POST', 'blobs/uploads/'],
  ['an upload by the way of clients that forget the slash', 'POST', 'blobs/uploads'],
  ['a mount', 'POST', `blobs/uploads/?mount=${sha256('x')}&from=team/base`],
  ['a mount from anywhere', 'POST', `blobs/uploads/?mount=${sha256('x')}`],
  ['a blob at once', 'POST', `blobs/uploads/?digest=${sha256('x')}`],
  ['a chunk', 'PATCH', `blobs/uploads/${UUID}`],
  ['the end of an upload', 'PUT', `blobs/uploads/${UUID}?digest=${sha256('x')}`],
  ['what there is of an upload', 'GET', `blobs/uploads/${UUID}`],
  ['the end without a blob', 'DELETE', `blobs/uploads/${UUID}`],
  ['a manifest', 'PUT', 'manifests/v1'],
  ['a manifest by digest', 'PUT', `manifests/${sha256('x')}`],
]

describe('a push to what an upstream has', () => {
  const names = ['docker.io/library/alpine', 'docker.io/new', 'mirrors/hub/team/app', 'quay.io/a/b']
  const cases = names.flatMap((name) => CHANGES.map((change) => [name, ...change] as const))

  it.each(cases)('to %s is refused: %s', async (name, _, method, rest) => {
    const answer = await client.send(method, `/v2/${name}/${rest}`, { body: 'x' })
    expectError(answer, 403, 'DENIED')
    const upstream = name.startsWith('quay.io/') ? 'quay.io' : 'docker.io'
    const [repository] = /(?:docker|quay)\.io\/[a-z/]+/.exec(answer.body.toString()) ?? []
    expect(answer.body.toString()).toContain(`is kept of ${upstream}, and cannot be pushed to`)
    expect(repository?.startsWith(`${upstream}/`)).toBe(true)
    expect(mirror.asked()).toEqual([])
    expect(await hostedNames()).toEqual([])
  })

  it('is refused by its namespace too', async () => {
    for (const path of ['blobs/uploads/?ns=docker.io', 'blobs/uploads/?ns=quay.io']) {
      expectError(await client.send('POST', `/v2/team/app/${path}`), 403, 'DENIED')
    }
  })

  it('is refused where the upstream must not be asked as well', async () => {
    const answer = await client.send('POST', '/v2/docker.io/secret/app/blobs/uploads/')
    expectError(answer, 403, 'DENIED')
  })
})

describe('a blob that is kept of an upstream', () => {
  it('can be mounted into a repository here, and is its own then', async () => {
    const { layer } = await pushImage(mirror.hub.client, 'library/base', 'v1')
    expect((await pull('docker.io/library/base', `blobs/${sha256(layer)}`)).body).toEqual(layer)
    mirror.forget()
    const query = `mount=${sha256(layer)}&from=docker.io/library/base`
    const mounted = await client.send('POST', `/v2/mine/app/blobs/uploads/?${query}`)
    expectStatus(mounted, 201)
    expect(mounted.headers.location).toBe(`/v2/mine/app/blobs/${sha256(layer)}`)
    await expectBlob(client, 'mine/app', layer)
    expect(mirror.asked()).toEqual([])
  })

  it('is not brought by a mount', async () => {
    const { layer } = await pushImage(mirror.hub.client, 'library/base', 'v2')
    const query = `mount=${sha256(layer)}&from=docker.io/library/base`
    expectStatus(await client.send('POST', `/v2/mine/app/blobs/uploads/?${query}`), 202)
    expect(mirror.asked()).toEqual([])
  })

  it('lets what is pushed here name it only where it is linked', async () => {
    const kept = await pushImage(mirror.hub.client, 'library/base', 'v3')
    const digest = sha256(kept.layer)
    await pull('docker.io/library/base', `blobs/${digest}`)
    const layer = { mediaType: 'application/octet-stream', digest, size: kept.layer.length }
    await pushEmpty(client, 'mine/other')
    const named = artifact({ layers: [layer] })
    expectError(await putManifest(client, 'mine/other', 'v1', named), 400, 'MANIFEST_BLOB_UNKNOWN')
    await pushBlob(client, 'mine/other', kept.layer)
    expectStatus(await putManifest(client, 'mine/other', 'v1', named), 201)
  })

  it('is brought although something hosted has it: the upstream has to prove that it has it too', async () => {
    const bytes = someBytes(5000)
    await pushBlob(client, 'mine/app', bytes)
    await pushBlob(mirror.hub.client, 'library/shared', bytes)
    const answer = await pull('docker.io/shared', `blobs/${sha256(bytes)}`)
    expect(answer.body).toEqual(bytes)
    const [asked, ...others] = mirror.asked()
    expect(asked).toMatchObject({ method: 'GET', kind: 'blob', status: 200 })
    expect(others).toEqual([])
  })

  it('is no way to what another repository has and the upstream has not', async () => {
    const bytes = someBytes(5000)
    await pushBlob(client, 'mine/app', bytes)
    expectError(await pull('docker.io/alpine', `blobs/${sha256(bytes)}`), 404, 'BLOB_UNKNOWN')
  })
})

const keep = async () => {
  await pull('docker.io/alpine')
  await pull('docker.io/alpine', `blobs/${sha256(image.layer)}`)
  mirror.forget()
}

describe('what is kept of an upstream can be deleted', () => {
  const tagPath = '/v2/library/alpine/manifests/v1'
  it.each(['docker.io/library/alpine', 'mirrors/hub/alpine', 'alpine?ns=docker.io'])(
    'as %s, and is asked for again then',
    async (name) => {
      await keep()
      const remove = (rest: string) => client.delete(pathOf(name, rest))
      expectError(await remove(`blobs/${sha256(image.layer)}`), 405, 'UNSUPPORTED')
      expectStatus(await remove('manifests/v1'), 202)
      expect((await pull('docker.io/alpine')).body).toEqual(image.bytes)
      expect(mirror.asked().map(({ path }) => path)).toEqual([tagPath])

      expectStatus(await remove(`manifests/${image.digest}`), 202)
      expectStatus(await remove(`blobs/${sha256(image.layer)}`), 202)
      expectError(await remove(`manifests/${image.digest}`), 404, 'MANIFEST_UNKNOWN')
      mirror.forget()
      expect((await pull(name)).body).toEqual(image.bytes)
      expect((await pull(name, `blobs/${sha256(image.layer)}`)).body).toEqual(image.layer)
      const kinds = mirror.asked().map(({ method, kind }) => `${method} ${kind}`)
      expect(kinds).toEqual(['HEAD manifest', 'GET manifest', expect.stringMatching(/ blob$/)])
    },
  )

  it('but not by the name that a mirror of Docker has for it', async () => {
    await keep()
    const answers = [
      await client.delete('/v2/library/alpine/manifests/v1'),
      await client.delete(`/v2/library/alpine/manifests/${image.digest}`),
      await client.delete(`/v2/library/alpine/blobs/${sha256(image.layer)}`),
    ]
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404])
    expect((await pull('alpine')).headers['cache-status']).toBe('Slipway; hit')
  })

  it('as a whole repository', async () => {
    await keep()
    expectStatus(await client.delete('/api/v1/repositories/docker.io/library/alpine'), 202)
    expect((await pull('alpine')).body).toEqual(image.bytes)
    expect(mirror.asked()).not.toEqual([])
  })
})
