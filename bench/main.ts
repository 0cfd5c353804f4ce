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
import { type Comparison, isFarFromTarget, ratioOf } from './comparison.ts'
import { describeEnvironment, type Environment, requireSpace } from './environment.ts'
import { type Options, parseOptions, usage } from './options.ts'
import { dockerRegistry } from './peers/docker-registry.ts'
import { slipway } from './peers/slipway.ts'
import { markdownReport, type Section, textTable } from './report.ts'
import { openSetup, setups } from './setups.ts'

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
  const installed = chooseSetups(options.setups)
  const directory = await mkdtemp(path.join(tmpdir(), 'slipway-bench-'))
  // Slipway started by root runs Postgres as another user, who has to get in.
  await chmod(directory, 0o755)
  const running: Bench['running'] = new Set()
  const kinds = { ours: options.selfCheck ? dockerRegistry : slipway, peer: dockerRegistry }
  const { scale, profileDirectory } = options
  const closing: (() => Promise<void>)[] = []
  // Synchronous and last: while a case still runs, another removal would race with its writes.
  process.once('exit', () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  const stopServers = async () => {
    await Promise.all([...running].map((peer) => peer.stop()))
    for (const close of closing.splice(0)) await close()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void stopServers().finally(() => process.exit(1)))
  }
  const sections: Section[] = []
  const environment = await describeEnvironment(kinds, directory)
  await requireSpace(directory, scale.layerBytes * (2 * scale.longRounds + 2) + 8 * 2 ** 30)
  for (const named of installed) {
    const place = path.join(directory, 'setup')
    try {
      const setup = await openSetup(named, place, (close) => closing.push(close))
      const bench: Bench = { kinds, scale, setup, profileDirectory, directory, running }
      const isPlain = named === setups.get('default')
      const fitting = chosen.filter(({ inPlainSetupOnly = false }) => isPlain || !inPlainSetupOnly)
      sections.push({ title: named.title, comparisons: await compare(bench, fitting) })
    } finally {
      await stopServers()
      rmSync(place, { recursive: true, force: true })
    }
  }
  await write(sections, environment, options)
  if (options.guards) guard(sections.flatMap(({ comparisons }) => comparisons))
}

async function compare(bench: Bench, chosen: readonly Case[]): Promise<Comparison[]> {
  const comparisons: Comparison[] = []
  for (const { letter, title, run } of chosen) {
    console.error(`(${letter}) ${title} …`)
    const found = await run(bench)
    console.error(`${textTable(found)}\n`)
    comparisons.push(...found)
  }
  return comparisons
}

async function write(
  sections: readonly Section[],
  environment: Environment,
  { only, quick, selfCheck, setups: named, out }: Options,
): Promise<void> {
  for (const { title, comparisons } of sections) {
    console.log(`${title}\n${textTable(comparisons)}\n`)
  }
  const isWhole = only === undefined && named?.length === setups.size && !quick && !selfCheck
  const file = out ?? (isWhole ? resultsFile : undefined)
  if (file === undefined) return
  await writeFile(file, markdownReport(sections, environment))
  console.log(`written to ${file}`)
}

/** @throws Error that names the figures which are not even half as good as they are to be */
function guard(comparisons: readonly Comparison[]): void {
  const slow = comparisons.filter((comparison) => isFarFromTarget(comparison))
  if (slow.length === 0) return
  const lines = slow.map((comparison) => `${comparison.what}: ${ratioOf(comparison).toFixed(2)}`)
  throw new Error(`less than half of the target:\n${lines.join('\n')}`)
}

/** @throws Error with the usage when a name is of no setup */
function chooseSetups(names: readonly string[] = ['default']) {
  return names.map((name) => {
    const setup = setups.get(name)
    if (setup === undefined) throw new Error(`no setup ${name}\n${usage}`)
    return setup
  })
}

/** @throws Error with the usage when a letter names no case */
function chooseCases(only: readonly string[] | undefined): readonly Case[] {
  const letters = cases.map(({ letter }) => letter)
  const unknown = only?.filter((letter) => !letters.includes(letter)) ?? []
  if (unknown.length > 0) throw new Error(`no case ${unknown.join(', ')}\n${usage}`)
  return cases.filter(({ letter }) => only?.includes(letter) ?? true)
}
