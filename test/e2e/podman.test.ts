import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lacks } from './support/clients.ts'
import {
  buildahWithStore,
  type OnStore,
  podmanWithStore,
  writeBuildContext,
} from './support/containers.ts'
import { mediaTypes } from './support/images.ts'
import { blobUploads, type RecordingProxy, startRecordingProxy } from './support/recording-proxy.ts'
import { type Slipway, startSlipway } from './support/slipway.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const plainHttp = '--tls-verify=false'
const dockerList = 'application/vnd.docker.distribution.manifest.list.v2+json'

describe.skipIf(lacks('podman', 'buildah', 'root'))('podman and buildah', () => {
  let workspace: Workspace
  let slipway: Slipway
  let proxy: RecordingProxy
  let podman: OnStore

  beforeAll(async () => {
    workspace = await openWorkspace()
    slipway = await startSlipway(workspace)
    proxy = await startRecordingProxy(workspace, slipway.host)
    podman = await podmanWithStore(workspace, 'podman')
  })
  afterAll(() => workspace.close())

  it('push an image with podman that an empty store pulls with the same digest', async () => {
    const image = `${slipway.host}/podman/app:1`
    await podman('build', '--quiet', '--tag', image, await context('app', 'built by podman'))
    const pushed = await pushWith(podman, image)

    const other = await podmanWithStore(workspace, 'other')
    await other('pull', '--quiet', plainHttp, image)

    expect(await digestIn(other, image)).toBe(pushed)
    expect(await idIn(other, image)).toBe(await idIn(podman, image))
  })

  it('upload nothing with podman when it pushes again or under a second tag', async () => {
    const image = `${proxy.host}/podman/twice:1`
    await podman('build', '--quiet', '--tag', image, await context('twice', 'pushed twice'))
    const pushed = await pushWith(podman, image)
    expect(blobUploads(proxy.take()).some(({ requestBytes }) => requestBytes > 0)).toBe(true)

    expect(await pushWith(podman, image)).toBe(pushed)
    const second = proxy.take()
    expect(second).not.toEqual([])
    expect(blobUploads(second)).toEqual([])

    await podman('tag', image, `${proxy.host}/podman/twice:2`)
    expect(await pushWith(podman, `${proxy.host}/podman/twice:2`)).toBe(pushed)
    expect(blobUploads(proxy.take())).toEqual([])
  })

  it('push an image with buildah that podman pulls with the same digest', async () => {
    const image = `${slipway.host}/buildah/app:1`
    const buildah = await buildahWithStore(workspace, 'buildah')
    const directory = await context('buildah-app', 'built by buildah')
    const container = await buildah('from', 'scratch')
    await buildah('copy', container, path.join(directory, 'content'), '/content')
    await buildah('commit', '--quiet', container, image)
    const pushed = await pushWith(buildah, image)

    const other = await podmanWithStore(workspace, 'after-buildah')
    await other('pull', '--quiet', plainHttp, image)

    expect(await digestIn(other, image)).toBe(pushed)
  })

  it('push a manifest list with podman that keeps both platforms', async () => {
    const list = `${slipway.host}/podman/list:1`
    await podman('manifest', 'create', list)
    for (const architecture of ['amd64', 'arm64']) {
      const directory = await context(`list-${architecture}`, `for ${architecture}`)
      const platform = `--platform=linux/${architecture}`
      await podman('build', '--quiet', platform, '--manifest', list, directory)
    }
    await podman('manifest', 'push', '--all', plainHttp, list, `docker://${list}`)

    const response = await fetch(`${slipway.url}/v2/podman/list/manifests/1`, {
      headers: { Accept: `${mediaTypes.index}, ${dockerList}` },
    })
    const { manifests } = (await response.json()) as {
      manifests: { platform: { architecture: string } }[]
    }
    const architectures = manifests.map(({ platform }) => platform.architecture)
    expect(architectures.toSorted()).toEqual(['amd64', 'arm64'])

    const other = await podmanWithStore(workspace, 'one-platform')
    await other('pull', '--quiet', plainHttp, '--arch=arm64', list)
    const pulled = await other('image', 'inspect', '--format', '{{.Architecture}}', list)
    expect(pulled).toBe('arm64')
  })

  async function context(name: string, content: string): Promise<string> {
    return writeBuildContext(workspace, `context-${name}`, content)
  }

  /** Gives the digest that the registry knows the image by now. */
  async function pushWith(client: OnStore, image: string): Promise<string> {
    const digestFile = path.join(workspace.directory, 'pushed-digest')
    await client('push', '--quiet', plainHttp, '--digestfile', digestFile, image)
    return readFile(digestFile, 'utf8')
  }
})

async function digestIn(store: OnStore, image: string): Promise<string> {
  return store('image', 'inspect', '--format', '{{.Digest}}', image)
}

async function idIn(store: OnStore, image: string): Promise<string> {
  return store('image', 'inspect', '--format', '{{.Id}}', image)
}
