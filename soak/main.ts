/**
 * Pushes, deletes, pulls and collects for as long as it is told to, on several replicas that are
 * killed every few seconds, and looks every half a minute whether anything was lost or has stayed.
 */
import { LogWatch } from './checks/log.ts'
import { makeContents } from './contents.ts'
import { Journal } from './journal.ts'
import { type Options, parseOptions, type StorageType } from './options.ts'
import { Random } from './random.ts'
import { type Figures, Report } from './report.ts'
import { type RoundTerms, runRound, type Soak } from './round.ts'
import { openStage } from './stage.ts'

const LARGE_BYTES = 6 * 2 ** 20

try {
  await main(parseOptions(process.argv.slice(2)))
} catch (error) {
  console.error(error)
  process.exitCode = 1
}
// What is left, such as a connection of a server that was killed, must not keep this from ending.
process.exit()

async function main(options: Options): Promise<void> {
  const { seed, storages } = options
  console.log(`seed ${seed}`)
  const results: (Figures & { readonly storage: StorageType })[] = []
  for (const storage of storages) {
    const report = new Report(new Journal(options.journal))
    await soakOne(storage, options, report)
    results.push({ storage, ...report.figures })
  }
  console.log(JSON.stringify({ seed, minutes: options.minutes, results }, undefined, 2))
  if (results.some(({ losses }) => losses > 0)) process.exitCode = 1
}

async function soakOne(storage: StorageType, options: Options, report: Report): Promise<void> {
  const { seed, replicas, calm, roundSeconds, graceSeconds } = options
  const random = new Random(seed)
  const stage = await openStage(storage)
  try {
    const soak: Soak = {
      stage,
      contents: makeContents(seed, random, LARGE_BYTES),
      random,
      report,
      log: new LogWatch(),
      replicas,
      calm,
      unfinished: new Set(),
      found: undefined,
    }
    const rounds = Math.max(1, Math.round((options.minutes * 60) / storagesShare(options)))
    for (let round = 0; round < rounds; round++) {
      const terms = {
        seconds: roundSeconds,
        graceSeconds: graceSeconds[round % graceSeconds.length] ?? 0,
      }
      await runOne(soak, terms, `${storage} ${round + 1}/${rounds}`)
    }
    await countCollected(soak)
  } finally {
    await stage.workspace.close()
  }
}

/** Seconds of one round for each storage. */
function storagesShare({ storages, roundSeconds }: Options): number {
  return storages.length * roundSeconds
}

async function runOne(soak: Soak, terms: RoundTerms, name: string): Promise<void> {
  const { figures } = soak.report
  const before = { ...figures, faults: soak.report.faultCount }
  const started = performance.now()
  await runRound(soak, terms)
  const took = ((performance.now() - started) / 1000).toFixed(0)
  const more = (
    key: 'pushes' | 'pulls' | 'deletes' | 'repeatedPushes' | 'kills' | 'orphans' | 'losses',
  ) => `${figures[key] - before[key]} ${key}`
  console.log(
    `${name}, grace ${terms.graceSeconds} s: ${more('pushes')}, ${more('repeatedPushes')}, ` +
      `${more('deletes')}, ${more('pulls')}, ${more('kills')}, ` +
      `${soak.report.faultCount - before.faults} faults, ${more('orphans')}, ` +
      `${more('losses')}; ${soak.found?.manifests.length ?? 0} manifests and ` +
      `${soak.found?.blobs.length ?? 0} blobs left (${took} s)`,
  )
}

async function countCollected({ stage, report }: Soak): Promise<void> {
  const { rows } = await stage.db.query<{ manifests: number; blobs: number; bytes: number }>(
    `select coalesce(sum(manifests), 0)::float8 as manifests,
       coalesce(sum(blobs), 0)::float8 as blobs, coalesce(sum(bytes), 0)::float8 as bytes
     from gc_days`,
  )
  report.figures.collectedManifests = rows[0]?.manifests ?? 0
  report.figures.collectedBlobs = rows[0]?.blobs ?? 0
  report.figures.collectedBytes = rows[0]?.bytes ?? 0
}
