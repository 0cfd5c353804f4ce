import { existsSync, readFileSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it, type TestContext } from 'vitest'
import { exchange } from '../durability/support/exchange.ts'
import { expectBlob, Ledger } from '../durability/support/inspect.ts'
import { expectPushAndPull, expectUnavailable, readiness } from '../durability/support/outage.ts'
import {
  CONTAINERD,
  contentOf,
  DOCKER,
  expectStatus,
  offsetOf,
  patch,
  put,
  Refused,
  startSession,
} from '../durability/support/pushes.ts'
import type { ServerProcess } from '../durability/support/server.ts'
import { until } from '../durability/support/workspace.ts'
import { describeWithS3 } from '../support/s3.ts'
import { startSeparatePostgres } from '../support/separate-postgres.ts'
import { type Fleet, openFleet, to } from './fleet.ts'

const MIB = 2 ** 20
const REPOSITORY = 'outages/blobs'
const CLIENTS = 4

interface Counts {
  pushed: number
  refused: number
}

describeWithS3('replicas whose database fails', () => {
  let fleet: Fleet
  let replicas: readonly ServerProcess[]
  const ledger = new Ledger()
  beforeAll(async () => {
    fleet = await openFleet()
    replicas = [await fleet.start(), await fleet.start()]
  })
  afterEach(() => fleet.database.restore())
  afterAll(() => fleet.workspace.close())

  /** Clients push through all replicas until `work` ends; what was acknowledged is in the ledger. */
  async function whilePushing(work: (counts: Readonly<Counts>) => Promise<void>): Promise<void> {
    const counts: Counts = { pushed: 0, refused: 0 }
    const ending = new AbortController()
    const one = async (replica: ServerProcess, name: string) => {
      for (let count = 0; !ending.signal.aborted; count++) {
        const content = contentOf(`${name} ${count}`, count % 5 === 4 ? 6 * MIB : 2000)
        try {
          await (count % 2 === 0 ? DOCKER : CONTAINERD).push(to(replica, REPOSITORY), content)
          ledger.blobPushed(REPOSITORY, content.digest)
          counts.pushed++
        } catch (error) {
          if (!(error instanceof Refused)) throw error
          // A session may be among what a killed database forgets of its last moments.
          if (error.answer.status !== 404) expectUnavailable(error.answer)
          counts.refused++
          await sleep(50)
        }
      }
    }
    const name = `${performance.now()}`
    const clients = Array.from({ length: CLIENTS }, (_, index) =>
      one(replicas[index % replicas.length]!, `${name} ${index}`),
    )
    const all = [...clients, work(counts).finally(() => ending.abort())]
    // Nobody goes on when the servers are gone. A client's failure is thrown rather than what `work`
    // then waited for in vain.
    await Promise.allSettled(all)
    await Promise.all(all)
  }

  async function expectAllWell(): Promise<void> {
    for (const replica of replicas) {
      await until('a replica is ready', async () => (await readiness(to(replica, ''))) === 200)
      await ledger.expectWhole(replica.host)
    }
    await fleet.expectNothingLeftOver()
  }

  it('killed and restarted: nothing that was acknowledged is lost', async () => {
    await whilePushing(async (counts) => {
      for (let kills = 0; kills < 3; kills++) {
        await sleep(1500)
        const file = path.join(fleet.workspace.folder, 'database', 'cluster', 'postmaster.pid')
        process.kill(Number.parseInt(readFileSync(file, 'utf8'), 10), 'SIGKILL')
      }
      await sleep(3000)
      expect(counts.pushed).toBeGreaterThan(10)
    })
    await expectAllWell()
  }, 120_000)

  it('failed over to another address: they follow, and nothing is lost', async () => {
    const { folder } = fleet.workspace
    const name = fleet.postgres.connection.database
    await whilePushing(async (counts) => {
      await sleep(1500)
      // The old server is told to take no more writes, and replicas are still connected to it.
      await fleet.db.query(`alter database ${name} set default_transaction_read_only = on`)
      const atCut = { ...counts }
      fleet.database.cut()
      // The cut itself meets at most one push of each client.
      await until('refused pushes', () => counts.refused > atCut.refused + 5 * CLIENTS)
      expect(counts.pushed - atCut.pushed).toBeLessThanOrEqual(CLIENTS)
      await fleet.db.query(`begin read write; alter database ${name} reset all; commit`)
      await fleet.database.refuse()
      await fleet.postgres.stop()
      await rename(path.join(folder, 'database'), path.join(folder, 'standby'))
      const standbyFolder = path.join(folder, 'standby')
      const standby = await startSeparatePostgres(standbyFolder, fleet.workspace.onClose)
      const { host, port } = standby.connection
      fleet.database.leadTo(path.join(host, `.s.PGSQL.${port}`))
      await fleet.database.restore()
      const pushedBefore = counts.pushed
      await until('pushes succeed again', () => counts.pushed > pushedBefore + 10)
    })
    for (const replica of replicas) {
      await until('a replica is ready', async () => (await readiness(to(replica, ''))) === 200)
      await ledger.expectWhole(replica.host)
    }
  }, 120_000)
})

