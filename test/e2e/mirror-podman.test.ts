import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { lacks, program } from './support/clients.ts'
import { type OnStore, podmanWithStore } from './support/containers.ts'
import {
  type Layout,
  verifiedDigests,
  writeImage,
  writeMultiPlatformImage,
} from './support/images.ts'
import { expectAskedWell, type Mirror, openMirror, pulled } from './support/mirror.ts'
import { guardedMirror, reader } from './support/mirror-accounts.ts'
import { run } from './support/process.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const plainHttp = '--tls-verify=false'

describe.skipIf(lacks('podman', 'skopeo', 'root'))('podman and skopeo', () => {
  describe('with a mirror in registries.conf', () => {
    let workspace: Workspace
    let mirror: Mirror
    let podman: OnStore
    let skopeo: OnStore
    /** As Slipway says it is to be. */
    let registries: string

    beforeAll(async () => {
      workspace = await openWorkspace()
      mirror = await openMirror(workspace)
      const { environment } = mirror.deadEnd
      registries = path.join(workspace.directory, 'registries.conf')
      const [content] = (await mirror.clientConfig('podman')).values()
      await writeFile(registries, content ?? '')
      podman = await newPodman('podman')
      skopeo = (...args) =>
        run(program('skopeo'), ['--registries-conf', registries, ...args], environment)
    })
    beforeEach(() => mirror.reset())
    afterAll(() => workspace.close())

    it('pull an official image of Docker Hub with podman', async () => {
      const layout = await writeImage(folderFor(workspace, 'single'), 'pulled by podman')
      await mirror.push(layout, mirror.origin, 'library/single')
      mirror.reset()

      await podman('pull', '--quiet', 'docker.io/library/single:1')

      expect(await digestIn(podman, 'docker.io/library/single:1')).toBe(layout.root.digest)
      expectAskedWell(mirror, 'library/single')
      const targets = pulled(mirror.recorder.take(), 'manifests').map(({ target }) => target)
      expect(targets).toEqual(['/v2/docker.io/library/single/manifests/1'])
      expect(mirror.deadEnd.take()).toEqual([])
    })

    it('pull it again with podman without a byte of a blob from Docker Hub', async () => {
      await podman('rmi', 'docker.io/library/single:1')

      await podman('pull', '--quiet', 'docker.io/single:1')

      expect(mirror.hub.cdn.requests()).toEqual([])
      expect(pulled(mirror.recorder.take(), 'blobs')).toHaveLength(2)
      expect(mirror.deadEnd.take()).toEqual([])
    })

    it('copy all platforms with skopeo without a change of any byte', async () => {
      const layout = await writeMultiPlatformImage(folderFor(workspace, 'multi'), [
        'amd64',
        'arm64',
      ])
      await mirror.push(layout, mirror.origin, 'someone/multi')
      mirror.reset()
      const back = path.join(workspace.directory, 'back')

      const to = `oci:${back}:1`
      await skopeo('copy', '--quiet', '--all', 'docker://docker.io/someone/multi:1', to)

      expect(await verifiedDigests(back)).toEqual(await verifiedDigests(layout.directory))
      expectAskedWell(mirror, 'someone/multi')
      expect(mirror.deadEnd.take()).toEqual([])
    })

    it('list the tags of Docker Hub with skopeo, by the prefix', async () => {
      const { host } = mirror.recorder
      const layout = await writeImage(folderFor(workspace, 'listed'), 'listed')
      await mirror.push(layout, mirror.origin, 'library/listed')

      const printed = await skopeo('list-tags', plainHttp, `docker://${host}/docker.io/listed`)

      expect(JSON.parse(printed)).toMatchObject({ Tags: ['1'] })
    })

    it('pull with podman what was pulled before when Docker Hub cannot be reached', async () => {
      const { hub, recorder } = mirror
      await Promise.all([hub.registry.stop(), hub.tokens.stop(), hub.cdn.stop()])
      const other = await newPodman('other')

      await other('pull', '--quiet', 'docker.io/library/single:1')

      const [tagged] = pulled(recorder.take(), 'manifests')
      expect(tagged?.responseHeaders.warning).toMatch(/^299 - "served as it was: .+"$/)
      expect(mirror.deadEnd.take()).toEqual([])
    })

    function newPodman(name: string): Promise<OnStore> {
      const { environment } = mirror.deadEnd
      const variables = { ...environment, CONTAINERS_REGISTRIES_CONF: registries }
      return podmanWithStore(workspace, name, variables)
    }
  })

  describe('logged in as somebody who may pull official images only', () => {
    let workspace: Workspace
    let mirror: Mirror
    let official: Layout

    beforeAll(async () => {
      workspace = await openWorkspace()
      mirror = await openMirror(workspace, {
        environment: await guardedMirror(workspace, 'reader'),
      })
      official = await writeImage(folderFor(workspace, 'official'), 'official')
      const other = await writeImage(folderFor(workspace, 'other'), "somebody else's")
      await mirror.push(official, mirror.origin, 'library/app')
      await mirror.push(other, mirror.origin, 'other/app')
    })
    beforeEach(() => mirror.reset())
    afterAll(() => workspace.close())

    it('get with podman what they may, and nothing else', async () => {
      const { host } = mirror.recorder
      const podman = await podmanWithStore(workspace, 'podman', mirror.deadEnd.environment)
      const pull = (name: string) => podman('pull', '--quiet', plainHttp, `${host}/${name}`)

      await expect(pull('docker.io/app:1')).rejects.toMatchObject(refused)
      await logIn(podman, host)
      await pull('docker.io/app:1')
      expect(await digestIn(podman, `${host}/docker.io/app:1`)).toBe(official.root.digest)
      await expect(pull('docker.io/other/app:1')).rejects.toMatchObject(refused)
      await expect(pull('other/app:1')).rejects.toMatchObject(refused)

      expectNotAskedFor('other/app')
    })

    it('get with skopeo what they may, and nothing else', async () => {
      const { host } = mirror.recorder
      const authFile = path.join(workspace.directory, 'skopeo-auth.json')
      const environment = { ...mirror.deadEnd.environment, REGISTRY_AUTH_FILE: authFile }
      const skopeo: OnStore = (...args) => run(program('skopeo'), args, environment)
      const inspect = (name: string) =>
        skopeo('inspect', '--format', '{{.Digest}}', plainHttp, `docker://${host}/${name}`)

      await expect(inspect('docker.io/app:1')).rejects.toMatchObject(refused)
      await logIn(skopeo, host)
      expect(await inspect('docker.io/app:1')).toBe(official.root.digest)
      expect(await inspect('docker.io/library/app:1')).toBe(official.root.digest)
      await expect(inspect('docker.io/other/app:1')).rejects.toMatchObject(refused)
      await expect(inspect('other/app:1')).rejects.toMatchObject(refused)

      expectNotAskedFor('other/app')
    })

    function expectNotAskedFor(repository: string): void {
      const { hub } = mirror
      const asked = [...hub.registry.requests(), ...hub.tokens.requests()]
      expect(asked).not.toEqual([])
      expect(asked.filter((request) => request.path.includes(repository))).toEqual([])
    }
  })
})

const refused = { stderr: expect.stringMatching(/denied|unauthorized|authentication required/) }

async function logIn(client: OnStore, host: string): Promise<void> {
  const { name, password } = reader
  await client('login', plainHttp, '--username', name, '--password', password, host)
}

async function digestIn(store: OnStore, image: string): Promise<string> {
  return store('image', 'inspect', '--format', '{{.Digest}}', image)
}

function folderFor(workspace: Workspace, name: string): string {
  return path.join(workspace.directory, `image-${name}`)
}
