import type { Sides } from './bench.ts'
import { type Comparison, meetsTarget, ratioOf, type Target } from './comparison.ts'
import type { Environment } from './environment.ts'
import type { Usage } from './measure/process-tree.ts'
import { figureText, median, spreadOf } from './measure/statistics.ts'

const columns = ['', 'what', 'unit', 'ours', 'peer', 'ratio', 'target', '', 'CPU s', 'peak MiB']

/** The results as aligned text. */
export function textTable(comparisons: readonly Comparison[]): string {
  const rows = [columns, ...comparisons.map(cells)]
  const widths = columns.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .concat(notes(comparisons))
    .join('\n')
}

/** What was measured with one way of installing both. */
export interface Section {
  readonly title: string
  readonly comparisons: readonly Comparison[]
}

/** The results as a document: where they come from, the tables, how to read them. */
export function markdownReport(sections: readonly Section[], environment: Environment): string {
  const verdicts = sections.flatMap(({ comparisons }) => comparisons.map(meetsTarget))
  const count = (verdict: boolean) => verdicts.filter((found) => found === verdict).length
  return `# Slipway and docker-registry, side by side

Written by \`npm run bench\`. Targets met: ${count(true)}, missed: ${count(false)}.

${[...environment].map(([name, value]) => `- ${name}: ${value}`).join('\n')}

${sections.map(markdownSection).join('\n')}
## How to read it

Figures are medians of the rounds, with the least and the largest in parentheses; the ratio is
ours to the peer's. CPU is what all processes of the server used in one round, Postgres included
(median); memory is the largest sum of a round (RSS; Postgres by PSS, so that its shared buffers
count once). Pairs are ours / peer's. Both ran at the same time on one machine, in turn under
load, so the ratios carry over to other machines better than the figures do.
`
}

function markdownSection({ title, comparisons }: Section): string {
  const table = [columns, columns.map(() => '---'), ...comparisons.map(cells)]
  return `## Slipway ${title}

${table.map((row) => `| ${row.join(' | ')} |`).join('\n')}

${notes(comparisons)
  .map((note) => `- ${note}\n`)
  .join('')}`
}

function cells(comparison: Comparison): string[] {
  const { letter, what, unit, figures, target, usage } = comparison
  return [
    `(${letter})`,
    what,
    unit,
    spread(figures.ours),
    spread(figures.peer),
    ratioOf(comparison).toFixed(2),
    targetText(target),
    verdictText(meetsTarget(comparison)),
    usage === undefined ? '' : pair(usage, (rounds) => cpuText(rounds)),
    usage === undefined ? '' : pair(usage, (rounds) => memoryText(rounds)),
  ]
}

function notes(comparisons: readonly Comparison[]): string[] {
  return comparisons.flatMap(({ letter, what, note }) =>
    note === undefined ? [] : [`(${letter}) ${what}: ${note}`],
  )
}

function spread(values: readonly number[]): string {
  const { median: middle, min, max } = spreadOf(values)
  return `${figureText(middle)} (${figureText(min)}–${figureText(max)})`
}

function targetText(target: Target | undefined): string {
  if (target === undefined) return ''
  if (target.kind === 'ratio at least') return `≥ ${target.bound}`
  if (target.kind === 'ratio at most') return `≤ ${target.bound}`
  return `ours ≤ ${target.bound}`
}

function verdictText(met: boolean | undefined): string {
  if (met === undefined) return ''
  return met ? 'met' : 'MISSED'
}

function pair<T>(values: Sides<T>, text: (value: T) => string): string {
  return `${text(values.ours)} / ${text(values.peer)}`
}

function cpuText(rounds: readonly Usage[]): string {
  return figureText(median(rounds.map(({ cpuSeconds }) => cpuSeconds)))
}

function memoryText(rounds: readonly Usage[]): string {
  return figureText(Math.max(...rounds.map(({ peakMemoryKiB }) => peakMemoryKiB)) / 1024)
}
