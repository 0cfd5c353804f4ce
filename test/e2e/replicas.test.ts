import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWithS3 } from '../support/s3.ts'
import { requestsIn } from './support/access-log.ts'
import { lacks } from './support/clients.ts'
import { podmanWithStore, writeBuildContext } from './support/containers.ts'
import { type Docker, startDockerd } from './support/dockerd.ts'
import { type Fleet, openFleet } from './support/fleet.ts'
import { verifiedDigests, writeImage } from './support/images.ts'
import { type Nginx, startNginx } from './support/nginx.ts'
import { repeat } from './support/repeat.ts'
import { type Skopeo, skopeoIn } from './support/skopeo.ts'
import type { Slipway } from './support/slipway.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const MIB = 2 ** 20
const LAYER_BYTES = 20 * MIB

/** A server that was gone is tried again two to three seconds after nginx has failed with it. */
const TRIED_AGAIN_MS = 4000

const unable = lacks('nginx', 'dockerd', 'docker', 'skopeo', 'podman', 'root')

describe.skipIf(unable)('behind nginx', () => {
  describeWithS3('three replicas on one database and one bucket', () => {
    let workspace: Workspace
    let fleet: Fleet
    let replicas: Slipway[]
    let nginx: Nginx
    let skopeo: Skopeo
    let builder: Docker

    beforeAll(async () => {
      workspace = await openWorkspace()
      fleet = await openFleet(workspace)
      replicas = await Promise.all([fleet.start(), fleet.start(), fleet.start()])
      nginx = await startNginx(
        workspace,
        replicas.map(({ host }) => host),
      )
      skopeo = skopeoIn(workspace)
      builder = await startDockerd(workspace, 'builder')
    })
    afterAll(() => workspace.close())

    it('take 100 MB from a Docker daemon and give another the same digest', async () => {
      const repository = `${nginx.host}/docker/large`
      await builder.build(`${repository}:1`, ...someLayers(5))
      await builder.docker('push', `${repository}:1`)
      const puller = await startDockerd(workspace, 'puller')
      await puller.docker('pull', `${repository}:1`)

      expect(await puller.digestOf(repository)).toBe(await builder.digestOf(repository))
      for (const replica of replicas) {
        const bodies = (await requestsIn(replica)).filter(({ method }) => method === 'PATCH')
        expect(bodies.map(({ status }) => status)).toContain(202)
      }
    })

    it('give skopeo each blob of it, and podman back what podman pushed', async () => {
      const back = path.join(workspace.directory, 'large')
      await skopeo.copy(`docker://${nginx.host}/docker/large:1`, `oci:${back}:1`)
      expect(await verifiedDigests(back)).toHaveLength(7)

      const image = `${nginx.host}/podman/app:1`
      const podman = await podmanWithStore(workspace, 'podman')
      const context = await writeBuildContext(workspace, 'context', 'built by podman')
      await podman('build', '--quiet', '--tag', image, context)
      await podman('push', '--quiet', '--tls-verify=false', image)
      const other = await podmanWithStore(workspace, 'other')
      await other('pull', '--quiet', '--tls-verify=false', image)
      const inspect = ['image', 'inspect', '--format', '{{.Id}}', image]
      expect(await other(...inspect)).toBe(await podman(...inspect))
    })

    it('do not give an image any more that one of them has deleted', async () => {
      const { directory, tag, root } = await writeImage(await workspace.folder('deleted'), 'here')
      const image = `${nginx.host}/deleted/app:1`
      await skopeo.copy(`oci:${directory}:${tag}`, `docker://${image}`)
      const references = ['1', root.digest]
      // Each of them has answered it, and may remember it.
      await Promise.all(replicas.map(({ url }) => expectStatuses(url, references, 200)))

      for (const replica of replicas) {
        await skopeo.copy(`oci:${directory}:${tag}`, `docker://${image}`)
        await expectStatuses(nginx.url, references, 200)
        await skopeo.delete(`docker://${replica.host}/deleted/app:1`)
        for (let time = 0; time < 2 * replicas.length; time++) {
          await expectStatuses(nginx.url, references, 404)
        }
        await expect(skopeo.digestOf(`docker://${image}`)).rejects.toThrow('manifest unknown')
      }
    })

    it('take a push during which one of them is killed, while others pull', async () => {
      const { directory, tag } = await writeImage(await workspace.folder('small'), 'small')
      const small = `docker://${nginx.host}/killed/small:1`
      await skopeo.copy(`oci:${directory}:${tag}`, small)
      const repository = `${nginx.host}/killed/large`
      await builder.build(`${repository}:1`, ...someLayers(3))

      const pulling = repeat(async (copy) => {
        const back = path.join(workspace.directory, `small-${copy}`)
        await skopeo.copy(small, `oci:${back}:1`)
        expect(await verifiedDigests(back)).toEqual(await verifiedDigests(directory))
      })
      const push = () => builder.docker('push', `${repository}:1`)
      const pushing = push().then(
        () => 'went on by itself',
        async (error: Error) => {
          await push()
          return `was repeated after: ${error.message}`
        },
      )
      const victim = await theOneThatReceives(replicas)
      await sleep(100)
      await victim.kill()
      const killedAt = Date.now()
      const end = await pushing
      const pulls = await pulling.end()
      replicas[replicas.indexOf(victim)] = await fleet.start({ host: victim.host })

      const seconds = ((Date.now() - killedAt) / 1000).toFixed(1)
      const later = pulls.filter(({ startedAt }) => startedAt > killedAt)
      console.log(`the push ${end}, ${seconds} s after the kill; ${later.length} pulls meanwhile`)
      expect(nginx.log()).toMatch(/upstream.* request: "PATCH /)
      expect(later).not.toEqual([])
      expect(later.filter(({ error }) => error !== undefined)).toEqual([])
      const back = path.join(workspace.directory, 'killed')
      await skopeo.copy(`docker://${repository}:1`, `oci:${back}:1`)
      expect(await verifiedDigests(back)).toHaveLength(5)
    })

    it('fail no request while each of them is stopped and started', async () => {
      const copying = [1, 2, 3].map((loop) =>
        repeat(async (copy) => {
          const name = `rolling-${loop}-${copy}`
          const layout = await writeImage(await workspace.folder(name), name)
          const image = `docker://${nginx.host}/rolling/app:${name}`
          await skopeo.copy(`oci:${layout.directory}:${layout.tag}`, image)
          await skopeo.copy(image, `oci:${layout.directory}-back:1`)
          const digests = await verifiedDigests(layout.directory)
          expect(await verifiedDigests(`${layout.directory}-back`)).toEqual(digests)
        }),
      )
      const asking = Array.from({ length: 24 }, () => repeat(() => startAndDropUpload(nginx.url)))
      for (const [index, replica] of replicas.entries()) {
        await sleep(TRIED_AGAIN_MS)
        await replica.stop()
        replicas[index] = await fleet.start({ host: replica.host })
      }
      const copies = (await Promise.all(copying.map(({ end }) => end()))).flat()
      const uploads = (await Promise.all(asking.map(({ end }) => end()))).flat()

      const failed = [...copies, ...uploads].filter(({ error }) => error !== undefined)
      console.log(
        `during the restarts ${copies.length} images were pushed and pulled and ` +
          `${uploads.length} uploads started and dropped; ${failed.length} failed`,
      )
      expect(failed).toEqual([])
      for (const replica of replicas) expect(await requestsIn(replica)).not.toEqual([])
    })
  })
})

function someLayers(count: number): Buffer[] {
  return Array.from({ length: count }, () => randomBytes(LAYER_BYTES))
}

async function expectStatuses(url: string, references: readonly string[], status: number) {
  for (const reference of references) {
    const answer = await fetch(`${url}/v2/deleted/app/manifests/${reference}`)
    await answer.arrayBuffer()
    expect(answer.status).toBe(status)
  }
}

/** Begins with a request that nginx must not repeat at another server. */
async function startAndDropUpload(url: string): Promise<void> {
  const started = await fetch(`${url}/v2/rolling/uploads/blobs/uploads/`, { method: 'POST' })
  expect({ status: started.status, body: await started.text() }).toMatchObject({ status: 202 })
  const session = new URL(started.headers.get('location') ?? '', url)
  const dropped = await fetch(session, { method: 'DELETE' })
  expect({ status: dropped.status, body: await dropped.text() }).toMatchObject({ status: 204 })
}

/** The first replica that is seen to receive the body of an upload. */
async function theOneThatReceives(replicas: readonly Slipway[]): Promise<Slipway> {
  const deadline = Date.now() + 30_000
  while (Date.now() < deadline) {
    for (const replica of replicas) {
      const metrics = await (await fetch(`${replica.url}/metrics`)).text()
      const uploads = /^slipway_uploads_in_progress (\d+)$/m.exec(metrics)?.[1]
      if (Number(uploads) > 0) return replica
    }
    await sleep(20)
  }
  throw new Error('no replica has received anything')
}
