import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lacks } from './support/clients.ts'
import { verifiedDigests, writeLargeImage } from './support/images.ts'
import { type Memory, measureMemory } from './support/memory.ts'
import { skopeoIn } from './support/skopeo.ts'
import { type Slipway, startSlipway } from './support/slipway.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const layerMiB = 3 * 1024

/** What buffers and a lazy garbage collector may take; a twelfth of the layer. */
const allowedGrowthMiB = 256

describe.skipIf(lacks('skopeo'))('a layer of 3 GiB', () => {
  let workspace: Workspace
  let slipway: Slipway

  beforeAll(async () => {
    workspace = await openWorkspace()
    slipway = await startSlipway(workspace)
  })
  afterAll(() => workspace.close())

  it('goes in and comes out with its digest while the memory of the server stays flat', async () => {
    const skopeo = skopeoIn(workspace)
    const layout = await writeLargeImage(path.join(workspace.directory, 'large'), layerMiB)
    const image = `docker://${slipway.host}/large/layer:1`
    const back = path.join(workspace.directory, 'back')

    const pushing = await measureMemory(slipway.pid, () =>
      skopeo.copy(`oci:${layout.directory}:${layout.tag}`, image),
    )
    const pulling = await measureMemory(slipway.pid, () =>
      skopeo.copy(image, `oci:${back}:${layout.tag}`),
    )
    console.log(`server memory, push: ${show(pushing)}; pull: ${show(pulling)}`)

    expect(await verifiedDigests(back)).toEqual(await verifiedDigests(layout.directory))
    expect(pushing.peakMiB - pushing.beforeMiB).toBeLessThan(allowedGrowthMiB)
    expect(pulling.peakMiB - pushing.beforeMiB).toBeLessThan(allowedGrowthMiB)
  })
})

function show({ beforeMiB, peakMiB }: Memory): string {
  return `${beforeMiB.toFixed(0)} MiB before, at most ${peakMiB.toFixed(0)} MiB`
}
