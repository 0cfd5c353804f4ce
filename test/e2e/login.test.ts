import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import {
  type Account,
  admin,
  alice,
  base64,
  bob,
  linesOf,
  manifestRequests,
  startSlipwayWithAccounts,
  tokenRequests,
} from './support/accounts.ts'
import { lacks } from './support/clients.ts'
import { type Docker, startDockerd } from './support/dockerd.ts'
import {
  blobUploads,
  type Exchange,
  type RecordingProxy,
  startRecordingProxy,
} from './support/recording-proxy.ts'
import { startThrottlingProxy } from './support/throttling-proxy.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const mebibyte = 2 ** 20

const denied = { code: 1, stderr: 'denied: requested access to the resource is denied\n' }

describe.skipIf(lacks('dockerd', 'docker', 'root'))('a Docker client', () => {
  let workspace: Workspace
  let proxy: RecordingProxy
  let builder: Docker
  let puller: Docker

  beforeAll(async () => {
    workspace = await openWorkspace()
    const slipway = await startSlipwayWithAccounts(workspace)
    proxy = await startRecordingProxy(workspace, slipway.host)
    builder = await startDockerd(workspace, 'builder')
    puller = await startDockerd(workspace, 'puller')
  })
  beforeEach(() => void proxy.take())
  afterAll(() => workspace.close())

  it('cannot log in with a wrong password, and can with the right one', async () => {
    const client = clientOf(builder)
    const complaint = `Get "http://${proxy.host}/v2/": unauthorized: authentication required`

    await expect(client.login({ ...admin, password: 'wrong' })).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining(complaint),
    })
    expect(linesOf(proxy.take())).toEqual(['GET /v2/ 401', 'GET /token 401'])
    expect(await client.logins()).toEqual({})

    expect(await client.login(admin)).toBe('Login Succeeded')
    expect(linesOf(proxy.take())).toEqual(['GET /v2/ 401', 'GET /token 200', 'GET /v2/ 200'])
  })

  it('keeps an identity token in place of the password of an account', async () => {
    const client = await loggedIn(builder, admin)

    expect(await client.logins()).toEqual({
      [proxy.host]: {
        auth: base64('admin:'),
        identitytoken: expect.stringMatching(/^slipi_[\w-]{43}$/),
      },
    })

    const image = await build('team/by-identity-token:1')
    await client.docker('push', image)
    const exchanges = proxy.take()
    expect(linesOf(tokenRequests(exchanges))).toEqual(['POST /token 200'])
    expect(linesOf(exchanges).at(-1)).toBe('PUT /v2/team/by-identity-token/manifests/1 201')
  })

  it('keeps the password of a user of the htpasswd file, who gets no identity token', async () => {
    const client = await loggedIn(builder, alice)

    expect(await client.logins()).toEqual({
      [proxy.host]: { auth: base64(`${alice.name}:${alice.password}`) },
    })

    const image = await build('team/by-password:1')
    await client.docker('push', image)
    const exchanges = proxy.take()
    expect(linesOf(tokenRequests(exchanges))).toEqual(['GET /token 200'])
    expect(linesOf(exchanges).at(-1)).toBe('PUT /v2/team/by-password/manifests/1 201')
  })

  it('pulls a private image with a login, and without one not even learns of it', async () => {
    const image = await build('team/private:1')
    await (await loggedIn(builder, alice)).docker('push', image)
    proxy.take()

    const stranger = clientOf(puller)
    for (const name of ['team/private', 'team/not-there']) {
      await expect(stranger.docker('pull', `${proxy.host}/${name}:1`)).rejects.toMatchObject({
        code: 1,
        stderr: `Error response from daemon: pull access denied for ${proxy.host}/${name}, repository does not exist or may require 'docker login': denied: requested access to the resource is denied\n`,
      })
      expect(linesOf(proxy.take())).toEqual([
        'GET /v2/ 401',
        'GET /token 200',
        `HEAD /v2/${name}/manifests/1 401`,
        `GET /v2/${name}/manifests/1 401`,
      ])
    }

    await (await loggedIn(puller, bob)).docker('pull', image)
    await expectSameDigest('team/private')
  })

  it('mounts a layer from a repository it may pull from, into one that anybody may', async () => {
    const client = await loggedIn(builder, alice)
    const image = await build('team/mounted:1')
    await client.docker('push', image)
    proxy.take()

    await client.docker('tag', image, `${proxy.host}/public/mounted:1`)
    await client.docker('push', `${proxy.host}/public/mounted:1`)

    const exchanges = proxy.take()
    expect(mounts(exchanges)).toEqual([
      { from: 'team/mounted', digest: expect.stringMatching(/^sha256:/), status: 201 },
    ])
    // the config is always uploaded
    expect(uploadedDigests(exchanges)).toHaveLength(1)
    expect(uploadedDigests(exchanges)).not.toContain(mounts(exchanges)[0]?.digest)
    expect(await clientOf(puller).docker('pull', `${proxy.host}/public/mounted:1`)).toContain(
      'Downloaded newer image',
    )
    await expectSameDigest('public/mounted')
  })

  it('uploads a layer that it cannot mount, because it may not pull from the source', async () => {
    const image = await build('team/secret/app:1')
    await (await loggedIn(builder, alice)).docker('push', image)
    const client = await loggedIn(builder, bob)
    proxy.take()

    await client.docker('tag', image, `${proxy.host}/bob/app:1`)
    await client.docker('push', `${proxy.host}/bob/app:1`)

    const exchanges = proxy.take()
    expect(mounts(exchanges)).toEqual([
      { from: 'team/secret/app', digest: expect.stringMatching(/^sha256:/), status: 202 },
    ])
    expect(uploadedDigests(exchanges)).toHaveLength(2)
    expect(uploadedDigests(exchanges)).toContain(mounts(exchanges)[0]?.digest)
    expect(linesOf(exchanges).at(-1)).toBe('PUT /v2/bob/app/manifests/1 201')
  })

  it('is told once and for all that it may not push to where it may only pull', async () => {
    const owner = await loggedIn(builder, alice)
    const reader = await loggedIn(builder, bob)
    const image = await build('team/read-only:1')
    proxy.take()

    await expect(reader.docker('push', image)).rejects.toMatchObject(denied)
    expect(linesOf(proxy.take())).toEqual([
      'GET /v2/ 401',
      'GET /token 200',
      'POST /v2/team/read-only/blobs/uploads/ 401',
    ])

    // with all blobs there already it is the manifest that is refused
    await owner.docker('push', image)
    proxy.take()
    await expect(reader.docker('push', image)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('denied: requested access to the resource is denied\n'),
    })
    expect(manifestRequests(proxy.take(), 'PUT')).toEqual([
      'PUT /v2/team/read-only/manifests/1 401',
    ])
  })

  it('may push to an immutable tag what it names already, and nothing else', async () => {
    const client = await loggedIn(builder, alice)
    const image = await build('team/fixed:v1')
    const target = '/v2/team/fixed/manifests/v1'
    await client.docker('push', image)
    await client.docker('push', image)
    expect(manifestRequests(proxy.take(), 'PUT')).toEqual([
      `PUT ${target} 201`,
      `PUT ${target} 201`,
    ])
    await (await loggedIn(puller, bob)).docker('pull', image)
    const first = await puller.digestOf(`${proxy.host}/team/fixed`)

    for (const account of [alice, admin]) {
      await builder.build(image, `other content of ${account.name}`)
      const other = await loggedIn(builder, account)
      await expect(other.docker('push', image)).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^denied: .+\n$/),
      })
      expect(manifestRequests(proxy.take(), 'PUT')).toEqual([`PUT ${target} 403`])
    }

    expect(await (await loggedIn(puller, bob)).docker('pull', image)).toContain(first)
  })

  it('may not push any more after it has logged out', async () => {
    const client = await loggedIn(builder, admin)
    const image = await build('team/logged-out:1')
    await client.docker('push', image)
    proxy.take()

    await client.docker('logout', proxy.host)

    expect(await client.logins()).toEqual({})
    await expect(client.docker('push', image)).rejects.toMatchObject(denied)
    const [ping, token, ...others] = linesOf(proxy.take())
    expect([ping, token]).toEqual(['GET /v2/ 401', 'GET /token 200'])
    expect(others.filter((line) => !line.endsWith(' 401'))).toEqual([])
  })

  it.skipIf(process.env['SLIPWAY_TEST_SLOW'] === undefined)(
    'goes on with a new token after an upload that outlives the first (takes 100 s: only with SLIPWAY_TEST_SLOW)',
    async () => {
      const own = await openWorkspace()
      onTestFinished(() => own.close())
      const slipway = await startSlipwayWithAccounts(own, { SLIPWAY_TOKENS_SECONDS: '60' })
      // Tokens are taken for 30 s more than they say, for clocks that differ.
      const slow = await startThrottlingProxy(own, slipway.host, (4 * mebibyte) / 100)
      const recording = await startRecordingProxy(own, slow)
      const client = clientOf(builder)
      await client.login(admin, recording.host)
      const image = `${recording.host}/team/slow:1`
      await builder.build(image, randomBytes(4 * mebibyte))
      recording.take()

      await client.docker('push', image)

      const exchanges = recording.take()
      const layer = exchanges.findIndex(({ requestBytes }) => requestBytes > 4 * mebibyte)
      const session = exchanges[layer]?.target
      expect(linesOf(exchanges.slice(0, layer + 1))).toEqual([
        'GET /v2/ 401',
        'POST /token 200',
        'POST /v2/team/slow/blobs/uploads/ 202',
        `PATCH ${session} 202`,
      ])
      const after = linesOf(exchanges.slice(layer + 1))
      expect(after.slice(0, 2)).toEqual(['POST /token 200', `PUT ${session} 201`])
      expect(after.at(-1)).toBe('PUT /v2/team/slow/manifests/1 201')
      expect(after.filter((line) => line.endsWith(' 401'))).toEqual([])
    },
  )

  interface Client {
    docker(this: void, ...args: string[]): Promise<string>
    login(this: void, account: Account, host?: string): Promise<string>
    /** What it keeps of its logins, by host. */
    logins(this: void): Promise<object>
  }

  /** A client as somebody has it who uses the same daemon, with no logins yet. */
  function clientOf({ docker }: Docker): Client {
    const folder = path.join(workspace.directory, `client-${randomBytes(8).toString('hex')}`)
    const own: Docker['docker'] = (...args) => docker('--config', folder, ...args)
    return {
      docker: own,
      login: ({ name, password }, host = proxy.host) =>
        own('login', '--username', name, '--password', password, host),
      logins: async () => {
        const file = path.join(folder, 'config.json')
        const content = await readFile(file, 'utf8').catch(() => '{}')
        return (JSON.parse(content) as { auths?: object }).auths ?? {}
      },
    }
  }

  async function loggedIn(daemon: Docker, account: Account): Promise<Client> {
    const client = clientOf(daemon)
    await client.login(account)
    proxy.take()
    return client
  }

  /** Gives the image with its host; no two have a layer in common. */
  async function build(name: string): Promise<string> {
    const image = `${proxy.host}/${name}`
    await builder.build(image, `made for ${name}`)
    return image
  }

  async function expectSameDigest(name: string): Promise<void> {
    const repository = `${proxy.host}/${name}`
    expect(await puller.digestOf(repository)).toBe(await builder.digestOf(repository))
  }
})

function mounts(exchanges: readonly Exchange[]) {
  return exchanges
    .map(({ target, status }) => ({ query: new URL(target, 'http://proxy').searchParams, status }))
    .filter(({ query }) => query.has('mount'))
    .map(({ query, status }) => ({ from: query.get('from'), digest: query.get('mount'), status }))
}

function uploadedDigests(exchanges: readonly Exchange[]): (string | null)[] {
  return blobUploads(exchanges)
    .filter(({ method, status }) => method === 'PUT' && status === 201)
    .map(({ target }) => new URL(target, 'http://proxy').searchParams.get('digest'))
}
