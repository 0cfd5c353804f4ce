import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../command.ts'
import { acceptManifests } from './push.ts'
import type { Rate, RateLoad } from './rate.ts'
import { authorizationForPaths } from './server.ts'

const script = fileURLToPath(new URL('wrk.lua', import.meta.url))

/**
 * Keeps `connections` GETs in flight for `seconds`; writes a file in `directory`.
 *
 * @throws Error when any answer is an error or takes longer than a minute
 */
export async function measureGets(
  load: Omit<RateLoad, 'method'>,
  directory: string,
): Promise<Rate> {
  const file = path.join(directory, 'paths')
  await writeFile(file, load.paths.map((line) => `${line}\n`).join(''))
  const authorization = await authorizationForPaths(load, load.paths)
  const printed = await run('wrk', [
    '--threads=1',
    `--connections=${load.connections}`,
    `--duration=${load.seconds}s`,
    '--timeout=60s',
    `--script=${script}`,
    `http://127.0.0.1:${load.port}/`,
    '--',
    acceptManifests,
    file,
    ...(authorization === undefined ? [] : [authorization]),
  ])
  return parseResult(printed, load)
}

function parseResult(printed: string, { paths }: Pick<RateLoad, 'paths'>): Rate {
  const json = /^result (\{.*\})$/m.exec(printed)?.[1]
  if (json === undefined) throw new Error(`wrk printed no result:\n${printed}`)
  const result = JSON.parse(json) as Record<string, number>
  if (result['failed'] !== 0 || result['requests'] === 0) {
    throw new Error(`GET ${paths[0]}: ${json}`)
  }
  return {
    requestsPerSecond: (result['requests'] ?? 0) / (result['seconds'] ?? 0),
    p50Ms: result['p50Ms'] ?? Number.NaN,
    p99Ms: result['p99Ms'] ?? Number.NaN,
  }
}
