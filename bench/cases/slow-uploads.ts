import { setTimeout as sleep } from 'node:timers/promises'
import { alternate, type Bench, figures, measureServer, usages, withPair } from '../bench.ts'
import { prepare, runLoad } from '../client/load.ts'
import type { SlowUploadsJob } from '../client/loads.ts'
import { serverOf } from '../client/server.ts'
import type { Comparison } from '../comparison.ts'
import { type Measured, type Memory, readMemory } from '../measure/process-tree.ts'
import { median } from '../measure/statistics.ts'
import type { Peer } from '../peers/peer.ts'
import type { Case } from './case.ts'

export const slowUploadsCase: Case = { letter: 'h', title: 'memory of slow uploads', run }

const chunkBytes = 8192
const everyMs = 200

/** KiB by which the server grew for each upload. */
interface Growth {
  readonly serverKiB: number
  readonly postgresKiB: number
}

async function run(bench: Bench): Promise<Comparison[]> {
  const rounds = { ours: [] as Measured<Growth>[], peer: [] as Measured<Growth>[] }
  // Memory once taken is seldom given back, so each round has new servers.
  for (let round = 0; round < bench.scale.longRounds; round++) {
    const measured = await withPair(bench, (pair) =>
      alternate(pair, 1, (peer) => measureGrowth(bench, peer)),
    )
    rounds.ours.push(...measured.ours)
    rounds.peer.push(...measured.peer)
  }
  const inPostgres = median(rounds.ours.map(({ result }) => result.postgresKiB))
  return [
    {
      letter: 'h',
      what: `memory for each of ${bench.scale.slowUploads} slow uploads`,
      unit: 'KiB',
      figures: figures(rounds, ({ serverKiB, postgresKiB }) => serverKiB + postgresKiB),
      target: { kind: 'ours at most', bound: 300 },
      usage: usages(rounds),
      note: `of ours ${inPostgres.toFixed(0)} KiB are in Postgres`,
    },
  ]
}

async function measureGrowth(bench: Bench, peer: Peer): Promise<Measured<Growth>> {
  const { slowUploads: count, slowSeconds: seconds } = bench.scale
  const base = { ...serverOf(peer), repository: 'bench/slow' }
  // One image first, so that code and caches that every server needs are not counted.
  await runLoad({ ...base, kind: 'blobs', count: 1, sizeBytes: 2 ** 20 })
  const job: SlowUploadsJob = { ...base, kind: 'slow uploads', count, chunkBytes, everyMs, seconds }
  const load = await prepare(job)
  const before = readMemory(peer.roots)
  return measureServer(peer, async () => {
    const running = load.run()
    const [plateau] = await Promise.all([readPlateau(peer, seconds), running])
    return {
      serverKiB: (plateau.serverKiB - before.serverKiB) / count,
      postgresKiB: (plateau.postgresKiB - before.postgresKiB) / count,
    }
  })
}

/** The medians over the last third of the load. */
async function readPlateau(peer: Peer, seconds: number): Promise<Memory> {
  await sleep((seconds * 1000 * 2) / 3)
  const samples: Memory[] = []
  for (const end = Date.now() + (seconds * 1000) / 4; Date.now() < end; await sleep(100)) {
    samples.push(readMemory(peer.roots))
  }
  return {
    serverKiB: median(samples.map((sample) => sample.serverKiB)),
    postgresKiB: median(samples.map((sample) => sample.postgresKiB)),
  }
}
