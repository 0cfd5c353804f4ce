import { stat } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startSeparatePostgres } from '../support/separate-postgres.ts'
import { type DatabaseProxy, openDatabaseProxy } from './support/database-proxy.ts'
import { exchange } from './support/exchange.ts'
import {
  expectPushAndPull,
  expectUnavailable,
  goOn,
  interrupted,
  listTags,
  readiness,
} from './support/outage.ts'
import { contentOf, startSession, type Target } from './support/pushes.ts'
import { type ServerProcess, startProgram } from './support/server.ts'
import { openWorkspace, until, type Workspace } from './support/workspace.ts'

let workspace: Workspace
let server: ServerProcess
const to: Target = { host: () => server.host, repository: 'outage/external' }

/** Sends a little at a time, for so long; `atStart` runs when the server has begun to take it. */
async function* trickle(bytes: Buffer, ms: number, atStart: () => unknown) {
  const startedAt = performance.now()
  for (let offset = 0; performance.now() - startedAt < ms; offset += 500) {
    if (offset === 1000) await atStart()
    yield bytes.subarray(offset, offset + 500)
    await sleep(100)
  }
}

describe('an external database', () => {
  let proxy: DatabaseProxy

  beforeAll(async () => {
    workspace = await openWorkspace()
    const directory = path.join(workspace.folder, 'external')
    const postgres = await startSeparatePostgres(directory, workspace.onClose)
    const { host, port, user, database } = postgres.connection
    proxy = await openDatabaseProxy(path.join(host, `.s.PGSQL.${port}`))
    workspace.onClose(() => proxy.close())
    const url = `postgres://${user}@127.0.0.1:${proxy.port}/${database}`
    const settings = { 'database.url': url, 'database.connections': '4' }
    server = await startProgram(workspace, { settings })
    await expectPushAndPull(to, 'before')
  })

  afterEach(() => proxy.restore())
  afterAll(() => workspace.close())

  it('that breaks every connection: the next request is served', async () => {
    const content = contentOf('cut', 200_000)
    const session = await startSession(to)
    const body = interrupted(content.bytes, async () => {
      await sleep(1500) // the session is claimed; between here and the end nothing is asked
      proxy.cut()
    })
    const patched = await exchange(server.host, { method: 'PATCH', path: session, body })
    expect(patched.status).toBe(202)
    await goOn(to, session, content)
    proxy.cut()
    await sleep(50)
    expect((await listTags(to)).status).toBe(200)
  })

  it('that is gone for 22 s: 503 at once, transfers are ended, and it all goes on', async () => {
    const content = contentOf('gone', 200_000)
    const session = await startSession(to)
    let goneAt = Number.NaN
    const refuse = async () => {
      goneAt = performance.now()
      await proxy.refuse()
    }
    const body = trickle(content.bytes, 30_000, refuse)
    const sending = exchange(server.host, { method: 'PATCH', path: session, body })
    const endedAt = sending.then(() => performance.now())
    await until('the outage', () => goneAt > 0)

    while (performance.now() - goneAt < 22_000) {
      const askedAt = performance.now()
      expectUnavailable(await listTags(to))
      expect(await readiness(to)).toBe(503)
      expect(performance.now() - askedAt).toBeLessThan(5000)
      await sleep(1000)
    }
    expectUnavailable(await sending)
    // Another process could have claimed the session 15 s after it was claimed or renewed last.
    expect((await endedAt) - goneAt).toBeLessThan(15_000)
    await proxy.restore()

    await until('ready again', async () => (await readiness(to)) === 200)
    await goOn(to, session, content)
    await expectPushAndPull(to, 'after-outage')
  }, 60_000)

  it('that hangs: /readyz says so within seconds', async () => {
    proxy.hang()
    const askedAt = performance.now()
    expect(await readiness(to)).toBe(503)
    expect(performance.now() - askedAt).toBeLessThan(8000)
    await proxy.restore()
    await until('ready again', async () => (await readiness(to)) === 200)
  })

  it('that hangs: requests are answered with 503 instead of waiting for ever', async () => {
    await listTags(to) // a connection that is open
    proxy.hang()
    const answers = await Promise.allSettled(Array.from({ length: 6 }, () => listTags(to, 12_000)))
    await proxy.restore()

    const outcomes = answers.map((answer) =>
      answer.status === 'fulfilled' ? String(answer.value.status) : String(answer.reason),
    )
    expect(outcomes).toEqual(answers.map(() => '503'))
  })

  it('that hung and goes on: the next requests are served', async () => {
    proxy.hang()
    const held = listTags(to, 3000).catch(() => undefined)
    await held
    await proxy.restore()
    await until('requests are served', async () => (await listTags(to)).status === 200)
    await expectPushAndPull(to, 'after-hang')
  })

  it('that hangs under an upload: no byte is taken once another could claim it', async () => {
    const content = contentOf('fenced', 200_000)
    const session = await startSession(to)
    const file = path.join(workspace.storage, 'uploads', path.basename(session))
    const bytesTaken = async () => (await stat(file)).size
    let hungAt = Number.NaN
    const hang = () => {
      hungAt = performance.now()
      proxy.hang()
    }
    const body = trickle(content.bytes, 19_000, hang)
    const sending = exchange(server.host, { method: 'PATCH', path: session, body })
    sending.catch(() => {})
    await until('the outage', () => hungAt > 0)

    await sleep(15_500)
    const taken = await bytesTaken()
    await sleep(1500)
    const takenLater = await bytesTaken()
    await proxy.restore()
    await sending.catch(() => {})

    expect(takenLater - taken, 'bytes written without a claim').toBeLessThanOrEqual(0)
  }, 60_000)
})
