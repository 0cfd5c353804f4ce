import { cpus, totalmem } from 'node:os'
import type { Size } from './content.ts'
import type { Found } from './measure.ts'
import { type RanStatement, tablesWalked } from './plans.ts'

/** What an operation took on the smaller registry, and on the larger. */
export interface Row {
  readonly title: string
  readonly small: Found
  readonly large: Found
}

/** An index lookup takes a page or two more in a larger registry, and there are some in each operation. */
const GROWS = { factor: 3, pages: 30 }

export function grows({ small, large }: Row): boolean {
  return large.latePages > small.latePages * GROWS.factor + GROWS.pages
}

/** Whether the plan that is taken after the fifth execution looks at more than those before. */
export function jumps({ large }: Row): boolean {
  return large.latePages > large.earlyPages * GROWS.factor + GROWS.pages
}

/** Statements of the larger registry that read a large table from end to end. */
export function walks({ large }: Row): string[] {
  const walked = [...large.statements, ...large.generic].flatMap((statement) =>
    tablesWalked(statement).map((table) => `${table}: ${firstLine(statement)}`),
  )
  return [...new Set(walked)]
}

function firstLine({ text }: RanStatement): string {
  return text.replaceAll(/\s+/g, ' ').slice(0, 100)
}

export function markdownOf(rows: readonly Row[], sizes: Sizes, runs: number): string {
  const [repositories, manifests, edges] = wordsOf(sizes.large)
  const [fewer] = wordsOf(sizes.small)
  return [
    '# A large registry beside a small one',
    '',
    'Written by `npm run bench:scale -- --out bench/RESULTS-scale.md`.',
    '',
    `- the large one: ${repositories} repositories, ${manifests} manifests, ${edges} edges`,
    `- the small one: ${fewer} repositories, and so on`,
    `- machine: ${machine()}`,
    '- PostgreSQL: the embedded one, with its settings',
    '',
    `| ${columns(sizes).join(' | ')} |`,
    `| --- |${' ---: |'.repeat(6)} --- |`,
    ...rows.map((row) => `| ${cells(row).join(' | ')} |`),
    '',
    `Times are medians of ${runs} runs, one registry after the other in turn, with nothing remembered between them;`,
    'they are as good as the machine is quiet. Pages are what all statements looked at, of tables and',
    'indexes, in memory or not, in plans that were made for any values where PostgreSQL takes such: a',
    'page or two more for each lookup in a larger index is what they may grow by. `grows` says that it is',
    'more; `jumps`, that the plan after the fifth execution is worse; `walks`, that a large table is read',
    'from end to end, for which the run fails.',
    '',
  ].join('\n')
}

function wordsOf({ repositories, manifests, edges }: Size): string[] {
  return [repositories, manifests, edges].map((number) => number.toLocaleString('en'))
}

export function textOf(rows: readonly Row[], sizes: Sizes): string {
  const all = [columns(sizes), ...rows.map(cells)]
  const widths = all[0]?.map((_, at) => Math.max(...all.map((line) => line[at]?.length ?? 0))) ?? []
  const pad = (cell: string, at: number) =>
    at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)
  return all.map((line) => line.map(pad).join('  ').trimEnd()).join('\n')
}

export interface Sizes {
  readonly small: Size
  readonly large: Size
}

function columns({ small, large }: Sizes): string[] {
  const [few, many] = [small, large].map(({ manifests }) => manifests.toLocaleString('en'))
  return [
    'what',
    `ms at ${few}`,
    `at ${many}`,
    'ratio',
    `pages at ${few}`,
    `at ${many}`,
    'ratio',
    '',
  ]
}

function cells(row: Row): string[] {
  const { title, small, large } = row
  const marks = [
    ...(grows(row) ? ['grows'] : []),
    ...(jumps(row) ? ['jumps'] : []),
    ...(walks(row).length > 0 ? ['walks'] : []),
  ]
  return [
    title,
    small.ms.toFixed(2),
    large.ms.toFixed(2),
    (large.ms / small.ms).toFixed(2),
    small.latePages.toFixed(0),
    large.latePages.toFixed(0),
    (large.latePages / small.latePages).toFixed(2),
    marks.join(', '),
  ]
}

const part = (found: Found, { manifests }: Size) => [
  ...found.statements.map((ran) => planOf(ran, `${manifests.toLocaleString('en')} manifests`)),
  ...found.generic.map((ran) =>
    planOf(ran, `${manifests.toLocaleString('en')} manifests, planned for any values`),
  ),
]

/** Every statement with the plans it had. */
export function plansOf(rows: readonly Row[], { small, large }: Sizes): string {
  return rows
    .map((row) =>
      [`# ${row.title}`, ...part(row.large, large), ...part(row.small, small)].join('\n\n'),
    )
    .join('\n\n')
}

function planOf({ text, plan, pages }: RanStatement, where: string): string {
  return `## ${where}: ${pages} pages\n\n${text}\n\n${plan}`
}

export function machine(): string {
  const gibibytes = (totalmem() / 2 ** 30).toFixed(0)
  return `${cpus().length} cores, ${gibibytes} GiB, Node ${process.version}`
}
