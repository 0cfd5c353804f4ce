import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest'
import { measureMemory } from '../e2e/support/memory.ts'
import { exchange } from './support/exchange.ts'
import { expectNothingForGood, untilFetchesEnd, withDatabase } from './support/fetches.ts'
import { expectEveryFileWhole, uploadFiles } from './support/inspect.ts'
import { expectPushAndPull } from './support/outage.ts'
import { beginReading, expectPull } from './support/reading.ts'
import { startProgram } from './support/server.ts'
import { isBlobFetch, openUpstream, type Upstream } from './support/upstream.ts'
import {
  mountSmallDisk,
  openWorkspace,
  requireUnless,
  until,
  type Workspace,
  whyNoSmallDisk,
} from './support/workspace.ts'

const MIB = 1024 * 1024

let upstream: Upstream
let workspace: Workspace
beforeAll(async () => {
  upstream = await openUpstream()
})
afterAll(() => upstream.close())
beforeEach(async () => {
  workspace = await openWorkspace()
  onTestFinished(() => workspace.close())
})

const noDisk = await whyNoSmallDisk()

it('a disk that fills up in the middle of a fetch: it fails cleanly, and works when there is room', async (context) => {
  requireUnless(noDisk, context)
  const disk = await mountSmallDisk(workspace, { bytes: 64 * MIB, inodes: 500 })
  const storage = path.join(disk.folder, 'registry')
  const { environment } = upstream
  const settings = { 'storage.root': storage }
  const server = await startProgram(workspace, { settings, environment })
  const to = { host: () => server.host, repository: 'hosted/app' }
  await expectPushAndPull(to, 'before')
  const layer = await upstream.push('team/large', 16 * MIB)
  await disk.fill(8 * MIB)

  for (let attempt = 0; attempt < 3; attempt++) {
    const { status, ended } = await beginReading(server.host, layer.path)
    expect([200, 507]).toContain(status)
    expect((await ended).isWhole).toBe(status !== 200)
  }
  await until('the room is given back', async () => (await disk.freeBytes()) >= 8 * MIB - 16_384)
  await expectEveryFileWhole(storage)
  await expectPushAndPull(to, 'during')
  expect(await exchange(server.host, { method: 'GET', path: '/healthz' })).toMatchObject({
    status: 200,
  })
  const left = await uploadFiles(storage)
  process.stdout.write(
    `files of fetches that met the full disk: ${[...left.values()].join(', ')}\n`,
  )

  await disk.makeRoom()
  await expectPull(server.host, layer)
  await withDatabase(workspace, untilFetchesEnd)
  expect(await expectEveryFileWhole(storage)).toContain(layer.digest)
  await expectNothingForGood({ ...workspace, storage })
})

const READERS = 100
const LARGE = 64 * MIB
/** Of each a chunk of 256 KiB; and what the garbage collector has not come to. */
const ALLOWED_MIB = 150

/** Its answer has begun, and the client takes no more of it than the system does by itself. */
async function beginAndStop(host: string, target: string): Promise<Socket> {
  const [hostname, port] = host.split(':')
  const socket = createConnection({ host: hostname, port: Number(port) })
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  socket.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  await once(socket, 'readable')
  return socket
}

it(`${READERS} clients that stop reading hold little memory, and the fetch ends`, async (context) => {
  requireUnless(process.platform === 'linux' ? undefined : '/proc needs Linux', context)
  const layer = await upstream.push('team/idle', LARGE)
  upstream.proxy.reset()
  const { environment } = upstream
  const server = await startProgram(workspace, { environment })
  await expectPushAndPull({ host: () => server.host, repository: 'hosted/app' }, 'before')
  const stalled = upstream.proxy.stall(isBlobFetch, { afterBytes: MIB })
  const isKept = async () => {
    const { headers } = await exchange(server.host, { method: 'HEAD', path: layer.path })
    return headers['cache-status'] === 'Slipway; hit'
  }
  const memory = await measureMemory(server.pid, async () => {
    const idle = await Promise.all(
      Array.from({ length: READERS }, () => beginAndStop(server.host, layer.path)),
    )
    stalled.clear()
    await until('the end of the fetch', isKept)
    expect(idle.filter(({ closed }) => closed)).toEqual([])
    await expectPull(server.host, layer)
  })
  process.stdout.write(
    `${READERS} idle clients of ${LARGE / MIB} MiB: ${memory.beforeMiB.toFixed(0)} MiB before, ` +
      `at most ${memory.peakMiB.toFixed(0)} MiB\n`,
  )
  expect(memory.peakMiB - memory.beforeMiB).toBeLessThan(ALLOWED_MIB)
  expect(upstream.proxy.requests('blob').filter(isBlobFetch)).toHaveLength(1)
}, 60_000)
