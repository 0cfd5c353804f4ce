/** What one request costs on each hot path of the built server: counted, not timed. */
import { writeFile } from 'node:fs/promises'
import { pushImages } from '../cases/pushed-images.ts'
import { serverOf } from '../client/server.ts'
import { inFolder, type OnClose } from '../folder.ts'
import type { HotPath } from './hot-path.ts'
import { measureIdle, measurePath } from './measure.ts'
import { type Options, parseOptions } from './options.ts'
import { others } from './paths/others.ts'
import { pushes } from './paths/pushes.ts'
import { reads } from './paths/reads.ts'
import { reportOf } from './report.ts'
import { openStage } from './stage.ts'
import type { Row } from './table.ts'

const paths: readonly HotPath[] = [...reads, ...pushes, ...others]

try {
  const options = parseOptions(process.argv.slice(2))
  if (options.list) for (const { name, what } of paths) console.log(`${name.padEnd(24)}${what}`)
  else await main(options)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

async function main(options: Options): Promise<void> {
  const chosen = choose(options)
  await inFolder('budget', async (directory, onClose) => {
    const rows = await measureAll(directory, chosen, options, onClose)
    const report = await reportOf(rows, options)
    console.log(report)
    if (options.out !== undefined) await writeFile(options.out, report)
  })
}

async function measureAll(
  directory: string,
  chosen: readonly HotPath[],
  options: Options,
  onClose: OnClose,
): Promise<Row[]> {
  const stage = await openStage(directory, options, onClose)
  const server = serverOf(stage.peer)
  const site = { server, images: await pushImages(server) }
  console.error('idle …')
  const idle = await measureIdle(stage)
  const rows: Row[] = []
  for (const hotPath of chosen) {
    console.error(`${hotPath.what} …`)
    const times = Math.max(2, Math.round(hotPath.times / options.divisor))
    rows.push({
      what: hotPath.what,
      budget: await measurePath(stage, site, hotPath, { idle, times }),
    })
  }
  return rows
}

/** @throws Error when a name is of no path */
function choose({ only, setup }: Options): readonly HotPath[] {
  const unknown = only?.filter((name) => !paths.some((hotPath) => hotPath.name === name)) ?? []
  if (unknown.length > 0) throw new Error(`no path ${unknown.join(', ')}; --list names them`)
  return paths.filter(
    ({ name, needsAuth }) =>
      (only?.includes(name) ?? true) && (!needsAuth || setup.auth === 'token'),
  )
}
