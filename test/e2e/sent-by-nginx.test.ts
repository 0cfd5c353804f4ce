import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type LoggedRequest, requestsIn } from './support/access-log.ts'
import { lacks } from './support/clients.ts'
import { startDockerd } from './support/dockerd.ts'
import { type Layout, verifiedDigests, writeImage } from './support/images.ts'
import { type Nginx, startNginx } from './support/nginx.ts'
import { skopeoIn } from './support/skopeo.ts'
import { type Slipway, startSlipway } from './support/slipway.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const REPOSITORY = 'files/app'
const MIB = 2 ** 20

describe.skipIf(lacks('nginx', 'skopeo', 'dockerd', 'docker', 'root'))('blobs in files', () => {
  let workspace: Workspace
  let slipway: Slipway
  let nginx: Nginx
  let layout: Layout
  let layer: Buffer
  let digest: string
  let target: string

  beforeAll(async () => {
    workspace = await openWorkspace()
    const data = path.join(workspace.directory, 'data')
    slipway = await startSlipway(workspace, data, {
      environment: {
        SLIPWAY_AUTH: 'none',
        SLIPWAY_TRUSTED_PROXIES: '127.0.0.1',
        SLIPWAY_STORAGE_ACCEL_PATH: '/slipway-blobs/',
      },
    })
    nginx = await startNginx(workspace, [slipway.host], { blobs: path.join(data, 'registry') })
    const directory = await workspace.folder('image')
    layout = await writeImage(directory, randomBytes(MIB).toString('hex'))
    const image = `docker://${nginx.host}/${REPOSITORY}:1`
    await skopeoIn(workspace).copy(`oci:${directory}:${layout.tag}`, image)
    const manifest = JSON.parse(await readFile(fileOf(layout.root.digest), 'utf8')) as {
      layers: [{ digest: string }]
    }
    digest = manifest.layers[0].digest
    layer = await readFile(fileOf(digest))
    target = `/v2/${REPOSITORY}/blobs/${digest}`
  })
  afterAll(() => workspace.close())

  it('come to Docker from nginx', async () => {
    const docker = await startDockerd(workspace, 'docker')
    const before = await gets()
    await docker.docker('pull', `${nginx.host}/${REPOSITORY}:1`)
    expect(await docker.digestOf(`${nginx.host}/${REPOSITORY}`)).toBe(layout.root.digest)
    const pulled = (await gets()).slice(before.length)
    expect(pulled.length).toBeGreaterThanOrEqual(2)
    // What Slipway sent was a head, and the bytes came all the same.
    for (const { bytesOut } of pulled) expect(bytesOut).toBeLessThan(2000)
  })

  it('come to skopeo from nginx', async () => {
    const back = path.join(workspace.directory, 'back')
    await skopeoIn(workspace).copy(`docker://${nginx.host}/${REPOSITORY}:1`, `oci:${back}:1`)
    expect(await verifiedDigests(back)).toEqual(await verifiedDigests(layout.directory))
  })

  it('bear what Slipway says of them', async () => {
    const answer = await fetch(nginx.url + target)
    expect(answer.status).toBe(200)
    expect(Buffer.from(await answer.arrayBuffer()).equals(layer)).toBe(true)
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-length': String(layer.length),
      'content-type': 'application/octet-stream',
      'docker-content-digest': digest,
      'docker-distribution-api-version': 'registry/2.0',
      etag: `"${digest}"`,
      'cache-control': 'private, max-age=31536000, immutable',
    })
    expect(answer.headers.has('x-accel-redirect')).toBe(false)
  })

  it('come in part to those who ask for a part', async () => {
    const part = await fetch(nginx.url + target, { headers: { Range: 'bytes=1000-1999' } })
    expect(part.status).toBe(206)
    expect(part.headers.get('content-range')).toBe(`bytes 1000-1999/${layer.length}`)
    expect(Buffer.from(await part.arrayBuffer()).equals(layer.subarray(1000, 2000))).toBe(true)
    const beyond = await fetch(nginx.url + target, { headers: { Range: `bytes=${layer.length}-` } })
    expect(beyond.status).toBe(416)
  })

  it('are not sent to who has them, nor when they are only asked after', async () => {
    const same = await fetch(nginx.url + target, { headers: { 'If-None-Match': `"${digest}"` } })
    expect(same.status).toBe(304)
    const head = await fetch(nginx.url + target, { method: 'HEAD' })
    expect(head.headers.get('content-length')).toBe(String(layer.length))
  })

  it('are got by nobody who asks nginx for the files', async () => {
    const hex = digest.slice('sha256:'.length)
    const file = `/slipway-blobs/docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`
    expect((await fetch(nginx.url + file)).status).toBe(404)
  })

  function fileOf(of: string): string {
    return path.join(layout.directory, 'blobs', ...of.split(':'))
  }

  /** Of blobs, as Slipway has logged them. */
  async function gets(): Promise<readonly LoggedRequest[]> {
    const requests = await requestsIn(slipway)
    return requests.filter(({ method, url }) => method === 'GET' && url.includes('/blobs/'))
  }
})
