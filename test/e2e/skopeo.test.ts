import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lacks } from './support/clients.ts'
import {
  type Layout,
  verifiedDigests,
  writeImage,
  writeMultiPlatformImage,
} from './support/images.ts'
import { blobUploads, type RecordingProxy, startRecordingProxy } from './support/recording-proxy.ts'
import { type Skopeo, skopeoIn } from './support/skopeo.ts'
import { type Slipway, startSlipway } from './support/slipway.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

describe.skipIf(lacks('skopeo'))('skopeo', () => {
  let workspace: Workspace
  let slipway: Slipway
  let proxy: RecordingProxy
  let skopeo: Skopeo

  beforeAll(async () => {
    workspace = await openWorkspace()
    slipway = await startSlipway(workspace)
    proxy = await startRecordingProxy(workspace, slipway.host)
    skopeo = skopeoIn(workspace)
  })
  afterAll(() => workspace.close())

  it('copies an OCI layout there and back without a change', async () => {
    const layout = await writeImage(folderFor('single'), 'copied by skopeo')
    const image = `docker://${slipway.host}/skopeo/single:1`
    await skopeo.copy(source(layout), image)

    expect(await skopeo.digestOf(image)).toBe(layout.root.digest)
    await expectSameBack(image, layout)
  })

  it('copies an image of two platforms there and back without a change', async () => {
    const layout = await writeMultiPlatformImage(folderFor('multi'), ['amd64', 'arm64'])
    const image = `docker://${slipway.host}/skopeo/multi:1`
    await skopeo.copy(source(layout), image)

    expect(await skopeo.digestOf(image)).toBe(layout.root.digest)
    expect(await verifiedDigests(layout.directory)).toHaveLength(7)
    await expectSameBack(image, layout)
  })

  it('uploads nothing when it copies the same image again', async () => {
    const layout = await writeMultiPlatformImage(folderFor('twice'), ['amd64', 's390x'])
    const image = `docker://${proxy.host}/skopeo/twice:1`
    await skopeo.copy(source(layout), image)
    expect(blobUploads(proxy.take()).some(({ requestBytes }) => requestBytes > 0)).toBe(true)

    await skopeo.copy(source(layout), image)
    const second = proxy.take()
    expect(second).not.toEqual([])
    expect(blobUploads(second)).toEqual([])
  })

  it('copies between repositories by mounting the layer, without an upload of it', async () => {
    const layout = await writeImage(folderFor('mounted'), 'mounted')
    const from = `docker://${proxy.host}/skopeo/from:1`
    await skopeo.copy(source(layout), from)
    proxy.take()

    const to = `docker://${proxy.host}/skopeo/to:1`
    await skopeo.copy(from, to)

    const exchanges = proxy.take()
    const mounts = exchanges.filter(({ target }) => target.includes('mount='))
    expect(mounts.map(({ status }) => status)).toEqual([201])
    // skopeo mounts layers only, the config is always uploaded
    const layer = /mount=sha256(?:%3A|:)([0-9a-f]{64})/.exec(mounts[0]?.target ?? '')?.[1]
    const uploaded = blobUploads(exchanges).filter(({ method }) => method === 'PUT')
    expect(uploaded).toHaveLength(1)
    expect(uploaded[0]?.target).not.toContain(layer)
    expect(await skopeo.digestOf(to)).toBe(layout.root.digest)
  })

  it('lists all tags in order', async () => {
    const layout = await writeImage(folderFor('listed'), 'listed')
    const repository = `docker://${slipway.host}/skopeo/listed`
    for (const tag of ['b', 'a', 'c']) await skopeo.copy(source(layout), `${repository}:${tag}`)

    expect(await skopeo.listTags(repository)).toEqual(['a', 'b', 'c'])
  })

  it('deletes an image with its tags and leaves the others', async () => {
    const repository = `docker://${slipway.host}/skopeo/deleted`
    const gone = await writeImage(folderFor('gone'), 'to be deleted')
    const kept = await writeImage(folderFor('kept'), 'to be kept')
    await skopeo.copy(source(gone), `${repository}:gone`)
    await skopeo.copy(source(gone), `${repository}:gone-too`)
    await skopeo.copy(source(kept), `${repository}:kept`)

    await skopeo.delete(`${repository}:gone`)

    expect(await skopeo.listTags(repository)).toEqual(['kept'])
    await expect(skopeo.digestOf(`${repository}:gone`)).rejects.toThrow(/manifest unknown/i)
    await expect(skopeo.digestOf(`${repository}@${gone.root.digest}`)).rejects.toThrow(
      /manifest unknown/i,
    )
    await expectSameBack(`${repository}:kept`, kept)
  })

  function folderFor(name: string): string {
    return path.join(workspace.directory, name)
  }

  async function expectSameBack(image: string, layout: Layout): Promise<void> {
    const back = `${layout.directory}-back`
    await skopeo.copy(image, `oci:${back}:${layout.tag}`)
    expect(await verifiedDigests(back)).toEqual(await verifiedDigests(layout.directory))
  }
})

function source(layout: Layout): string {
  return `oci:${layout.directory}:${layout.tag}`
}
