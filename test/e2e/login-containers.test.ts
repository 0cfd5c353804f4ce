import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type Account,
  admin,
  alice,
  base64,
  bob,
  fetchIdentityToken,
  linesOf,
  manifestRequests,
  scopesOf,
  startSlipwayWithAccounts,
  tokenRequests,
} from './support/accounts.ts'
import { lacks, program } from './support/clients.ts'
import { type Ctr, startContainerd } from './support/containerd.ts'
import { podmanWithStore, writeBuildContext } from './support/containers.ts'
import { type Layout, writeImage } from './support/images.ts'
import { run } from './support/process.ts'
import { blobUploads, type RecordingProxy, startRecordingProxy } from './support/recording-proxy.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const plainHttp = '--tls-verify=false'
const denied = 'denied: requested access to the resource is denied'

describe('with accounts', () => {
  let workspace: Workspace
  let proxy: RecordingProxy

  beforeAll(async () => {
    workspace = await openWorkspace()
    const slipway = await startSlipwayWithAccounts(workspace)
    proxy = await startRecordingProxy(workspace, slipway.host)
  })
  beforeEach(() => void proxy.take())
  afterAll(() => workspace.close())

  describe.skipIf(lacks('skopeo'))('skopeo', () => {
    it('cannot log in with a wrong password, and can with the right one', async () => {
      const skopeo = newSkopeo()

      await expect(logIn(skopeo, { ...alice, password: 'wrong' })).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringContaining('invalid username/password'),
      })
      expect(linesOf(proxy.take())).toEqual(['GET /v2/ 401', 'GET /token 401'])

      expect(await logIn(skopeo, alice)).toBe('Login Succeeded!')
      expect(linesOf(proxy.take())).toEqual(['GET /v2/ 401', 'GET /token 200', 'GET /v2/ 200'])
    })

    it('pushes, inspects, lists and deletes with a login, and not after a logout', async () => {
      const skopeo = newSkopeo()
      await logIn(skopeo, alice)
      const layout = await imageOf('copied')
      const repository = `docker://${proxy.host}/team/copied`

      await copy(skopeo, source(layout), `${repository}:1`)
      const inspected = await skopeo('inspect', plainHttp, `${repository}:1`)
      expect(JSON.parse(inspected)).toMatchObject({ Digest: layout.root.digest, RepoTags: ['1'] })
      expect(await tagsOf(skopeo, repository)).toEqual(['1'])
      await skopeo('delete', plainHttp, `${repository}:1`)
      expect(await tagsOf(skopeo, repository)).toEqual([])

      await skopeo('logout', proxy.host)
      await expect(copy(skopeo, source(layout), `${repository}:1`)).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringContaining(denied),
      })
    })

    it('copies between repositories by mounting, with one token for both', async () => {
      const layout = await imageOf('mounted')
      const from = `docker://${proxy.host}/team/mounted:1`
      await copy(await loggedIn(alice), source(layout), from)
      const skopeo = await loggedIn(bob)

      await copy(skopeo, from, `docker://${proxy.host}/bob/mounted:1`)

      const exchanges = proxy.take()
      const mounts = exchanges.filter(({ target }) => target.includes('mount='))
      expect(linesOf(mounts)).toEqual(['POST /v2/bob/mounted/blobs/uploads/ 201'])
      expect(tokenRequests(exchanges).map(scopesOf)).toContainEqual([
        'repository:bob/mounted:pull,push',
        'repository:team/mounted:pull',
      ])
      // skopeo mounts layers only, the config is always uploaded
      expect(blobUploads(exchanges).filter(({ method }) => method === 'PUT')).toHaveLength(1)
    })

    it('uses the identity token that docker keeps, for two repositories at once as well', async () => {
      const file = path.join(workspace.directory, 'docker-config.json')
      const identitytoken = await fetchIdentityToken(proxy.host, admin)
      const login = { auth: base64(`${admin.name}:`), identitytoken }
      await writeFile(file, JSON.stringify({ auths: { [proxy.host]: login } }))
      proxy.take()
      const skopeo = skopeoWith(file)
      const layout = await imageOf('by-identity-token')
      const from = `docker://${proxy.host}/admin/by-identity-token:1`
      await copy(skopeo, source(layout), from)

      await copy(skopeo, from, `docker://${proxy.host}/admin/mounted:1`)

      const exchanges = proxy.take()
      expect(new Set(linesOf(tokenRequests(exchanges)))).toEqual(new Set(['POST /token 200']))
      const mounts = exchanges.filter(({ target }) => target.includes('mount='))
      expect(linesOf(mounts)).toEqual(['POST /v2/admin/mounted/blobs/uploads/ 201'])
    })

    it('goes by the credentials of the command, right or wrong', async () => {
      const layout = await imageOf('credentials')
      const image = `docker://${proxy.host}/admin/credentials:1`
      const skopeo = newSkopeo()

      const wrong = copy(skopeo, source(layout), image, '--dest-creds', `${admin.name}:wrong`)
      await expect(wrong).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringContaining('invalid username/password: unauthorized'),
      })
      expect(linesOf(proxy.take())).toEqual(['GET /v2/ 401', 'GET /token 401'])

      const right = ['--dest-creds', `${admin.name}:${admin.password}`]
      await copy(skopeo, source(layout), image, ...right)
      expect(linesOf(proxy.take()).at(-1)).toBe('PUT /v2/admin/credentials/manifests/1 201')
    })

    it('is refused what its user may not do', async () => {
      const fixed = await imageOf('fixed')
      const image = `docker://${proxy.host}/team/fixed:v1`
      const owner = await loggedIn(alice)
      await copy(owner, source(fixed), image)
      const reader = await loggedIn(bob)
      const other = source(await imageOf('other'))

      await expect(copy(reader, other, image)).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringContaining(denied),
      })
      const begun = proxy.take().filter(({ method }) => method === 'POST')
      // once more with a token for the scope of the challenge
      expect(linesOf(begun)).toEqual([
        'POST /v2/team/fixed/blobs/uploads/ 401',
        'POST /v2/team/fixed/blobs/uploads/ 401',
      ])

      await expect(copy(owner, other, image)).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringContaining('uploading manifest v1'),
      })
      expect(manifestRequests(proxy.take(), 'PUT')).toEqual(['PUT /v2/team/fixed/manifests/v1 403'])

      const byDigest = `DELETE /v2/team/fixed/manifests/${fixed.root.digest}`
      await expect(reader('delete', plainHttp, image)).rejects.toMatchObject({ code: 1 })
      expect(manifestRequests(proxy.take(), 'DELETE')).toEqual([
        `${byDigest} 401`,
        `${byDigest} 401`,
      ])
      await expect(owner('delete', plainHttp, image)).rejects.toMatchObject({ code: 1 })
      expect(manifestRequests(proxy.take(), 'DELETE')).toEqual([`${byDigest} 403`])
    })

    it('reads what is public without a login, and learns nothing of what is not', async () => {
      const layout = await imageOf('readable')
      const owner = await loggedIn(alice)
      const registry = `docker://${proxy.host}`
      await copy(owner, source(layout), `${registry}/public/readable:1`)
      await copy(owner, source(layout), `${registry}/team/readable:1`)
      const skopeo = newSkopeo()

      expect(await tagsOf(skopeo, `${registry}/public/readable`)).toEqual(['1'])
      await copy(skopeo, `${registry}/public/readable:1`, `dir:${layout.directory}-pulled`)

      const refusals = []
      for (const name of ['readable', 'missing']) {
        const image = `${registry}/team/${name}:1`
        const refusal = await skopeo('inspect', '--raw', plainHttp, image).catch(String)
        refusals.push(refusal.replaceAll(name, '').replace(/time="[^"]*"/, ''))
      }
      expect(refusals[0]).toContain(denied)
      expect(refusals[1]).toBe(refusals[0])
    })
  })

  describe.skipIf(lacks('podman', 'root'))('podman', () => {
    it('logs in, pushes, pulls and logs out', async () => {
      const podman = await podmanWithStore(workspace, 'podman')
      const image = `${proxy.host}/team/podman:1`
      const context = await writeBuildContext(workspace, 'context', 'built by podman')
      await podman('build', '--quiet', '--tag', image, context)
      const push = () => podman('push', '--quiet', plainHttp, image)
      const refused = { code: 125, stderr: expect.stringContaining(denied) }

      await expect(logIn(podman, { ...alice, password: 'wrong' })).rejects.toMatchObject({
        code: 125,
        stderr: `Error: logging into "${proxy.host}": invalid username/password\n`,
      })
      await expect(push()).rejects.toMatchObject(refused)
      expect(await logIn(podman, alice)).toBe('Login Succeeded!')
      await push()

      const other = await podmanWithStore(workspace, 'podman-other')
      const pull = () => other('pull', '--quiet', plainHttp, image)
      await expect(pull()).rejects.toMatchObject(refused)
      await logIn(other, bob)
      expect(await pull()).toBe(await podman('image', 'inspect', '--format', '{{.Id}}', image))
      proxy.take()
      await expect(other('push', '--quiet', plainHttp, image)).rejects.toMatchObject(refused)
      expect(manifestRequests(proxy.take(), 'PUT')).toEqual(['PUT /v2/team/podman/manifests/1 401'])

      await podman('logout', proxy.host)
      await expect(push()).rejects.toMatchObject(refused)
    })
  })

  describe.skipIf(lacks('containerd', 'ctr', 'root'))('containerd', () => {
    let pusher: Ctr
    let puller: Ctr

    beforeAll(async () => {
      pusher = await startContainerd(workspace, 'ctr')
      puller = await startContainerd(workspace, 'ctr-other')
    })

    it('gets its tokens by POST, pushes and pulls', async () => {
      const image = await imported('team/containerd:1')

      await push(image, alice)
      const pushed = proxy.take()
      expect(new Set(linesOf(tokenRequests(pushed)))).toEqual(new Set(['POST /token 200']))
      expect(linesOf(pushed).at(-1)).toBe('PUT /v2/team/containerd/manifests/1 201')

      await pull(image, bob)
      const pulled = linesOf(tokenRequests(proxy.take()))
      expect(new Set(pulled)).toEqual(new Set(['POST /token 200']))
      expect(await digestIn(puller, image)).toBe(await digestIn(pusher, image))
    })

    it('is refused without a user, with a wrong password, and where the user may not', async () => {
      const image = await imported('team/refused:1')
      const refused = { code: 1, stderr: expect.stringContaining('authorization failed') }

      await expect(push(image)).rejects.toMatchObject(refused)
      await expect(push(image, bob)).rejects.toMatchObject(refused)
      await expect(push(image, { ...alice, password: 'wrong' })).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringContaining('failed to authorize'),
      })
      expect(proxy.take().filter(({ status }) => status === 201 || status === 202)).toEqual([])

      await push(image, alice)
      await expect(pull(image)).rejects.toMatchObject(refused)
    })

    it('pulls what is public without a user', async () => {
      const image = await imported('public/containerd:1')
      await push(image, alice)
      proxy.take()

      await pull(image)

      expect(tokenRequests(proxy.take())).toEqual([])
      expect(await digestIn(puller, image)).toBe(await digestIn(pusher, image))
    })

    it('is refused other content for an immutable tag, at once', async () => {
      const image = await imported('team/immutable:v1')
      await push(image, alice)
      await push(image, alice)
      await imported('team/immutable:v1', 'other')
      proxy.take()

      await expect(push(image, alice)).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringContaining('403 Forbidden'),
      })
      const tagged = manifestRequests(proxy.take(), 'PUT').filter((line) => line.includes('/v1 '))
      expect(tagged).toEqual(['PUT /v2/team/immutable/manifests/v1 403'])
    })

    /** Gives the image with its host; no two have a blob in common. */
    async function imported(name: string, content = name): Promise<string> {
      const { directory } = await imageOf(content.replaceAll('/', '-'))
      const archive = `${directory}.tar`
      await run('tar', ['--create', '--file', archive, '--directory', directory, '.'])
      const image = `${proxy.host}/${name}`
      await pusher('images', 'import', '--all-platforms', '--index-name', image, archive)
      return image
    }

    async function push(image: string, account?: Account): Promise<void> {
      await pusher('images', 'push', '--plain-http', ...userFlags(account), image)
    }

    async function pull(image: string, account?: Account): Promise<void> {
      const flags = ['--plain-http', '--all-platforms', ...userFlags(account)]
      await puller('images', 'pull', ...flags, image)
    }
  })

  /** skopeo as somebody has it who is not logged in yet. */
  function newSkopeo(): Client {
    const name = `auth-${randomBytes(8).toString('hex')}.json`
    return skopeoWith(path.join(workspace.directory, name))
  }

  async function loggedIn(account: Account): Promise<Client> {
    const skopeo = newSkopeo()
    await logIn(skopeo, account)
    proxy.take()
    return skopeo
  }

  /** With skopeo or podman. */
  async function logIn(client: Client, { name, password }: Account): Promise<string> {
    const credentials = ['--username', name, '--password', password]
    return client('login', plainHttp, ...credentials, proxy.host)
  }

  /** No two have a blob in common. */
  async function imageOf(name: string): Promise<Layout> {
    return writeImage(path.join(workspace.directory, `image-${name}`), `made for ${name}`)
  }
})

type Client = (...args: string[]) => Promise<string>

function skopeoWith(authFile: string): Client {
  return (...args) => run(program('skopeo'), args, { REGISTRY_AUTH_FILE: authFile })
}

async function copy(skopeo: Client, from: string, to: string, ...options: string[]): Promise<void> {
  const unencrypted = ['--src-tls-verify=false', '--dest-tls-verify=false']
  await skopeo('copy', '--quiet', '--preserve-digests', ...unencrypted, ...options, from, to)
}

async function tagsOf(skopeo: Client, repository: string): Promise<readonly string[]> {
  const printed = await skopeo('list-tags', plainHttp, repository)
  return (JSON.parse(printed) as { Tags: string[] }).Tags
}

async function digestIn(store: Ctr, image: string): Promise<string> {
  const printed = await store('images', 'list', `name==${image}`)
  const digest = /sha256:[0-9a-f]{64}/.exec(printed)?.[0]
  if (digest === undefined) throw new Error(`no digest in ${printed}`)
  return digest
}

function source({ directory, tag }: Layout): string {
  return `oci:${directory}:${tag}`
}

function userFlags(account: Account | undefined): string[] {
  return account === undefined ? [] : ['--user', `${account.name}:${account.password}`]
}