describeWithS3('replicas whose connections to the database are all in use', () => {
  let fleet: Fleet
  let replica: ServerProcess
  beforeAll(async () => {
    fleet = await openFleet()
    replica = await fleet.start({ 'database.connections': '2' })
    await expectPushAndPull(to(replica, REPOSITORY), 'before')
  })
  afterAll(() => fleet.workspace.close())

  it('answer or ask to come back, and go on when there are some again', async () => {
    const blocker = await fleet.db.connect()
    await blocker.query('begin; lock table repository_blobs in access exclusive mode')
    const { digest } = contentOf('before layer', 50_000)
    const asking = Array.from({ length: 30 }, () =>
      exchange(replica.host, { method: 'HEAD', path: `/v2/${REPOSITORY}/blobs/${digest}x` }),
    )
    const pushing = Array.from({ length: 10 }, (_, index) =>
      CONTAINERD.push(to(replica, REPOSITORY), contentOf(`blocked ${index}`, 1000)),
    )
    const outcomes = await Promise.allSettled([...asking, ...pushing])
    const refused = outcomes.filter(({ status }) => status === 'rejected')
    expect(refused).toHaveLength(pushing.length)
    for (const each of refused as PromiseRejectedResult[]) {
      expectUnavailable((each.reason as Refused).answer)
    }
    await blocker.query('rollback')
    blocker.release()
    await expectPushAndPull(to(replica, REPOSITORY), 'after')
  }, 60_000)
})

const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1'

describeWithS3('replicas whose clocks are ten minutes apart', () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await openFleet()
  })
  afterAll(() => fleet.workspace.close())

  it('push, go on with each other and send clients to the bucket as others do', async (test) => {
    requireFaketime(test)
    const redirecting = { 'storage.s3.redirect': 'true', 'storage.s3.redirectSeconds': '60' }
    const replicas: ServerProcess[] = []
    for (const shift of ['-10m', '+0m', '+10m']) {
      const environment = {
        LD_PRELOAD: FAKETIME,
        FAKETIME: shift,
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      }
      replicas.push(await fleet.start(redirecting, environment))
    }
    const { bytes, digest } = contentOf('skewed', 13 * MIB)
    let turn = 0
    const anywhere = { host: () => replicas[turn++ % 3]!.host, repository: REPOSITORY }
    const session = await startSession(anywhere)
    for (let at = 0; at < bytes.length; at += 3 * MIB) {
      const chunk = bytes.subarray(at, at + 3 * MIB)
      expectStatus('PATCH', await patch(anywhere, session, chunk, at), 202)
      expect(await offsetOf(anywhere, session)).toBe(at + chunk.length)
    }
    expectStatus('PUT', await put(anywhere, session, digest), 201)

    const clocks: number[] = []
    const urls: string[] = []
    for (const replica of replicas) {
      const { date } = (await exchange(replica.host, { method: 'GET', path: '/v2/' })).headers
      clocks.push(Date.parse(String(date)))
      const target = `/v2/${REPOSITORY}/blobs/${digest}`
      const answer = await exchange(replica.host, { method: 'GET', path: target })
      expectStatus('GET', answer, 307)
      const url = String(answer.headers.location)
      urls.push(url)
      const fetched = await fetch(url)
      expect(fetched.status).toBe(200)
      expect(Buffer.from(await fetched.arrayBuffer()).equals(bytes)).toBe(true)
    }
    expect(Math.round((clocks[2]! - clocks[0]!) / 60_000)).toBe(20)
    // Signed for the same moment, as the bucket has it.
    expect(new Set(urls.map((url) => new URL(url).searchParams.get('X-Amz-Date'))).size).toBe(1)
    await fleet.expectNothingLeftOver()
  })
})

function requireFaketime(test: TestContext): void {
  if (existsSync(FAKETIME)) return
  const reason = "needs Debian's package faketime, to shift clocks"
  if (process.env['CI']) throw new Error(reason)
  test.skip(reason)
}

describe.skipIf(process.platform !== 'linux')('on Linux', () => {
  describeWithS3('a replica that gets more than a slow object storage takes', () => {
    let fleet: Fleet
    beforeAll(async () => {
      fleet = await openFleet()
    })
    afterAll(() => fleet.workspace.close())

    it('holds no more than its parts', async () => {
      const replica = await fleet.start({ 'storage.s3.partsInFlight': '8' })
      await expectPushAndPull(to(replica, REPOSITORY), 'first')
      const before = peakMiB(replica.pid)
      fleet.s3.delay('UploadPart', { firstByteMs: 1000, times: Number.POSITIVE_INFINITY })
      const { bytes } = contentOf('memory', 40 * MIB)
      const uploads = Array.from({ length: 40 }, async () => {
        const session = await startSession(to(replica, REPOSITORY))
        const sending = { method: 'PATCH', path: session, body: bytes, timeoutMs: 120_000 }
        return exchange(replica.host, sending)
      })
      for (const answer of await Promise.all(uploads)) expectStatus('PATCH', answer, 202)
      const peak = peakMiB(replica.pid)
      process.stdout.write(
        `memory of a replica: ${before} MiB before, at most ${peak} MiB while 40 uploads ` +
          `of 40 MiB waited for a slow bucket\n`,
      )
      // Parts being filled: 16 of 16 MiB, 16 of 8, and 8 of 5. Then 8 that are sent, 64 MiB to use
      // again, and what the garbage collector has not come to.
      expect(peak - before).toBeLessThan(424 + 8 * 16 + 64 + 200)
      await expectBlob(replica.host, REPOSITORY, contentOf('first layer', 50_000).digest)
    }, 180_000)
  })
})

/** The most memory that a process has held so far. */
function peakMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024)
}
