import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { until } from '../durability/support/workspace.ts'
import { lacks } from './support/clients.ts'
import { startDockerd } from './support/dockerd.ts'
import { verifiedDigests, writeMultiPlatformImage } from './support/images.ts'
import { skopeoIn } from './support/skopeo.ts'
import { runSlipway, type Slipway, startSlipway } from './support/slipway.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

/** Garbage goes at once, but for what a push that is under way was told to be here. */
const AT_ONCE = {
  SLIPWAY_GC_INTERVAL_SECONDS: '1',
  SLIPWAY_GC_UNDO_SECONDS: '0',
  SLIPWAY_GC_UNTAGGED_SECONDS: '0',
  SLIPWAY_GC_BLOB_SECONDS: '0',
  SLIPWAY_GC_GRACE_SECONDS: '5',
}
const ROUNDS = 3

describe('deleting and pushing again while everything that is garbage goes at once', () => {
  let workspace: Workspace
  let slipway: Slipway

  beforeEach(async () => {
    workspace = await openWorkspace()
    slipway = await startSlipway(workspace, path.join(workspace.directory, 'data'), {
      environment: AT_ONCE,
    })
  })
  afterEach(() => workspace.close())

  async function deleteByDigest(repository: string, tag: string): Promise<void> {
    const url = `${slipway.url}/v2/${repository}/manifests`
    const { headers } = await fetch(`${url}/${tag}`, { method: 'HEAD' })
    const digest = headers.get('docker-content-digest')
    expect((await fetch(`${url}/${digest}`, { method: 'DELETE' })).status).toBe(202)
  }

  /** The files of blobs that are on the disk. */
  async function storedBlobs(): Promise<readonly string[]> {
    const folder = path.join(slipway.dataDirectory, 'registry')
    for (;;) {
      // A folder may go while it is looked for in the one above.
      const files = await readdir(folder, { recursive: true }).catch(unlessGone)
      if (files !== undefined) return files.filter((file) => path.basename(file) === 'data')
    }
  }

  const nothingIsStored = async () => (await storedBlobs()).length === 0

  it.skipIf(lacks('dockerd', 'docker', 'root'))('with a Docker daemon', async () => {
    const builder = await startDockerd(workspace, 'builder')
    const image = `${slipway.host}/garbage/docker:latest`
    await builder.build(image, 'one layer', 'another layer')
    for (let round = 0; round < ROUNDS; round++) {
      await builder.docker('push', image)
      await deleteByDigest('garbage/docker', 'latest')
      // In turns right away, in the middle of the collection, and when all is gone.
      if (round % 3 === 1)
        await until('some are gone', async () => (await storedBlobs()).length < 3)
      if (round % 3 === 2) await until('all are gone', nothingIsStored)
    }
    await builder.docker('push', image)
    const puller = await startDockerd(workspace, 'puller')
    await puller.docker('pull', image)
    const repository = `${slipway.host}/garbage/docker`
    expect(await puller.digestOf(repository)).toBe(await builder.digestOf(repository))
    await deleteByDigest('garbage/docker', 'latest')
    await until('all are gone', nothingIsStored)
  })

  it.skipIf(lacks('skopeo'))('with skopeo, two platforms and a second tag', async () => {
    const skopeo = skopeoIn(workspace)
    const layout = await writeMultiPlatformImage(path.join(workspace.directory, 'layout'), [
      'amd64',
      'arm64',
    ])
    const source = `oci:${layout.directory}`
    const image = (tag: string) => `docker://${slipway.host}/garbage/skopeo:${tag}`
    for (let round = 0; round < ROUNDS; round++) {
      await skopeo.copy(source, image('one'))
      await skopeo.copy(source, image('two'))
      await skopeo.delete(image('one'))
      if (round % 2 === 1) await until('all are gone', nothingIsStored)
    }
    await skopeo.copy(source, image('kept'))
    const back = path.join(workspace.directory, 'back')
    await skopeo.copy(image('kept'), `oci:${back}`)
    expect(await verifiedDigests(back)).toEqual(await verifiedDigests(layout.directory))
    const status = await runSlipway(['gc', 'status', '--data', slipway.dataDirectory, '--json'])
    expect(JSON.parse(status).freedToday.blobs).toBeGreaterThan(0)
    const content = `garbage/skopeo@${layout.root.digest}`
    const why = await runSlipway(['gc', 'why', '--data', slipway.dataDirectory, content])
    expect(why).toContain('tagged kept')
  })
})

function unlessGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
