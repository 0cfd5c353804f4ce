import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lacks } from './support/clients.ts'
import { type Ctr, startContainerd } from './support/containerd.ts'
import { writeMultiPlatformImage } from './support/images.ts'
import { run } from './support/process.ts'
import { blobUploads, type RecordingProxy, startRecordingProxy } from './support/recording-proxy.ts'
import { startSlipway } from './support/slipway.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

describe.skipIf(lacks('containerd', 'ctr', 'root'))('containerd', () => {
  let workspace: Workspace
  let proxy: RecordingProxy
  let ctr: Ctr

  beforeAll(async () => {
    workspace = await openWorkspace()
    const slipway = await startSlipway(workspace)
    proxy = await startRecordingProxy(workspace, slipway.host)
    ctr = await startContainerd(workspace, 'containerd')
  })
  afterAll(() => workspace.close())

  it('pushes all platforms, once, and an empty store pulls the same digest', async () => {
    const folder = path.join(workspace.directory, 'layout')
    const layout = await writeMultiPlatformImage(folder, ['amd64', 'arm64'])
    const archive = `${folder}.tar`
    await run('tar', ['--create', '--file', archive, '--directory', folder, '.'])
    const image = `${proxy.host}/containerd/app:1`
    await ctr('images', 'import', '--all-platforms', '--index-name', image, archive)
    const push = ['images', 'push', '--plain-http', image]

    await ctr(...push)
    expect(blobUploads(proxy.take()).some(({ requestBytes }) => requestBytes > 0)).toBe(true)
    await ctr(...push)
    const second = proxy.take()
    expect(second).not.toEqual([])
    expect(blobUploads(second)).toEqual([])

    const other = await startContainerd(workspace, 'other')
    await other('images', 'pull', '--plain-http', '--all-platforms', image)
    expect(await other('images', 'list')).toContain(await digestIn(ctr, image))
    expect((await other('content', 'list', '--quiet')).split('\n')).toEqual(
      expect.arrayContaining([layout.root.digest]),
    )
  })
})

async function digestIn(store: Ctr, image: string): Promise<string> {
  const printed = await store('images', 'list', `name==${image}`)
  const digest = /sha256:[0-9a-f]{64}/.exec(printed)?.[0]
  if (digest === undefined) throw new Error(`no digest in ${printed}`)
  return digest
}
