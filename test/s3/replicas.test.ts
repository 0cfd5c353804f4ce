import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { exchange } from '../durability/support/exchange.ts'
import { expectBlob } from '../durability/support/inspect.ts'
import {
  CONTAINERD,
  contentOf,
  expectStatus,
  offsetOf,
  patch,
  put,
  startSession,
} from '../durability/support/pushes.ts'
import type { ServerProcess } from '../durability/support/server.ts'
import { describeWithS3 } from '../support/s3.ts'
import { type Fleet, openFleet, to } from './fleet.ts'

const MIB = 2 ** 20
const REPOSITORY = 'replicas/blobs'

describeWithS3('two replicas on one database and one bucket', () => {
  let fleet: Fleet
  let one: ServerProcess
  let two: ServerProcess
  beforeAll(async () => {
    fleet = await openFleet()
    one = await fleet.start()
    two = await fleet.start()
  })
  afterAll(() => fleet.workspace.close())

  /** Takes turns between the two, as a load balancer does that knows nothing of sessions. */
  function takingTurns() {
    let turn = 0
    return { host: () => [one, two][turn++ % 2]!.host, repository: REPOSITORY }
  }

  it.each([100, MIB - 1, 3 * MIB, 7 * MIB])(
    'take chunks of %i bytes in turns, and read none of them again',
    async (size) => {
      const content = contentOf(`turns ${size}`, Math.min(9 * size, 30 * MIB) + 5)
      const { bytes, digest } = content
      const anywhere = takingTurns()
      const session = await startSession(anywhere)
      fleet.s3.reset()
      for (let at = 0; at < bytes.length; at += size) {
        const chunk = bytes.subarray(at, at + size)
        expectStatus('PATCH', await patch(anywhere, session, chunk, at), 202)
        expect(await offsetOf(anywhere, session)).toBe(at + chunk.length)
      }
      expectStatus('PUT', await put(anywhere, session, digest), 201)
      expect(fleet.s3.count('GetObject')).toBe(0)
      expect(fleet.s3.bytesStored).toBe(bytes.length)
      await expectBlob(one.host, REPOSITORY, digest)
      await expectBlob(two.host, REPOSITORY, digest)
    },
  )

  it('take a blob in one request and its end at the other, and read nothing again', async () => {
    const { bytes, digest } = contentOf('one then two', 20 * MIB)
    const session = await startSession(to(two, REPOSITORY))
    fleet.s3.reset()
    expectStatus('PATCH', await patch(to(one, REPOSITORY), session, bytes), 202)
    expectStatus('PUT', await put(to(two, REPOSITORY), session, digest), 201)
    expect(fleet.s3.count('GetObject')).toBe(0)
    expect(fleet.s3.bytesStored).toBe(bytes.length)
    await expectBlob(one.host, REPOSITORY, digest)
  })

  it('take pieces that no range announces, and read once what they have to', async () => {
    const { bytes, digest } = contentOf('no range', 8 * MIB)
    const anywhere = takingTurns()
    const session = await startSession(anywhere)
    for (let at = 0; at < bytes.length; at += 2 * MIB) {
      const piece = bytes.subarray(at, at + 2 * MIB)
      expectStatus('PATCH', await patch(anywhere, session, piece), 202)
    }
    expectStatus('PUT', await put(anywhere, session, digest), 201)
    await expectBlob(two.host, REPOSITORY, digest)
  })

  it('go on with a chunk during which the other was killed', async () => {
    const { bytes, digest } = contentOf('killed', 40 * MIB)
    const first = 7 * MIB
    const victim = await fleet.start()
    const session = await startSession(to(one, REPOSITORY))
    const head = bytes.subarray(0, first)
    expectStatus('PATCH', await patch(to(victim, REPOSITORY), session, head, 0), 202)
    const range = `${first}-${bytes.length - 1}`
    const sending = exchange(victim.host, {
      method: 'PATCH',
      path: session,
      headers: { 'Content-Range': range, 'Content-Length': String(bytes.length - first) },
      body: slowly(bytes.subarray(first), () => victim.kill()),
    })
    await expect(sending).rejects.toThrow(Error)

    const killedAt = performance.now()
    const offset = await offsetOf(to(two, REPOSITORY), session)
    expect(offset).toBe(first)
    const rest = bytes.subarray(first)
    expectStatus('PATCH', await patch(to(two, REPOSITORY), session, rest, first), 202)
    const seconds = (performance.now() - killedAt) / 1000
    process.stdout.write(`the other replica went on after ${seconds.toFixed(1)} s\n`)
    expectStatus('PUT', await put(to(one, REPOSITORY), session, digest), 201)
    await expectBlob(one.host, REPOSITORY, digest)
  })

  it('let the newer request for a session go first, wherever it comes', async () => {
    const { bytes, digest } = contentOf('newer', MIB)
    const session = await startSession(to(one, REPOSITORY))
    const older = exchange(one.host, {
      method: 'PATCH',
      path: session,
      headers: { 'Content-Length': String(bytes.length) },
      body: slowly(bytes.subarray(0, 1000), () => sleep(20_000)),
    }).catch((error: unknown) => error)
    await sleep(500)
    const startedAt = performance.now()
    expectStatus('PUT', await put(to(two, REPOSITORY), session, digest, bytes), 201)
    expect(performance.now() - startedAt).toBeLessThan(5000)
    expect(await older).toMatchObject({ status: 409 })
    await expectBlob(one.host, REPOSITORY, digest)
  })

  it('show each other what was deleted and moved, by the next request', async () => {
    const { digest } = contentOf('config', 100)
    await CONTAINERD.push(to(one, REPOSITORY), contentOf('config', 100))
    const manifest = (note: string) =>
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: MANIFEST,
          config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: 100 },
          layers: [],
          annotations: { note },
        }),
      )
    for (let round = 0; round < 50; round++) {
      const [here, there] = round % 2 === 0 ? [one, two] : [two, one]
      const path = `/v2/${REPOSITORY}/manifests/moved`
      const pushed = await exchange(here.host, {
        method: 'PUT',
        path,
        headers: { 'Content-Type': MANIFEST },
        body: manifest(`round ${round}`),
      })
      expectStatus('PUT', pushed, 201)
      const moved = String(pushed.headers['docker-content-digest'])
      const byTag = await exchange(there.host, { method: 'GET', path })
      expect(byTag.headers['docker-content-digest']).toBe(moved)
      const byDigest = { method: 'GET', path: `/v2/${REPOSITORY}/manifests/${moved}` }
      // Twice: the second answer may come from memory.
      for (let time = 0; time < 2; time++) {
        expectStatus('GET', await exchange(there.host, byDigest), 200)
      }
      expectStatus('DELETE', await exchange(here.host, { ...byDigest, method: 'DELETE' }), 202)
      expectStatus('GET', await exchange(there.host, byDigest), 404)
      expectStatus('GET', await exchange(there.host, { method: 'GET', path }), 404)
    }
  })

  it('leave nothing in the bucket that no row names', async () => {
    await expect(fleet.expectNothingLeftOver()).resolves.toBeUndefined()
  })
})

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'

/** The bytes, and `between` when two thirds of them are on their way. */
async function* slowly(bytes: Buffer, between: () => Promise<unknown>) {
  const most = Math.floor((2 * bytes.length) / 3)
  for (let at = 0; at < most; at += MIB) yield bytes.subarray(at, Math.min(at + MIB, most))
  await sleep(300)
  await between()
  yield bytes.subarray(most)
}
