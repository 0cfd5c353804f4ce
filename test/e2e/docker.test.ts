import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lacks } from './support/clients.ts'
import { type Docker, startDockerd } from './support/dockerd.ts'
import { blobUploads, type RecordingProxy, startRecordingProxy } from './support/recording-proxy.ts'
import { type Slipway, startSlipway } from './support/slipway.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

describe.skipIf(lacks('dockerd', 'docker', 'root'))('a Docker daemon', () => {
  let workspace: Workspace
  let slipway: Slipway
  let proxy: RecordingProxy
  let builder: Docker

  beforeAll(async () => {
    workspace = await openWorkspace()
    slipway = await startSlipway(workspace)
    proxy = await startRecordingProxy(workspace, slipway.host)
    builder = await startDockerd(workspace, 'builder')
  })
  afterAll(() => workspace.close())

  it('pushes an image that another daemon pulls with the same digest', async () => {
    const image = `${slipway.host}/docker/app:1`
    await builder.build(image, 'pushed by docker')
    await builder.docker('push', image)

    const puller = await startDockerd(workspace, 'puller')
    await puller.docker('pull', image)

    const repository = `${slipway.host}/docker/app`
    expect(await puller.digestOf(repository)).toBe(await builder.digestOf(repository))
    expect(await idOf(puller, image)).toBe(await idOf(builder, image))
  })

  it('uploads nothing when it pushes the same image again', async () => {
    const image = `${proxy.host}/docker/twice:1`
    await builder.build(image, 'pushed twice')
    await builder.docker('push', image)
    const first = blobUploads(proxy.take())
    expect(first.filter(({ requestBytes }) => requestBytes > 0)).not.toEqual([])

    await builder.docker('push', image)
    const second = proxy.take()
    expect(second).not.toEqual([])
    expect(blobUploads(second)).toEqual([])
  })

  it('uploads nothing for a second tag, which gets the same digest', async () => {
    const repository = `${proxy.host}/docker/retagged`
    await builder.build(`${repository}:one`, 'with two tags')
    await builder.docker('push', `${repository}:one`)
    proxy.take()

    await builder.docker('tag', `${repository}:one`, `${repository}:two`)
    await builder.docker('push', `${repository}:two`)

    expect(blobUploads(proxy.take())).toEqual([])
    expect(await headDigest('docker/retagged', 'two')).toBe(
      await headDigest('docker/retagged', 'one'),
    )
  })

  it('moves a tag to another image and still pulls the older one by digest', async () => {
    const repository = `${slipway.host}/docker/moved`
    await builder.build(`${repository}:latest`, 'older')
    await builder.docker('push', `${repository}:latest`)
    const older = await headDigest('docker/moved', 'latest')
    await builder.build(`${repository}:latest`, 'newer')
    await builder.docker('push', `${repository}:latest`)

    expect(await headDigest('docker/moved', 'latest')).not.toBe(older)
    const puller = await startDockerd(workspace, 'puller-by-digest')
    await puller.docker('pull', `${repository}@${older}`)
    expect(await puller.digestOf(repository)).toBe(older)
  })

  async function headDigest(repository: string, tag: string): Promise<string> {
    const response = await fetch(`${slipway.url}/v2/${repository}/manifests/${tag}`, {
      method: 'HEAD',
      headers: { Accept: 'application/vnd.docker.distribution.manifest.v2+json' },
    })
    expect(response.status).toBe(200)
    const digest = response.headers.get('docker-content-digest')
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/)
    return digest ?? ''
  }
})

async function idOf(daemon: Docker, image: string): Promise<string> {
  return daemon.docker('image', 'inspect', '--format', '{{.Id}}', image)
}
