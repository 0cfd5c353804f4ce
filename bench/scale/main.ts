/**
 * What requests and the collector do in a registry of a million manifests, beside one of a hundredth
 * of that. Fails when a plan reads a large table from end to end.
 */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { startEmbeddedPostgres } from '../../postgres/embedded.ts'
import { FilesystemBlobStore } from '../../storage/blob/filesystem.ts'
import { requireSpace } from '../environment.ts'
import { inFolder, type OnClose } from '../folder.ts'
import { buildDatabase } from './build.ts'
import { openMeasuring, type Site } from './measure.ts'
import type { Operation } from './operation.ts'
import { garbageOperations } from './operations/garbage.ts'
import { readOperations } from './operations/reads.ts'
import { writeOperations } from './operations/writes.ts'
import { type Options, parseOptions } from './options.ts'
import { grows, jumps, machine, markdownOf, plansOf, type Row, textOf, walks } from './report.ts'

const operations: readonly Operation[] = [
  ...readOperations,
  ...writeOperations,
  ...garbageOperations,
]

/** Of the database, for each edge, with what is needed to make it. */
const BYTES_EACH = 900

const silent = { debug() {}, info() {}, warn() {}, error() {} }

try {
  await main(parseOptions(process.argv.slice(2)))
} catch (error) {
  console.error(error)
  process.exitCode = 1
}

function main(options: Options): Promise<void> {
  return inFolder('bench-scale', (directory, onClose) => measureIn(directory, options, onClose))
}

async function measureIn(directory: string, options: Options, onClose: OnClose): Promise<void> {
  await requireSpace(directory, options.sizes.large.edges * BYTES_EACH)
  const cluster = path.join(directory, 'database')
  const postgres = await startEmbeddedPostgres({ directory: cluster, log: silent })
  onClose(() => postgres.stop())
  const { connection } = postgres
  const blobs = new FilesystemBlobStore(path.join(directory, 'blobs'))
  await blobs.open()
  const site = async (database: string, size: Site['size']): Promise<Site> => {
    const started = performance.now()
    const made = await buildDatabase(connection, database, size)
    const seconds = ((performance.now() - started) / 1000).toFixed(0)
    console.error(`${size.manifests} manifests generated in ${seconds} s`)
    return { connection: made, size, blobs, directory }
  }
  const { small, large } = options.sizes
  await measureAll([await site('small', small), await site('large', large)], options)
}

async function measureAll(sites: readonly Site[], options: Options): Promise<void> {
  const measuring = openMeasuring(sites)
  const rows: Row[] = []
  try {
    for (const operation of operations) {
      console.error(`${operation.title} …`)
      const [small, large] = await measuring.measure(operation, options.runs)
      if (small !== undefined && large !== undefined)
        rows.push({ title: operation.title, small, large })
    }
  } finally {
    await measuring.close()
  }
  await report(rows, options)
}

async function report(rows: readonly Row[], { sizes, runs, plans, out }: Options): Promise<void> {
  const { repositories, manifests, edges } = sizes.large
  const words = [repositories, manifests, edges].map((number) => number.toLocaleString('en'))
  console.log(`${textOf(rows, sizes)}\n`)
  console.log(`${words[0]} repositories, ${words[1]} manifests, ${words[2]} edges; ${machine()}`)
  for (const row of rows.filter(grows)) console.log(`grows: ${row.title}`)
  for (const row of rows.filter(jumps)) console.log(`jumps after the fifth execution: ${row.title}`)
  const walked = rows.flatMap((row) =>
    walks(row).map((what) => `${row.title}: reads all of ${what}`),
  )
  for (const line of walked) console.log(line)
  if (plans !== undefined) await writeFile(plans, `${plansOf(rows, sizes)}\n`)
  if (out !== undefined) await writeFile(out, markdownOf(rows, sizes, runs))
  if (walked.length > 0) process.exitCode = 1
}
