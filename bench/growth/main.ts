/**
 * What requests cost as repositories and connections grow: Slipway and docker-registry, filled with
 * the same and asked by the same clients.
 */
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { run } from '../command.ts'
import { describeEnvironment, type Environment, requireSpace } from '../environment.ts'
import { csvOf, type Point, parseCsv } from './figures.ts'
import { measurePushes, measureReads, type Site } from './measure.ts'
import { baseOf, hotReads, manyConnections, reads } from './operations.ts'
import { type Options, type Places, parseOptions } from './options.ts'
import { drawPlots } from './plots.ts'
import { markdownOf, tableOf } from './report.ts'
import { kinds, Stage } from './stage.ts'

/** Of both, for each repository: small files and folders take a block each. */
const bytesEach = 150_000

try {
  const options = parseOptions(process.argv.slice(2))
  await (options.plotOnly ? drawAgain(options) : main(options))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

async function drawAgain({ out }: Options): Promise<void> {
  if (out === undefined) throw new Error('--plot draws what a whole run wrote, or --out names')
  const points = parseCsv(await readFile(out.figures, 'utf8'))
  for (const file of await drawPlots(points, out.plots)) console.log(`drawn: ${file}`)
}

async function main(options: Options): Promise<void> {
  const limit = await fileDescriptors()
  const needed = 2 * Math.max(...options.connections, manyConnections) + 256
  if (limit < needed) throw new Error(`${needed} open files are needed: ulimit -n says ${limit}`)
  const directory = await mkdtemp(path.join(tmpdir(), 'slipway-bench-growth-'))
  // Slipway started by root runs Postgres as another user, who has to get in.
  await chmod(directory, 0o755)
  const stage = new Stage(directory)
  const close = async () => {
    await stage.close()
    console.error('removing what was filled …')
    // A program does it several times as fast as Node, which matters with millions of files.
    await run('rm', ['-rf', directory]).catch(() => rm(directory, { recursive: true, force: true }))
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void close().finally(() => process.exit(1)))
  }
  try {
    await requireSpace(directory, Math.max(...options.repositories) * bytesEach + 2 ** 30)
    const environment = await describeEnvironment(kinds, directory)
    const points = await measureAll(stage, directory, options)
    const described = new Map([...environment, ['open files', `up to ${limit} (ulimit -n)`]])
    await report(points, described, options)
  } finally {
    await close()
  }
}

/** Of this process, which those it starts have too. */
async function fileDescriptors(): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8')
  const soft = /^Max open files +(\d+)/m.exec(limits)?.[1]
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)
}

async function measureAll(stage: Stage, directory: string, options: Options): Promise<Point[]> {
  const clients = path.join(directory, 'clients')
  await mkdir(clients)
  const points: Point[] = []
  for (const repositories of options.repositories) {
    const started = performance.now()
    const pair = await stage.grow(repositories)
    const seconds = ((performance.now() - started) / 1000).toFixed(0)
    console.error(`${repositories} repositories, filled and started in ${seconds} s`)
    const { rounds, seconds: roundSeconds } = options
    const site: Site = { pair, repositories, directory: clients, rounds, seconds: roundSeconds }
    points.push(...(await measureSite(site, options)))
  }
  return points
}

async function measureSite(site: Site, options: Options): Promise<Point[]> {
  const isBase = site.repositories === baseOf(options.repositories)
  const connectionsFor = (usual: number) =>
    [...new Set([usual, ...(isBase ? options.connections : [])])].toSorted((a, b) => a - b)
  const points: Point[] = []
  const add = (found: readonly Point[]) => {
    for (const { side, operation, connections, rounds, remark } of found) {
      const rates = rounds.map(({ requestsPerSecond }) => requestsPerSecond.toPrecision(4))
      console.error(
        `${operation}, ${connections} connections, ${side}: ${rates.join(' ')} ${remark}`,
      )
    }
    points.push(...found)
  }
  const operations = site.repositories > 1000 ? [...hotReads, ...reads] : reads
  for (const operation of operations) {
    for (const connections of connectionsFor(operation.connections)) {
      add(await measureReads(site, operation, connections))
    }
  }
  for (const connections of connectionsFor(manyConnections)) {
    add(await measurePushes(site, connections))
  }
  return points
}

async function report(
  points: readonly Point[],
  environment: Environment,
  options: Options,
): Promise<void> {
  console.log(tableOf(points))
  if (points.some(({ remark }) => remark.startsWith('failed'))) process.exitCode = 1
  if (options.out !== undefined) await write(points, environment, { ...options, out: options.out })
}

async function write(
  points: readonly Point[],
  environment: Environment,
  { out, rounds, seconds }: Options & { readonly out: Places },
): Promise<void> {
  const plots = await drawPlots(points, out.plots)
  await writeFile(out.figures, csvOf(points))
  const source = { environment, places: out, plots }
  await writeFile(out.report, markdownOf(points, source, { rounds, seconds }))
  console.log(`\nwritten to ${out.report}`)
}
