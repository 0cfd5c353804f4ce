/** The benchmark: Slipway and docker-registry side by side, one client, in turn. */
import { rmSync } from 'node:fs'
import { chmod, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Bench } from './bench.ts'
import type { Case } from './cases/case.ts'
import { coldPullsCase } from './cases/cold-pulls.ts'
import { headBlobsCase } from './cases/head-blobs.ts'
import { listingsCase } from './cases/listings.ts'
import { manifestsCase } from './cases/manifests.ts'
import { pullLayerCase } from './cases/pull-layer.ts'
import { pushBlobsCase } from './cases/push-blobs.ts'
import { pushImagesCase } from './cases/push-images.ts'
import { pushLayerCase } from './cases/push-layer.ts'
import { slowUploadsCase } from './cases/slow-uploads.ts'
import { tokensCase } from './cases/tokens.ts'
import { warmPullsCase } from './cases/warm-pulls.ts'
import type { Comparison } from './comparison.ts'
import { describeEnvironment, requireSpace } from './environment.ts'
import { type Options, parseOptions, usage } from './options.ts'
import { dockerRegistry } from './peers/docker-registry.ts'
import { slipway } from './peers/slipway.ts'
import { markdownReport, textTable } from './report.ts'

const cases: readonly Case[] = [
  pushLayerCase,
  pushBlobsCase,
  pushImagesCase,
  pullLayerCase,
  manifestsCase,
  headBlobsCase,
  listingsCase,
  slowUploadsCase,
  tokensCase,
  coldPullsCase,
  warmPullsCase,
]

const resultsFile = fileURLToPath(new URL('RESULTS.md', import.meta.url))

try {
  await main(parseOptions(process.argv.slice(2)))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

async function main(options: Options): Promise<void> {
  const chosen = chooseCases(options.only)
  const directory = await mkdtemp(path.join(tmpdir(), 'slipway-bench-'))
  // Slipway started by root runs Postgres as another user, who has to get in.
  await chmod(directory, 0o755)
  const bench: Bench = {
    kinds: { ours: options.selfCheck ? dockerRegistry : slipway, peer: dockerRegistry },
    scale: options.scale,
    workers: options.workers,
    profileDirectory: options.profileDirectory,
    directory,
    running: new Set(),
  }
  // Synchronous and last: while a case still runs, another removal would race with its writes.
  process.once('exit', () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  const stopServers = () => Promise.all([...bench.running].map((peer) => peer.stop()))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void stopServers().finally(() => process.exit(1)))
  }
  try {
    await compare(bench, chosen, options)
  } finally {
    await stopServers()
  }
}

async function compare(bench: Bench, chosen: readonly Case[], options: Options): Promise<void> {
  const { layerBytes, longRounds } = bench.scale
  await requireSpace(bench.directory, layerBytes * (2 * longRounds + 2) + 8 * 2 ** 30)
  const environment = await describeEnvironment(bench.kinds, bench.directory)
  const comparisons: Comparison[] = []
  for (const { letter, title, run } of chosen) {
    console.error(`(${letter}) ${title} …`)
    const found = await run(bench)
    console.error(`${textTable(found)}\n`)
    comparisons.push(...found)
  }
  console.log(textTable(comparisons))

  const isWhole = options.only === undefined && !options.quick && !options.selfCheck
  const out = options.out ?? (isWhole ? resultsFile : undefined)
  if (out === undefined) return
  const names = { ours: bench.kinds.ours.name, peer: bench.kinds.peer.name }
  await writeFile(out, markdownReport(comparisons, environment, names))
  console.log(`\nwritten to ${out}`)
}

/** @throws Error with the usage when a letter names no case */
function chooseCases(only: readonly string[] | undefined): readonly Case[] {
  const letters = cases.map(({ letter }) => letter)
  const unknown = only?.filter((letter) => !letters.includes(letter)) ?? []
  if (unknown.length > 0) throw new Error(`no case ${unknown.join(', ')}\n${usage}`)
  return cases.filter(({ letter }) => only?.includes(letter) ?? true)
}
