/** Counts in three passes: nothing that counts is in the way of what counts otherwise. */
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '../client/connection.ts'
import { type Budget, perTime, type Totals } from './budget.ts'
import type { HotPath, Site, Work } from './hot-path.ts'
import { type CpuTimes, cpuBetween, processesOf, readCpuTimes } from './processes.ts'
import type { Stage } from './stage.ts'
import { trace } from './trace.ts'

const IDLE_MS = 5000
/** What a request leaves to be done after its answer. */
const SETTLE_MS = 100

interface Pass extends Totals {
  readonly cpu: CpuTimes
  readonly seconds: number
}

/** What the server does when nobody asks for anything, each second. */
export interface Idle {
  readonly counted: Pass
  readonly traced: Pick<Pass, 'slipway' | 'postgres' | 'seconds'>
}

export async function measureIdle(stage: Stage): Promise<Idle> {
  return { counted: await countPass(stage, idle), traced: await tracePass(stage, idle) }
}

function idle(): Promise<void> {
  return sleep(IDLE_MS)
}

/** Does the path some times to warm up, and then in each pass with content of its own. */
export async function measurePath(
  stage: Stage,
  site: Site,
  hotPath: HotPath,
  { idle: quiet, times }: { readonly idle: Idle; readonly times: number },
): Promise<Budget> {
  await doTimes(stage, site, hotPath, { times, around: (work) => work() })
  const counted = await doTimes(stage, site, hotPath, {
    times,
    around: (work) => countPass(stage, work),
  })
  const traced = await doTimes(stage, site, hotPath, {
    times,
    around: (work) => tracePass(stage, work),
  })
  const parts = times * (hotPath.perTime ?? 1)
  return perTime(
    { ...counted, slipway: traced.slipway, postgres: traced.postgres },
    { parts, counted: counted.seconds, traced: traced.seconds, idle: quiet },
  )
}

interface Doing<T> {
  readonly times: number
  readonly around: (work: () => Promise<void>) => Promise<T>
}

async function doTimes<T>(
  stage: Stage,
  site: Site,
  { prepare, plain = false, isAlone = false }: HotPath,
  { times, around }: Doing<T>,
): Promise<T> {
  const work = await prepare(site, times)
  const count = isAlone ? 1 : stage.connections
  const connections = await Promise.all(Array.from({ length: count }, () => stage.connect(plain)))
  try {
    await sleep(SETTLE_MS)
    return await around(async () => {
      await keepAsking(connections, work, times)
      await sleep(SETTLE_MS)
    })
  } finally {
    connections.forEach((connection) => connection.close())
    work.close?.()
  }
}

async function keepAsking(
  connections: readonly Connection[],
  work: Work,
  times: number,
): Promise<void> {
  let next = 0
  await Promise.all(
    connections.map(async (connection) => {
      while (next < times) await work.once(connection, next++)
    }),
  )
}

async function countPass(stage: Stage, work: () => Promise<void>): Promise<Pass> {
  const { database, inside, peer } = stage
  await database.begin()
  await inside.begin()
  const began = performance.now()
  const before = readCpuTimes(peer.roots)
  await work()
  const cpu = cpuBetween(before, readCpuTimes(peer.roots))
  const seconds = (performance.now() - began) / 1000
  const found = { inside: await inside.end(), database: await database.end() }
  return { ...found, cpu, seconds, slipway: nothing, postgres: nothing }
}

const nothing = { counts: new Map(), roundTrips: 0 }

async function tracePass(
  { peer, folder }: Stage,
  work: () => Promise<void>,
): Promise<Pick<Pass, 'slipway' | 'postgres' | 'seconds'>> {
  const pids = processesOf(peer.roots)
  const ours = { pids: pids.slipway, calls: 'all', file: path.join(folder, 'slipway') }
  const theirs = {
    pids: pids.postgres,
    calls: 'fsync,fdatasync,sync_file_range,msync',
    file: path.join(folder, 'postgres'),
  }
  const [slipway, postgres] = [await trace(ours), await trace(theirs)]
  const began = performance.now()
  await work()
  const seconds = (performance.now() - began) / 1000
  return { slipway: await slipway.end(), postgres: await postgres.end(), seconds }
}
