import { type Side, sides } from '../bench.ts'
import type { Rate } from '../client/rate.ts'
import { median } from '../measure/statistics.ts'

/** What one side did with so many repositories and connections. */
export interface Point {
  readonly operation: string
  readonly side: Side
  readonly repositories: number
  readonly connections: number
  /** None when nothing was answered. */
  readonly rounds: readonly Round[]
  /** What is to be said of the figure; empty: nothing. */
  readonly remark: string
}

export interface Round extends Rate {
  /** The part of the requests that asked for what nothing had asked for before. */
  readonly firstAsks: number
}

/** Of figures that are those of a single request on each connection. */
export const askedOnce = 'one request on each connection'

/** Requests per second; undefined when nothing was answered. */
export function figureOf({ rounds }: Point): number | undefined {
  if (rounds.length === 0) return undefined
  return median(rounds.map(({ requestsPerSecond }) => requestsPerSecond))
}

const columns = [
  'operation',
  'side',
  'repositories',
  'connections',
  'round',
  'requests per second',
  'p50 ms',
  'p99 ms',
  'first asks',
  'remark',
]

/** A line for each round; one without figures where there is no round. */
export function csvOf(points: readonly Point[]): string {
  const lines = points.flatMap((point) => {
    const of = [point.operation, point.side, point.repositories, point.connections]
    const rounds = point.rounds.map(({ requestsPerSecond, p50Ms, p99Ms, firstAsks }, index) => [
      index + 1,
      ...[requestsPerSecond, p50Ms, p99Ms, firstAsks].map((value) => value.toPrecision(6)),
    ])
    return (rounds.length > 0 ? rounds : [['', '', '', '', '']]).map((round) => [
      ...of,
      ...round,
      point.remark,
    ])
  })
  return [columns, ...lines].map((line) => `${line.map(cell).join(',')}\n`).join('')
}

function cell(value: string | number): string {
  const text = String(value)
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""').replaceAll('\n', ' ')}"` : text
}

/** @throws Error when `csv` is not what {@link csvOf} writes */
export function parseCsv(csv: string): Point[] {
  const [head, ...lines] = csv.trimEnd().split('\n').map(cellsOf)
  if (head?.join() !== columns.join()) throw new Error('these are no figures of this benchmark')
  const points = new Map<string, Point & { readonly rounds: Round[] }>()
  for (const line of lines) {
    const [operation = '', , repositories, connections, ...rest] = line
    const side = sides.find((known) => known === line[1])
    if (side === undefined) throw new Error(`no side: ${line[1]}`)
    const key = line.slice(0, 4).join()
    const point = points.get(key) ?? {
      operation,
      side,
      repositories: Number(repositories),
      connections: Number(connections),
      rounds: [],
      remark: rest[5] ?? '',
    }
    points.set(key, point)
    if (rest[0] !== '') point.rounds.push(roundOf(rest.slice(1, 5).map(Number)))
  }
  return [...points.values()]
}

function roundOf(values: readonly number[]): Round {
  const [requestsPerSecond, p50Ms, p99Ms, firstAsks] = values
  if (requestsPerSecond === undefined || p50Ms === undefined) throw new Error('a line is too short')
  if (p99Ms === undefined || firstAsks === undefined) throw new Error('a line is too short')
  return { requestsPerSecond, p50Ms, p99Ms, firstAsks }
}

function cellsOf(line: string): string[] {
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  )
}
