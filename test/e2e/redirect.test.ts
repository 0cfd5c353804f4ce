import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { describeWithS3 } from '../support/s3.ts'
import { S3Proxy } from '../support/s3-proxy.ts'
import { lacks } from './support/clients.ts'
import { startClockShiftingProxy } from './support/clock-shifting-proxy.ts'
import { startContainerd } from './support/containerd.ts'
import { podmanWithStore } from './support/containers.ts'
import { startDockerd } from './support/dockerd.ts'
import { type Fleet, openFleet } from './support/fleet.ts'
import { type Layout, verifiedDigests, writeImage } from './support/images.ts'
import { type RecordingProxy, startRecordingProxy } from './support/recording-proxy.ts'
import { skopeoIn } from './support/skopeo.ts'
import type { Slipway } from './support/slipway.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const MIB = 2 ** 20
const REPOSITORY = 'redirect/app'
const MINUTE_MS = 60_000

/** What is asked for, and the most that Slipway adds. */
const LEAST_SECONDS = 60
const MOST_SECONDS = LEAST_SECONDS + 300

const unable = lacks('dockerd', 'docker', 'skopeo', 'podman', 'containerd', 'ctr', 'root')

describe.skipIf(unable)('with redirects', () => {
  describeWithS3('blobs', (backend) => {
    let workspace: Workspace
    let fleet: Fleet
    /** By which clients reach the S3 server, and Slipway does not. */
    let bucket: S3Proxy
    let redirects: NodeJS.ProcessEnv
    let slipway: Slipway
    let recorder: RecordingProxy
    let layout: Layout
    let layer: Buffer
    let blob: string

    beforeAll(async () => {
      workspace = await openWorkspace()
      fleet = await openFleet(workspace)
      bucket = await S3Proxy.start(backend.endpoint)
      workspace.onClose(() => bucket.stop())
      redirects = {
        SLIPWAY_STORAGE_S3_REDIRECT: 'true',
        SLIPWAY_STORAGE_S3_REDIRECT_ENDPOINT: forClients(bucket),
        SLIPWAY_STORAGE_S3_REDIRECT_SECONDS: String(LEAST_SECONDS),
      }
      slipway = await fleet.start({ environment: redirects })
      recorder = await startRecordingProxy(workspace, slipway.host)

      const directory = await workspace.folder('image')
      layout = await writeImage(directory, randomBytes(MIB).toString('hex'))
      await skopeo().copy(
        `oci:${directory}:${layout.tag}`,
        `docker://${slipway.host}/${REPOSITORY}:1`,
      )
      const manifest = JSON.parse(await readFile(fileOf(layout.root.digest), 'utf8')) as {
        layers: [{ digest: string }]
      }
      const { digest } = manifest.layers[0]
      layer = await readFile(fileOf(digest))
      blob = `${slipway.url}/v2/${REPOSITORY}/blobs/${digest}`
    })
    beforeEach(() => {
      recorder.take()
      bucket.reset()
    })
    afterAll(() => workspace.close())

    it('come to Docker from the bucket', async () => {
      const docker = await startDockerd(workspace, 'docker')
      await docker.docker('pull', `${recorder.host}/${REPOSITORY}:1`)
      expect(await docker.digestOf(`${recorder.host}/${REPOSITORY}`)).toBe(layout.root.digest)
      expectBlobsFromBucket()
    })

    it('come to skopeo from the bucket', async () => {
      const back = path.join(workspace.directory, 'back')
      await skopeo().copy(`docker://${recorder.host}/${REPOSITORY}:1`, `oci:${back}:1`)
      expect(await verifiedDigests(back)).toEqual(await verifiedDigests(layout.directory))
      expectBlobsFromBucket()
    })

    it('come to podman from the bucket', async () => {
      const podman = await podmanWithStore(workspace, 'podman')
      const image = `${recorder.host}/${REPOSITORY}:1`
      await podman('pull', '--quiet', '--tls-verify=false', image)
      const digest = await podman('image', 'inspect', '--format', '{{.Digest}}', image)
      expect(digest).toBe(layout.root.digest)
      expectBlobsFromBucket()
    })

    it('come to containerd from the bucket', async () => {
      const ctr = await startContainerd(workspace, 'containerd')
      await ctr('images', 'pull', '--plain-http', `${recorder.host}/${REPOSITORY}:1`)
      const digests = (await ctr('content', 'list', '--quiet')).split('\n')
      expect(digests.toSorted()).toEqual(await verifiedDigests(layout.directory))
      expectBlobsFromBucket()
    })

    it('are answered by Slipway itself when only asked after', async () => {
      const answer = await fetch(blob, { method: 'HEAD', redirect: 'manual' })
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-length')).toBe(String(layer.length))
      expect(bucket.requests).toEqual([])
    })

    it('come in part to those who ask for a part', async () => {
      const part = { headers: { Range: 'bytes=1000-1999' } }
      for (const url of [blob, await locationOf(blob)]) {
        const answer = await fetch(url, part)
        expect(answer.status).toBe(206)
        expect(answer.url).toMatch(new RegExp(`^${forClients(bucket)}/`))
        const bytes = Buffer.from(await answer.arrayBuffer())
        expect(bytes.equals(layer.subarray(1000, 2000))).toBe(true)
      }
    })

    it('can be fetched by a URL for as long as it says, and by no other', async () => {
      const url = new URL(await locationOf(blob))
      expect(url.origin).toBe(forClients(bucket))
      const signedAt = timeOf(url.searchParams.get('X-Amz-Date') ?? '')
      const seconds = Number(url.searchParams.get('X-Amz-Expires'))
      const left = (signedAt - Date.now()) / 1000 + seconds
      expect(left).toBeGreaterThan(LEAST_SECONDS - 10)
      expect(left).toBeLessThanOrEqual(MOST_SECONDS + 10)

      url.searchParams.set('X-Amz-Expires', String(seconds + 1))
      expect((await fetch(url)).status).toBe(403)
    })

    it('cannot be fetched when the time of the URL is over', async () => {
      // It signs for the time that the bucket tells, which is ten minutes ago.
      const late = await startClockShiftingProxy(workspace, backend.endpoint, -10 * MINUTE_MS)
      const environment = { ...redirects, SLIPWAY_STORAGE_S3_ENDPOINT: late }
      const other = await fleet.start({ environment })
      // An answer of the bucket, from which to know the time.
      const session = await fetch(`${other.url}/v2/${REPOSITORY}/blobs/uploads/?digest=${EMPTY}`, {
        method: 'POST',
      })
      expect(session.status).toBe(201)

      const url = new URL(await locationOf(blob.replace(slipway.url, other.url)))
      const signedAt = timeOf(url.searchParams.get('X-Amz-Date') ?? '')
      const seconds = Number(url.searchParams.get('X-Amz-Expires'))
      expect(signedAt + seconds * 1000).toBeLessThan(Date.now())
      const answer = await fetch(url)
      expect(answer.status).toBe(403)
      expect(await answer.text()).toMatch(/expired|AccessDenied/)
    })

    function skopeo() {
      return skopeoIn(workspace)
    }

    function fileOf(digest: string): string {
      return path.join(layout.directory, 'blobs', ...digest.split(':'))
    }

    /** Slipway named the place, and the bytes came from there. */
    function expectBlobsFromBucket(): void {
      const gets = recorder
        .take()
        .filter(({ method, target }) => method === 'GET' && target.includes('/blobs/'))
      expect(gets.length).toBeGreaterThanOrEqual(2)
      for (const { status, responseBytes } of gets) {
        expect({ status, responseBytes }).toEqual({ status: 307, responseBytes: 0 })
      }
      expect(bucket.requests.map(({ operation }) => operation)).toEqual(gets.map(() => 'GetObject'))
      const bytes = bucket.requests.reduce((sum, { responseBytes }) => sum + responseBytes, 0)
      expect(bytes).toBeGreaterThan(layer.length)
    }
  })
})

const EMPTY = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** Another name than Slipway has for it, so that it is seen whose is used. */
function forClients({ endpoint }: S3Proxy): string {
  return endpoint.replace('127.0.0.1', 'localhost')
}

async function locationOf(blob: string): Promise<string> {
  const answer = await fetch(blob, { redirect: 'manual' })
  expect(answer.status).toBe(307)
  expect(await answer.text()).toBe('')
  return answer.headers.get('location') ?? ''
}

/** Milliseconds since the epoch. @param text `20260102T030405Z` */
function timeOf(text: string): number {
  return Date.parse(text.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'))
}
