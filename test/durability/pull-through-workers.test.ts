import { lstat, readdir, readlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import {
  expectNothingForGood,
  fetchRows,
  untilFetchesEnd,
  withDatabase,
} from './support/fetches.ts'
import { expectEveryFileWhole, uploadFiles } from './support/inspect.ts'
import { beginReading, expectNothingWrong, outcomesOf, type Reading } from './support/reading.ts'
import { freePort, type ServerProcess, startProgram, workersOf } from './support/server.ts'
import { isBlobFetch, openUpstream, type RemoteLayer, type Upstream } from './support/upstream.ts'
import { openWorkspace, requireUnless, until, type Workspace } from './support/workspace.ts'

const MIB = 1024 * 1024
const SIZE = 8 * MIB
const HALF = SIZE / 2
const CLIENTS = 24

const noProc = process.platform === 'linux' ? undefined : '/proc needs Linux'
beforeEach((context) => requireUnless(noProc, context))

let upstream: Upstream
beforeAll(async () => {
  upstream = await openUpstream()
})
afterAll(() => upstream.close())

/** Workers that have a file of an upload open, by what for. */
async function openUploads(
  server: ServerProcess,
  { storage }: Workspace,
): Promise<{ writing: number[]; reading: number[] }> {
  const found = { writing: new Set<number>(), reading: new Set<number>() }
  for (const pid of await workersOf(server)) {
    const folder = `/proc/${pid}/fd`
    for (const name of await readdir(folder)) {
      const file = path.join(folder, name)
      const target = await readlink(file).catch(() => '')
      if (!target.startsWith(path.join(storage, 'uploads'))) continue
      const { mode } = await lstat(file)
      if (mode & 0o200) found.writing.add(pid)
      else found.reading.add(pid)
    }
  }
  return { writing: [...found.writing], reading: [...found.reading] }
}

interface Stage {
  readonly workspace: Workspace
  readonly layer: RemoteLayer
  /** With three workers. */
  start(this: void): Promise<ServerProcess>
}

let stages = 0

async function openStage(): Promise<Stage> {
  const workspace = await openWorkspace()
  onTestFinished(() => workspace.close())
  const layer = await upstream.push(`team/app-${++stages}`, SIZE)
  upstream.proxy.reset()
  return {
    workspace,
    layer,
    start: async () => {
      const settings = { workers: '3', listen: `127.0.0.1:${await freePort()}` }
      const { environment } = upstream
      const { length } = workspace.log()
      const server = await startProgram(workspace, { settings, environment })
      const listening = () => workspace.log().slice(length).split('"listening"').length - 1
      await until('three workers', () => listening() === 3, 60_000)
      return server
    },
  }
}

/** Which worker takes a connection is its own secret: of so many most have some. */
function beginReadings({ host }: ServerProcess, layer: RemoteLayer): Promise<Reading>[] {
  return Array.from({ length: CLIENTS }, () => beginReading(host, layer.path))
}

/** Until all workers have clients of a layer that stalls: one fetches it, and the others follow. */
async function beginEverywhere(server: ServerProcess, workspace: Workspace, layer: RemoteLayer) {
  const begun = beginReadings(server, layer)
  await until('clients of three workers', async () => {
    if ((await openUploads(server, workspace)).reading.length === 3) return true
    begun.push(beginReading(server.host, layer.path))
    return false
  })
  return begun
}

/** Kills the one that fetches, in the middle, and waits for all clients to end. */
async function killFetching({ workspace, layer, start }: Stage): Promise<ServerProcess> {
  const server = await start()
  const stalled = upstream.proxy.stall(isBlobFetch, { afterBytes: HALF })
  const begun = await beginEverywhere(server, workspace, layer)
  const [victim = 0] = (await openUploads(server, workspace)).writing
  process.kill(victim, 'SIGKILL')
  stalled.clear()
  const killedAt = performance.now()
  const whole = expectNothingWrong(await outcomesOf(begun), layer)
  const seconds = ((performance.now() - killedAt) / 1000).toFixed(1)
  process.stdout.write(`${whole} of ${begun.length} clients finished, all ended in ${seconds} s\n`)
  expect(whole).toBeLessThan(begun.length)
  return server
}

describe('three workers', () => {
  it('fetch a blob once for the clients of all of them', async () => {
    const { workspace, layer, start } = await openStage()
    const server = await start()
    const stalled = upstream.proxy.stall(isBlobFetch, { afterBytes: HALF })
    const begun = await beginEverywhere(server, workspace, layer)
    expect((await openUploads(server, workspace)).writing).toHaveLength(1)
    stalled.clear()

    const outcomes = await outcomesOf(begun)
    expect(expectNothingWrong(outcomes, layer)).toBe(begun.length)
    expect(upstream.proxy.blobBytes).toBe(SIZE)
    await withDatabase(workspace, untilFetchesEnd)
    expect(await uploadFiles(workspace.storage)).toEqual(new Map())
  }, 60_000)

  it('give no client wrong bytes when the one that fetches is killed', async () => {
    const stage = await openStage()
    const { workspace, layer } = stage
    const server = await killFetching(stage)
    await until('all clients are served', async () => {
      const outcomes = await outcomesOf(beginReadings(server, layer))
      return expectNothingWrong(outcomes, layer) === CLIENTS
    })
    await withDatabase(workspace, untilFetchesEnd)
    expect(await expectEveryFileWhole(workspace.storage)).toEqual([layer.digest])
    await expectNothingForGood(workspace)
  }, 120_000)

  it('serve all who come after one that fetched was killed', async () => {
    const stage = await openStage()
    const { workspace, layer } = stage
    const server = await killFetching(stage)
    const rows = await withDatabase(workspace, fetchRows)
    expect(rows.filter(({ isClaimed }) => isClaimed)).toEqual([])
    const outcomes = await outcomesOf(beginReadings(server, layer))
    expect(expectNothingWrong(outcomes, layer)).toBe(CLIENTS)
  }, 120_000)

  // Until the process that has the claim begins to write, its row still names that file.
  it('never read what an earlier server left in a file that is not written any more', async () => {
    const { workspace, layer, start } = await openStage()
    const stalled = upstream.proxy.stall(isBlobFetch, { afterBytes: HALF })
    const first = await start()
    const reading = await beginReading(first.host, layer.path)
    await until('half of the layer', () => reading.received() === HALF)
    await until('the file is known', async () => {
      return (await withDatabase(workspace, fetchRows)).some(({ uploadId }) => uploadId !== null)
    })
    await first.kill()
    stalled.clear()
    // A power failure can leave a file with its size and without its bytes.
    for (const name of (await uploadFiles(workspace.storage)).keys()) {
      await writeFile(path.join(workspace.storage, 'uploads', name), Buffer.alloc(SIZE))
    }

    const second = await start()
    expectNothingWrong(await outcomesOf(beginReadings(second, layer)), layer)
    // Until it answers, nothing but the old file is there.
    upstream.proxy.delay(isBlobFetch, { firstByteMs: 2000 })
    expect(expectNothingWrong(await outcomesOf(beginReadings(second, layer)), layer)).toBe(CLIENTS)
  }, 120_000)
})
