import type { Budget } from './budget.ts'
import type { Calls } from './calls.ts'

export interface Row {
  readonly what: string
  readonly budget: Budget
}

type Column = readonly [title: string, of: (budget: Budget) => number]

const columns: readonly Column[] = [
  ['SQL', ({ database }) => database.statements],
  ['round trips', ({ slipway }) => slipway.roundTrips],
  ['WAL B', ({ database }) => database.walBytes],
  ['of pages', ({ database }) => database.walPageBytes],
  ['fsync Slipway', ({ slipway }) => callsOf(slipway, /^f(?:data)?sync /)],
  ['fsync Postgres', ({ postgres }) => callsOf(postgres, /sync/)],
  ['calls', ({ slipway }) => callsOf(slipway, /./)],
  ['client', ({ slipway }) => callsOf(slipway, / client$/)],
  ['database', ({ slipway }) => callsOf(slipway, / database$/)],
  ['files', ({ slipway }) => callsOf(slipway, / file$/)],
  ['log', ({ slipway }) => callsOf(slipway, / log$/)],
  ['wake-ups', ({ slipway }) => callsOf(slipway, /^write wake-up$/)],
  ['epoll', ({ slipway }) => callsOf(slipway, /^epoll/)],
  ['futex', ({ slipway }) => callsOf(slipway, /^futex/)],
  ['heap KiB', ({ inside }) => inside.heapBytes / 1024],
  ['external KiB', ({ inside }) => inside.externalBytes / 1024],
  ['CPU µs user', ({ cpu }) => cpu.slipway.user],
  ['system', ({ cpu }) => cpu.slipway.system],
  ['Postgres user', ({ cpu }) => cpu.postgres.user],
  ['system', ({ cpu }) => cpu.postgres.system],
]

/** What is rarer is not told one by one. */
const LEAST = 0.02

/** As Markdown, lined up so that it can be read as it is. */
export function tableOf(rows: readonly Row[]): string {
  const cells = [
    ['one of', ...columns.map(([title]) => title)],
    ...rows.map(({ what, budget }) => [what, ...columns.map(([, of]) => figure(of(budget)))]),
  ]
  return markdown(cells)
}

/** System calls and statements of each row, by name. */
export function detailsOf(rows: readonly Row[]): string {
  return rows
    .map(({ what, budget }) => {
      const { slipway, postgres, inside } = budget
      return [
        `- **${what}**`,
        `  - calls: ${listOf(slipway)}`,
        `  - Postgres: ${listOf(postgres)}`,
        `  - SQL: ${named([...inside.statements])}`,
      ].join('\n')
    })
    .join('\n')
}

function listOf({ counts }: Calls): string {
  const sizes = new Map(
    [...counts].map(([key, count]) => [
      key,
      count.bytes === 0 ? '' : ` of ${figure(count.bytes / count.calls)} B`,
    ]),
  )
  const entries = [...counts].map(([key, count]): [string, number] => [key, count.calls])
  return named(entries, (key) => sizes.get(key) ?? '')
}

function named(
  entries: readonly (readonly [string, number])[],
  more: (key: string) => string = () => '',
): string {
  const told = entries.filter(([, calls]) => calls >= LEAST).toSorted(([, a], [, b]) => b - a)
  const texts = told.map(([key, calls]) => `${key} ${figure(calls)}${more(key)}`)
  return texts.length === 0 ? 'none' : texts.join(', ')
}

function callsOf({ counts }: Calls, pattern: RegExp): number {
  let sum = 0
  for (const [key, count] of counts) if (pattern.test(key)) sum += count.calls
  return sum
}

function markdown([head = [], ...rows]: readonly string[][]): string {
  const widths = head.map((_, column) =>
    Math.max(3, ...[head, ...rows].map((row) => row[column]?.length ?? 0)),
  )
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => pad(cell, widths[column] ?? 0, column)).join(' | ')} |`
  const rule = widths.map((width, column) => '-'.repeat(width - 1) + (column === 0 ? '-' : ':'))
  return [line(head), line(rule), ...rows.map(line)].join('\n')
}

function pad(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width)
}

function figure(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0)
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2)
}
