import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { errorOf, exchange } from './support/exchange.ts'
import { expectNothingForGood, untilFetchesEnd, withDatabase } from './support/fetches.ts'
import { expectEveryFileWhole, uploadFiles } from './support/inspect.ts'
import { expectPushAndPull, expectUnavailable, readiness } from './support/outage.ts'
import { expectStatus } from './support/pushes.ts'
import {
  beginReading,
  expectNothingWrong,
  expectPull,
  outcomesOf,
  type Reading,
} from './support/reading.ts'
import { postmasterPid, type ServerProcess, startProgram } from './support/server.ts'
import { isBlobFetch, openUpstream, type RemoteLayer, type Upstream } from './support/upstream.ts'
import { openWorkspace, until, type Workspace } from './support/workspace.ts'

const MIB = 1024 * 1024
const SIZE = 8 * MIB
const HALF = SIZE / 2

let upstream: Upstream
beforeAll(async () => {
  upstream = await openUpstream()
})
afterAll(() => upstream.close())

interface Stage {
  readonly workspace: Workspace
  readonly layer: RemoteLayer
  start(this: void, settings?: Readonly<Record<string, string>>): Promise<ServerProcess>
}

let stages = 0

async function openStage(size = SIZE): Promise<Stage> {
  const workspace = await openWorkspace()
  onTestFinished(() => workspace.close())
  upstream.proxy.reset()
  return {
    workspace,
    layer: await upstream.push(`team/app-${++stages}`, size),
    start: (settings = {}) =>
      startProgram(workspace, { settings, environment: upstream.environment }),
  }
}

/** A client that has all that the upstream has sent: half of the layer. */
async function readHalf({ host }: ServerProcess, { path }: RemoteLayer): Promise<Reading> {
  const reading = await beginReading(host, path)
  expect(reading.status).toBe(200)
  await until('half of the layer', () => reading.received() === HALF)
  return reading
}

/** The ranges that were asked for, since the proxy was reset. */
function ranges(): (string | undefined)[] {
  return upstream.proxy
    .requests('blob')
    .filter(isBlobFetch)
    .map(({ range }) => range)
}

describe('a server killed in the middle of a fetch', () => {
  it('serves nothing half-written when it is started again, and fetches anew', async () => {
    const { workspace, layer, start } = await openStage()
    const stalled = upstream.proxy.stall(isBlobFetch, { afterBytes: HALF })
    const server = await start()
    const reading = await readHalf(server, layer)
    await server.kill()
    expect((await reading.ended).isWhole).toBe(false)
    stalled.clear()
    expect(await expectEveryFileWhole(workspace.storage)).toEqual([])

    const next = await start()
    expectStatus('HEAD', await exchange(next.host, { method: 'HEAD', path: layer.path }), 200)
    await expectPull(next.host, layer)

    await withDatabase(workspace, untilFetchesEnd)
    expect(await expectEveryFileWhole(workspace.storage)).toEqual([layer.digest])
    // What was written by the one that was killed, until its session expires.
    const left = [...(await uploadFiles(workspace.storage)).values()]
    process.stdout.write(`left of the fetch that was killed: ${left.join(', ') || 'nothing'}\n`)
    await expectNothingForGood(workspace)
    await expectPull(next.host, layer)
  })

  // What it resumes is a session with bytes; one without is left, with its file, until it expires.
  it('leaves no file behind once the blob is here', async () => {
    const { workspace, layer, start } = await openStage()
    const stalled = upstream.proxy.stall(isBlobFetch, { afterBytes: HALF })
    const server = await start()
    await readHalf(server, layer)
    await server.kill()
    stalled.clear()
    const next = await start()
    await expectPull(next.host, layer)
    await withDatabase(workspace, untilFetchesEnd)
    expect(await uploadFiles(workspace.storage)).toEqual(new Map())
  }, 60_000)
})

