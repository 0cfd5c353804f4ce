import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { exchange } from './support/exchange.ts'
import { expectBlob } from './support/inspect.ts'
import { expectPushAndPull } from './support/outage.ts'
import { contentOf, expectStatus, patch, put, startSession, type Target } from './support/pushes.ts'
import {
  childrenOf,
  freePort,
  type ServerProcess,
  startProgram,
  workersOf,
} from './support/server.ts'
import {
  isAlive,
  openWorkspace,
  requireUnless,
  until,
  type Workspace,
} from './support/workspace.ts'

/** A port of its own: when every worker is dead, port 0 would mean another one to the next. */
async function twoWorkers() {
  return { settings: { workers: '2', listen: `127.0.0.1:${await freePort()}` } }
}

/** A worker that dies sooner after its start counts as one that cannot start. */
const GROWN_MS = 5500

const noProc = process.platform === 'linux' ? undefined : '/proc needs Linux'
beforeEach((context) => requireUnless(noProc, context))

/** Which process logged a request of that method to that path. */
function servedBy(workspace: Workspace, method: string, url: string): Set<number> {
  const pids = new Set<number>()
  for (const line of workspace.log().split('\n')) {
    if (!line.startsWith('{')) continue
    const entry = JSON.parse(line) as { pid: number; method?: string; url?: string }
    if (entry.method === method && entry.url?.startsWith(url)) pids.add(entry.pid)
  }
  return pids
}

describe('two workers', () => {
  let workspace: Workspace
  let server: ServerProcess
  const to: Target = { host: () => server.host, repository: 'workers/two' }

  beforeAll(async () => {
    if (noProc !== undefined) return
    workspace = await openWorkspace()
    server = await startProgram(workspace, await twoWorkers())
    await until('both workers', async () => (await workersOf(server)).length === 2)
  })

  afterAll(() => workspace?.close())

  it('take pushes and pulls', async () => {
    for (let number = 0; number < 5; number++) await expectPushAndPull(to, `image-${number}`)
  })

  it('share an upload session whose requests come to one and the other', async () => {
    const content = contentOf('chunks', 1_000_000)
    const session = await startSession(to)
    for (let offset = 0; offset < content.bytes.length; offset += 100_000) {
      const chunk = content.bytes.subarray(offset, offset + 100_000)
      expectStatus(`PATCH at ${offset}`, await patch(to, session, chunk, offset), 202)
    }
    expectStatus('PUT', await put(to, session, content.digest), 201)
    for (let time = 0; time < 4; time++) {
      await expectBlob(server.host, to.repository, content.digest)
    }
    await until('the log', () => servedBy(workspace, 'PATCH', session).size === 2)
  })

  it('are replaced when killed, and the other serves meanwhile', async () => {
    await sleep(GROWN_MS)
    const [victim = 0, survivor = 0] = await workersOf(server)
    process.kill(victim, 'SIGKILL')

    await until('a third worker', async () => {
      const workers = await workersOf(server)
      return workers.length === 2 && !workers.includes(victim)
    })
    expect(await workersOf(server)).toContain(survivor)
    for (let number = 0; number < 4; number++) await expectPushAndPull(to, `replaced-${number}`)
  })

  it('leave no connection hanging that comes as one of them dies', async () => {
    await sleep(GROWN_MS)
    const [victim = 0] = await workersOf(server)
    process.kill(victim, 'SIGKILL')
    const ask = { method: 'GET', path: '/readyz', timeoutMs: 5000 }
    const asked = Array.from({ length: 8 }, () => exchange(server.host, ask))

    const outcomes = await Promise.allSettled(asked.map((asking) => asking.catch(String)))

    // One that the victim had taken already may be reset.
    const hanging = outcomes.filter((outcome) => JSON.stringify(outcome).includes('no whole'))
    expect(hanging).toEqual([])
  })

  it('let a client go on with the session of one that was killed', async () => {
    await sleep(GROWN_MS)
    const content = contentOf('orphaned', 300_000)
    const session = await startSession(to)
    const first = content.bytes.subarray(0, 100_000)
    const rest = content.bytes.subarray(100_000)
    expectStatus('PATCH', await patch(to, session, first), 202)
    const workers = await workersOf(server)
    // Which worker takes a request is its own secret, so both are killed under it.
    const body = async function* () {
      yield rest.subarray(0, 50_000)
      await sleep(500)
      workers.forEach((pid) => process.kill(pid, 'SIGKILL'))
      await sleep(500)
      yield rest.subarray(50_000)
    }
    const cut = exchange(server.host, { method: 'PATCH', path: session, body: body() })
    await expect(cut).rejects.toThrow(/hang up|ECONNRESET|EPIPE/)
    await until('two others', async () => {
      const now = await workersOf(server)
      return now.length === 2 && !now.some((pid) => workers.includes(pid))
    })
    await until('one listens', () =>
      exchange(server.host, { method: 'GET', path: '/healthz' }).then(
        ({ status }) => status === 200,
        () => false,
      ),
    )

    // The claim of the dead worker runs out after 15 s; the client waits, it is not refused.
    expectStatus('PATCH again', await patch(to, session, rest, first.length), 202)
    expectStatus('PUT', await put(to, session, content.digest), 201)
    await expectBlob(server.host, to.repository, content.digest)
  }, 60_000)
})

async function start() {
  const workspace = await openWorkspace()
  onTestFinished(() => workspace.close())
  const server = await startProgram(workspace, await twoWorkers())
  await until('both workers', async () => (await workersOf(server)).length === 2)
  return { workspace, server, to: { host: () => server.host, repository: 'workers/server' } }
}

describe('a server of two workers', () => {
  it('stops at SIGTERM when transfers have ended, and leaves no process', async () => {
    const { server, to } = await start()
    const content = contentOf('draining', 200_000)
    const session = await startSession(to)
    const processes = await childrenOf(server.pid)
    expect(processes.length, 'workers and the database').toBe(3)
    const body = async function* () {
      yield content.bytes.subarray(0, 100_000)
      await sleep(200)
      server.signal('SIGTERM')
      await sleep(500)
      yield content.bytes.subarray(100_000)
    }

    const answer = await exchange(server.host, { method: 'PATCH', path: session, body: body() })

    expect(answer.status).toBe(202)
    expect(await server.exited).toEqual({ code: 0, signal: null })
    expect(processes.filter(isAlive)).toEqual([])
  })

  it('replaces a worker that served and died young', async () => {
    const { server, to } = await start()
    await expectPushAndPull(to, 'before')
    const [victim = 0] = await workersOf(server)
    process.kill(victim, 'SIGKILL')
    await sleep(1500)

    expect(server.hasExited(), 'the whole server ended').toBe(false)
    await expectPushAndPull(to, 'after')
  })

  it('whose first process is killed takes its workers along, and starts again', async () => {
    const { workspace, server, to } = await start()
    await expectPushAndPull(to, 'before')
    const workers = await workersOf(server)
    await server.kill()
    await until('the end of the workers', () => !workers.some(isAlive))

    const next = await startProgram(workspace, await twoWorkers())
    await expectPushAndPull({ ...to, host: () => next.host }, 'after')
  })
})
