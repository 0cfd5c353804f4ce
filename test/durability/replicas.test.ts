import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Pool } from '../../storage/metadata/database.ts'
import { exchange } from './support/exchange.ts'
import { CONTAINERD, contentOf, expectStatus, imageOf, pushManifest } from './support/pushes.ts'
import { type Replica, startReplicas } from './support/replicas.ts'
import { freePort, type ServerProcess, startProgram } from './support/server.ts'
import { openWorkspace, until, type Workspace } from './support/workspace.ts'

const repository = 'replicas/shared'
const config = contentOf('config', 100)

async function send(server: ServerProcess, method: string, target: string): Promise<number> {
  return (await exchange(server.host, { method, path: target })).status
}

let pushed = 0

/** @returns the path of a manifest that nobody has asked for yet */
async function push({ host }: ServerProcess): Promise<string> {
  const image = imageOf(config, [], { number: String(pushed++) })
  await pushManifest({ host: () => host, repository }, image, 'latest')
  return `/v2/${repository}/manifests/${image.manifest.digest}`
}

/** @returns how many ms it took */
async function remove(server: ServerProcess, target: string): Promise<number> {
  const beganAtMs = performance.now()
  expectStatus('DELETE', await exchange(server.host, { method: 'DELETE', path: target }), 202)
  return performance.now() - beganAtMs
}

describe('two replicas', () => {
  let workspace: Workspace
  let pool: Pool
  let a: Replica
  let b: Replica

  beforeAll(async () => {
    workspace = await openWorkspace()
    // What is remembered shows in the statements: the collector makes some every few seconds.
    const quiet = { 'gc.intervalSeconds': '3600' }
    const shared = await startReplicas(workspace, ['replica-a', 'replica-b'], quiet)
    pool = shared.pool
    ;[a, b] = shared.replicas as [Replica, Replica]
    await CONTAINERD.push({ host: () => a.server.host, repository }, config)
    await untilShared()
  })

  afterEach(() => b.proxy.restore())
  afterAll(() => workspace.close())

  /** Until each remembers what it is asked for, and knows that the other one does. */
  async function untilShared(): Promise<void> {
    await until(
      'a shared memory',
      async () => {
        const target = await push(a.server)
        if (!(await isRemembered(a, target)) || !(await isRemembered(b, target))) return false
        return (await remove(a.server, target)) < 1000
      },
      60_000,
    )
  }

  /** Asks for it three times; true when the last answer needed no statement. */
  async function isRemembered({ name, server }: Replica, target: string): Promise<boolean> {
    for (let time = 0; time < 2; time++) expect(await send(server, 'GET', target)).toBe(200)
    const before = await latestStatement(name)
    expect(await send(server, 'GET', target)).toBe(200)
    return (await latestStatement(name)) === before
  }

  /** When the replica began its latest statement; those of its listening connection do not count. */
  async function latestStatement(name: string): Promise<string | undefined> {
    const { rows } = await pool.query<{ at: string }>(
      `select max(query_start)::text as at from pg_stat_activity where application_name = $1`,
      [name],
    )
    return rows[0]?.at
  }

  async function remembered(replica: Replica): Promise<string> {
    const target = await push(a.server)
    // Once more if its background work came in between, which asks the database now and then.
    const isTrue = (await isRemembered(replica, target)) || (await isRemembered(replica, target))
    expect(isTrue).toBe(true)
    return target
  }

  it('serve from memory, and nothing that the other one has deleted', async () => {
    for (let round = 0; round < 100; round++) {
      const [deleting, reading] = round % 2 === 0 ? [a, b] : [b, a]
      const target = await remembered(reading)
      await remove(deleting.server, target)
      expect(await send(reading.server, 'GET', target)).toBe(404)
    }
  })

  it('do so also when one was stopped meanwhile', async () => {
    const target = await remembered(b)
    b.server.signal('SIGSTOP')
    try {
      expect(await remove(a.server, target)).toBeLessThan(7000)
      // Waiting when it goes on, together with the notification: nothing says what it reads first.
      const asking = send(b.server, 'GET', target)
      await sleep(200)
      b.server.signal('SIGCONT')
      expect(await asking).toBe(404)
    } finally {
      b.server.signal('SIGCONT')
    }
    await untilShared()
  })

  it('do so also when one is cut off the database without noticing', async () => {
    const target = await remembered(b)
    b.proxy.hang()
    const deleting = remove(a.server, target)
    await sleep(500)
    expect(await send(b.server, 'GET', target), 'while its lease lasts').toBe(200)

    expect(await deleting).toBeLessThan(7000)
    expect(await send(b.server, 'GET', target)).toBe(503)

    await b.proxy.restore()
    await until('an answer', async () => (await send(b.server, 'GET', target)) !== 503)
    expect(await send(b.server, 'GET', target)).toBe(404)
    await untilShared()
  })

  it('do so also when the connections of both break', async () => {
    const target = await remembered(b)
    a.proxy.cut()
    b.proxy.cut()
    await until('a delete', async () => [202, 404].includes(await send(a.server, 'DELETE', target)))
    expect(await send(b.server, 'GET', target)).toBe(404)
    await untilShared()
  })

  it('go on when one of them is killed, after a few slow deletes', async () => {
    const targets = [await remembered(b), await push(a.server)] as const
    await b.server.kill()
    expect(await remove(a.server, targets[0])).toBeLessThan(7000)
    await until('a quick delete', async () => (await remove(a.server, await push(a.server))) < 1000)
    expect(await send(a.server, 'GET', targets[1])).toBe(200)
  })
})

describe('two workers', () => {
  it('serve nothing that the other one has deleted', async () => {
    const workspace = await openWorkspace()
    try {
      const listen = `127.0.0.1:${await freePort()}`
      const server = await startProgram(workspace, { settings: { workers: '2', listen } })
      await CONTAINERD.push({ host: () => server.host, repository }, config)
      await until('they hear each other', () => workspace.log().split('are heard').length > 2)
      for (let round = 0; round < 50; round++) {
        const target = await push(server)
        const ask = () => Promise.all([1, 2, 3, 4, 5, 6].map(() => send(server, 'GET', target)))
        await ask()
        await remove(server, target)
        expect(new Set(await ask())).toEqual(new Set([404]))
      }
    } finally {
      await workspace.close()
    }
  })
})
