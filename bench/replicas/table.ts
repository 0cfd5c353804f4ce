import { figureText, median, spreadOf } from '../measure/statistics.ts'
import type { Measurement } from './measurements.ts'

/** The measurements of every round with so many replicas. */
export interface Row {
  readonly replicas: number
  readonly rounds: readonly Measurement[]
}

const columns = [
  'what',
  'replicas',
  'figure',
  'unit',
  'CPU: replicas',
  'nginx',
  'S3',
  'PostgreSQL',
  'unit',
  'machine busy',
]

/** Aligned text: medians of the rounds, of the figure with the least and the largest too. */
export function tableOf(rows: readonly Row[]): string {
  const lines = [columns, ...rows.map(cells)]
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)))
  return lines
    .map((line) =>
      line
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function cells({ replicas, rounds }: Row): string[] {
  const [first] = rounds
  if (first === undefined) return []
  const figure = spreadOf(rounds.map((round) => round.figure))
  const middle = (of: (round: Measurement) => number) => figureText(median(rounds.map(of)))
  return [
    first.what,
    String(replicas),
    `${figureText(figure.median)} (${figureText(figure.min)}–${figureText(figure.max)})`,
    first.unit,
    middle(({ cpu }) => cpu.replicas),
    middle(({ cpu }) => cpu.nginx),
    middle(({ cpu }) => cpu.s3),
    middle(({ cpu }) => cpu.postgres),
    first.cpuUnit,
    `${(median(rounds.map(({ busy }) => busy)) * 100).toFixed(0)} %`,
  ]
}
