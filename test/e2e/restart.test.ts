import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lacks } from './support/clients.ts'
import { type Layout, verifiedDigests, writeMultiPlatformImage } from './support/images.ts'
import { type Skopeo, skopeoIn } from './support/skopeo.ts'
import { type Slipway, startSlipway } from './support/slipway.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

describe.skipIf(lacks('skopeo'))('a pushed image', () => {
  let workspace: Workspace
  let skopeo: Skopeo
  let slipway: Slipway

  beforeAll(async () => {
    workspace = await openWorkspace()
    skopeo = skopeoIn(workspace)
    slipway = await startSlipway(workspace)
  })
  afterAll(() => workspace.close())

  it('is there again after the server was stopped and started', async () => {
    const layout = await push('stopped')
    await slipway.stop()
    slipway = await startSlipway(workspace, slipway.dataDirectory)

    await expectWhole('stopped', layout)
  })

  it('is there again after the server was killed right after the push', async () => {
    const layout = await push('killed')
    await slipway.kill()
    slipway = await startSlipway(workspace, slipway.dataDirectory)

    await expectWhole('killed', layout)
  })

  async function push(name: string): Promise<Layout> {
    const folder = path.join(workspace.directory, name)
    const layout = await writeMultiPlatformImage(folder, ['amd64', name])
    await skopeo.copy(`oci:${folder}:${layout.tag}`, imageOf(name))
    return layout
  }

  async function expectWhole(name: string, layout: Layout): Promise<void> {
    const back = `${layout.directory}-back`
    await skopeo.copy(imageOf(name), `oci:${back}:${layout.tag}`)
    expect(await skopeo.digestOf(imageOf(name))).toBe(layout.root.digest)
    expect(await verifiedDigests(back)).toEqual(await verifiedDigests(layout.directory))
  }

  function imageOf(name: string): string {
    return `docker://${slipway.host}/restart/${name}:1`
  }
})
