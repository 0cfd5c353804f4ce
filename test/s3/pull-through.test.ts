import path from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { exchange } from '../durability/support/exchange.ts'
import { spoolFiles, untilFetchesEnd } from '../durability/support/fetches.ts'
import { expectPushAndPull, readiness } from '../durability/support/outage.ts'
import {
  beginReading,
  expectNothingWrong,
  expectPull,
  outcomesOf,
  type Reading,
} from '../durability/support/reading.ts'
import type { ServerProcess } from '../durability/support/server.ts'
import {
  isBlobFetch,
  openUpstream,
  type RemoteLayer,
  type Upstream,
} from '../durability/support/upstream.ts'
import { until } from '../durability/support/workspace.ts'
import { describeWithS3 } from '../support/s3.ts'
import { type Fleet, openFleet, to } from './fleet.ts'

const MIB = 2 ** 20
const SIZE = 40 * MIB
const HALF = SIZE / 2

interface Replica {
  readonly server: ServerProcess
  /** Nothing in it is shared with another. */
  readonly data: string
}

describeWithS3('replicas that pull through, on one database and one bucket', () => {
  let fleet: Fleet
  let upstream: Upstream
  let one: Replica
  let two: Replica
  let layer: RemoteLayer
  let layers = 0
  beforeAll(async () => {
    fleet = await openFleet()
    upstream = await openUpstream()
    ;[one, two] = [await start('one'), await start('two')]
  })
  afterAll(async () => {
    await fleet.workspace.close()
    await upstream.close()
  })
  beforeEach(async () => {
    layer = await upstream.push(`team/app-${++layers}`, SIZE)
    upstream.proxy.reset()
  })

  async function start(name: string): Promise<Replica> {
    const data = path.join(fleet.workspace.folder, name)
    return { data, server: await fleet.start({ data }, upstream.environment) }
  }

  function begin(replica: Replica, count: number): Promise<Reading>[] {
    return Array.from({ length: count }, () => beginReading(replica.server.host, layer.path))
  }

  /** Lets one replica fetch half of the layer, for three clients, and no more. */
  async function fetchHalf(replica: Replica) {
    const stalled = upstream.proxy.stall(isBlobFetch, { afterBytes: HALF })
    const begun = begin(replica, 3)
    for (const reading of await Promise.all(begun)) {
      await until('half of the layer', () => reading.received() === HALF)
    }
    return { stalled, begun }
  }

  it('fetch a blob once for the clients of both', async () => {
    upstream.proxy.throttle(isBlobFetch, { bytesPerSecond: SIZE / 2 })
    const begun = [...begin(one, 5), ...begin(two, 5)]
    expect(expectNothingWrong(await outcomesOf(begun), layer)).toBe(begun.length)
    expect(upstream.proxy.blobBytes).toBe(SIZE)
    await untilFetchesEnd(fleet.db)
    expect(await spoolFiles(one.data)).toEqual([])
    expect(await spoolFiles(two.data)).toEqual([])
  }, 60_000)

  it('take over from one that was killed, for clients that wait', async () => {
    const victim = await start('victim')
    const { stalled, begun } = await fetchHalf(victim)
    const waiting = begin(one, 3)
    const sizes = (await Promise.all(waiting)).map(({ headers }) => headers['content-length'])
    expect(sizes).toEqual(waiting.map(() => String(SIZE)))
    await victim.server.kill()
    const killedAt = performance.now()
    stalled.clear()
    expect(expectNothingWrong(await outcomesOf(begun), layer)).toBe(0)

    expect(expectNothingWrong(await outcomesOf(waiting), layer)).toBe(waiting.length)
    const seconds = ((performance.now() - killedAt) / 1000).toFixed(1)
    process.stdout.write(`the clients of the other had all after ${seconds} s\n`)
    expect(upstream.proxy.blobBytes).toBeLessThanOrEqual(SIZE + HALF + MIB)
    await expectPull(two.server.host, layer)
    await untilFetchesEnd(fleet.db)
    expect(await spoolFiles(one.data)).toEqual([])
    // Of the one that was killed: its next start removes what is a day old.
    expect(await spoolFiles(victim.data)).toHaveLength(1)
    await fleet.expectNothingLeftOver()
  }, 90_000)

  it('take over at once from one that stops', async () => {
    const stopping = await start('stopping')
    const { stalled, begun } = await fetchHalf(stopping)
    const waiting = begin(two, 3)
    await Promise.all(waiting)
    for (const reading of await Promise.all(begun)) reading.leave()
    expect(await stopping.server.stop()).toEqual({ code: 0, signal: null })
    stalled.clear()
    expect(expectNothingWrong(await outcomesOf(waiting), layer)).toBe(waiting.length)
    await untilFetchesEnd(fleet.db)
    await fleet.expectNothingLeftOver()
  }, 90_000)

  it('go on by range where one has stopped, when it is started again', async () => {
    const stopping = await start('again')
    const { stalled, begun } = await fetchHalf(stopping)
    for (const reading of await Promise.all(begun)) reading.leave()
    await stopping.server.stop()
    stalled.clear()
    upstream.proxy.reset()
    const again = await start('again')
    await expectPull(again.server.host, layer)
    expect(upstream.proxy.requests('blob').filter(isBlobFetch)).toMatchObject([
      { range: `bytes=${HALF}-` },
    ])
    await untilFetchesEnd(fleet.db)
    expect(await spoolFiles(again.data)).toEqual([])
    await again.server.stop()
    await fleet.expectNothingLeftOver()
  }, 90_000)

  it('fail cleanly when the bucket cannot be reached, and work when it can', async () => {
    const { stalled, begun } = await fetchHalf(one)
    await fleet.s3.outage()
    stalled.clear()
    const outcomes = await outcomesOf(begun)
    process.stdout.write(`${expectNothingWrong(outcomes, layer)} of 3 clients finished\n`)
    const asked = await exchange(one.server.host, { method: 'GET', path: layer.tagPath })
    expect(asked.status).toBe(200)

    await fleet.s3.restore()
    await until('ready', async () => (await readiness(to(one.server, ''))) === 200)
    for (const replica of [one, two]) await expectPull(replica.server.host, layer)
    await expectPushAndPull(to(two.server, 'hosted/app'), `after-${layers}`)
    await untilFetchesEnd(fleet.db)
    await fleet.expectNothingLeftOver()
  }, 90_000)

  // Files of sessions that no fetch goes on with stay for a day.
  it('leave nothing in the spool that no fetch goes on with', async () => {
    expect([...(await spoolFiles(one.data)), ...(await spoolFiles(two.data))]).toEqual([])
  })
})
