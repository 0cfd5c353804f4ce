import { setTimeout as sleep } from 'node:timers/promises'
import { type Side, type Sides, sides } from '../bench.ts'
import { measureHeads, runLoad } from '../client/load.ts'
import type { Rate } from '../client/rate.ts'
import { serverOf } from '../client/server.ts'
import { measureGets } from '../client/wrk.ts'
import { readCpuSeconds } from '../measure/process-tree.ts'
import type { Peer } from '../peers/peer.ts'
import { ask } from './ask.ts'
import { askedOnce, type Point, type Round } from './figures.ts'
import { type Operation, pushTitle } from './operations.ts'
import { type Sample, samplesOf } from './sample.ts'

/** Both registries, filled with so many repositories. */
export interface Site {
  readonly pair: Sides<Peer>
  readonly repositories: number
  /** For files of the clients. */
  readonly directory: string
  readonly seconds: number
  readonly rounds: number
}

/** Of a round. */
const fewestPushes = 32

/** Nobody waits longer for an answer. */
const limitSeconds = 30

/** In seconds. */
const longestRound = 10

/** What finds out how long answers take. */
const probeConnections = 16
const probeRequests = 64

type Load = Pick<Parameters<typeof ask>[0], 'port' | 'paths' | 'connections'>

/** What one round of one side found; a remark ends the measurement of that side. */
interface Found {
  readonly round?: Round
  readonly remark?: string
}

export async function measureReads(
  site: Site,
  operation: Operation,
  connections: number,
): Promise<Point[]> {
  const samples = samplesOf(operation.repositories(site.repositories), site.rounds)
  const fitted = new Map<Side, number>()
  const work = async (side: Side, round: number): Promise<Found> => {
    const sample = samples[round]
    if (sample === undefined) throw new Error(`no sample ${round}`)
    const paths = sample.repositories.map((repository) => operation.pathOf(repository, side))
    const load = { ...serverOf(site.pair[side]), paths, connections }
    const measure = (seconds: number) =>
      operation.method === 'HEAD'
        ? measureHeads({ ...load, seconds })
        : measureGets({ ...load, seconds }, site.directory)
    if (round > 0) {
      const seconds = fitted.get(side) ?? site.seconds
      return { round: ofSample(await measure(seconds), sample, seconds) }
    }
    if (operation.method === 'GET') {
      const fit = await fitRound(load, sample, site.seconds)
      if (typeof fit !== 'number') return fit
      fitted.set(side, fit)
    }
    // Where answers take long there may be none in a second.
    const fit = fitted.get(side) ?? site.seconds
    await measure(fit > site.seconds ? fit : 1)
    return {}
  }
  return measureSides(site, { operation: operation.title, connections }, work)
}

/** Pushes into repositories that are not there before. */
export function measurePushes(site: Site, connections: number): Promise<Point[]> {
  const work = async (side: Side, round: number): Promise<Found> => {
    const count = round === 0 ? 16 : Math.max(fewestPushes, connections)
    const seconds = await runLoad({
      ...serverOf(site.pair[side]),
      kind: 'images',
      // Behind all others in the catalog.
      prefix: `test/${site.repositories}-${connections}-${round}`,
      repositories: count,
      count,
      layers: 1,
      concurrency: round === 0 ? 16 : connections,
    })
    if (round === 0) return {}
    const rate = { requestsPerSecond: count / seconds, p50Ms: Number.NaN, p99Ms: Number.NaN }
    return { round: { ...rate, firstAsks: 1 } }
  }
  return measureSides(site, { operation: pushTitle, connections }, work)
}

/** One side after the other in each round, of which the first, 0, is to warm up. */
async function measureSides(
  { pair, repositories, rounds: count }: Site,
  what: Pick<Point, 'operation' | 'connections'>,
  work: (side: Side, round: number) => Promise<Found>,
): Promise<Point[]> {
  const found: Sides<Round[]> = { ours: [], peer: [] }
  const remarks = new Map<Side, string>()
  for (let round = 0; round <= count; round++) {
    for (const side of sides.filter((each) => !remarks.has(each))) {
      const { round: figures, remark } = await work(side, round).catch(failure)
      if (figures !== undefined) found[side].push(figures)
      if (remark !== undefined) remarks.set(side, remark)
      await untilIdle(pair[side])
    }
  }
  return sides.map((side) => ({
    ...what,
    side,
    repositories,
    rounds: found[side],
    remark: remarks.get(side) ?? '',
  }))
}

function failure(error: unknown): Found {
  return { remark: `failed: ${String(error).replaceAll(/\s+/g, ' ').slice(0, 300)}` }
}

/**
 * The seconds of a round: more than `seconds` where a connection would get less than two answers in
 * these. Where that took too long, one request on each connection is the figure.
 */
async function fitRound(load: Load, { isFresh }: Sample, seconds: number): Promise<number | Found> {
  const few = Math.min(load.connections, probeConnections)
  const probe = { ...load, connections: few, limitSeconds }
  const first = await ask({ ...probe, requests: few })
  if (first.rate === undefined) return { remark: `no answer in ${limitSeconds} s` }
  // A first answer may be a slow one.
  const again = first.seconds < 0.3 ? await ask({ ...probe, requests: probeRequests }) : first
  const rate = again.rate?.requestsPerSecond ?? first.rate.requestsPerSecond
  const needed = Math.ceil((2 * load.connections) / rate)
  if (needed <= longestRound) return Math.max(seconds, needed)

  const isWhole = few === load.connections
  const all = isWhole ? first : await ask({ ...load, requests: load.connections, limitSeconds })
  if (all.rate === undefined) return { remark: `no answer in ${limitSeconds} s` }
  const round = { ...all.rate, firstAsks: isFresh ? 1 : 0 }
  if (all.answered === load.connections) return { round, remark: askedOnce }
  return { round, remark: `${all.answered} of ${load.connections} answered in ${limitSeconds} s` }
}

function ofSample(rate: Rate, { repositories, isFresh }: Sample, seconds: number): Round {
  const requests = rate.requestsPerSecond * seconds
  return { ...rate, firstAsks: isFresh ? Math.min(1, repositories.length / requests) : 0 }
}

/** Some servers go on with what they were asked for when nobody waits for it any more. */
async function untilIdle({ roots }: Peer): Promise<void> {
  const deadline = performance.now() + 2 * limitSeconds * 1000
  for (;;) {
    const before = readCpuSeconds(roots)
    await sleep(100)
    if (readCpuSeconds(roots) - before < 0.03) return
    if (performance.now() > deadline) return console.error('a server goes on working for nobody')
  }
}