describe('a server stopped in the middle of a fetch', () => {
  it.each([
    { who: 'a client that waits', leaves: false },
    { who: 'nobody', leaves: true },
  ])('with $who ends soon, and the next one goes on by range', async ({ leaves }) => {
    const { workspace, layer, start } = await openStage()
    const stalled = upstream.proxy.stall(isBlobFetch, { afterBytes: HALF })
    const server = await start({ 'limits.drainSeconds': '2' })
    const reading = await readHalf(server, layer)
    if (leaves) reading.leave()
    const stoppedAt = performance.now()
    expect(await server.stop()).toEqual({ code: 0, signal: null })
    const seconds = (performance.now() - stoppedAt) / 1000
    process.stdout.write(`stopped in ${seconds.toFixed(1)} s\n`)
    expect((await reading.ended).isWhole).toBe(false)
    expect([...(await uploadFiles(workspace.storage)).values()]).toEqual([HALF])
    stalled.clear()

    upstream.proxy.reset()
    const next = await start()
    await expectPull(next.host, layer)
    expect(ranges()).toEqual([`bytes=${HALF}-`])
    expect(upstream.proxy.blobBytes).toBe(HALF)
    await withDatabase(workspace, untilFetchesEnd)
    expect(await uploadFiles(workspace.storage)).toEqual(new Map())
  })
})

/** Kills the embedded database as often as it comes back. */
async function keepDown(workspace: Workspace, ms: number): Promise<void> {
  const end = performance.now() + ms
  do {
    try {
      process.kill(postmasterPid(workspace), 'SIGKILL')
    } catch {
      // It is down.
    }
    await sleep(50)
  } while (performance.now() < end)
}

describe('the embedded database killed in the middle of a fetch', () => {
  it.each([
    { when: 'once', ms: 0 },
    { when: 'for some seconds, until after the last byte', ms: 3000 },
  ])(
    '$when: the fetch ends well or is cut, and the next succeeds',
    async ({ ms }) => {
      const { workspace, layer, start } = await openStage()
      const stalled = upstream.proxy.stall(isBlobFetch, { afterBytes: HALF })
      const server = await start()
      const reading = await readHalf(server, layer)
      await sleep(1000) // what the database has not yet on its disk may be lost with it
      const down = keepDown(workspace, ms)
      stalled.clear()
      await down

      const whole = expectNothingWrong([await reading.ended], layer)
      process.stdout.write(`the client's pull ${whole === 1 ? 'ended well' : 'was cut'}\n`)
      await until('a pull', async () => {
        const outcomes = await outcomesOf([beginReading(server.host, layer.path)])
        return expectNothingWrong(outcomes, layer) === 1
      })
      await until('the database', async () => (await readiness(target(server))) === 200)
      await withDatabase(workspace, untilFetchesEnd)
      expect(await expectEveryFileWhole(workspace.storage)).toEqual([layer.digest])
      await expectPushAndPull(target(server), 'after')
      expect(server.hasExited()).toBe(false)
      await expectNothingForGood(workspace)
    },
    60_000,
  )
})

function target(server: ServerProcess) {
  return { host: () => server.host, repository: 'hosted/app' }
}

describe('an upstream that hangs', () => {
  it.each(['nothing', 'the manifest'])(
    'for ever, when %s is known: the client has headers in 30 s',
    async (known) => {
      const { layer, start } = await openStage()
      const server = await start()
      if (known !== 'nothing') {
        const manifest = { method: 'GET', path: layer.tagPath }
        expectStatus('manifest', await exchange(server.host, manifest), 200)
      }
      const hanging = upstream.proxy.hang(() => true, { times: Number.POSITIVE_INFINITY })
      onTestFinished(() => hanging.clear())

      const began = performance.now()
      const paths = [layer.path, layer.tagPath.replace('latest', 'other')]
      const asked = paths.map(async (path) => {
        const answer = await exchange(server.host, { method: 'GET', path, timeoutMs: 30_000 })
        const seconds = (performance.now() - began) / 1000
        process.stdout.write(`${known} known: ${answer.status} in ${seconds.toFixed(1)} s\n`)
        return answer
      })
      for (const answer of await Promise.all(asked)) {
        expectUnavailable(answer)
        expect(errorOf(answer).detail).toContain('up.example')
      }
    },
    60_000,
  )
})
