import path from 'node:path'
import { type Sides, sides } from '../bench.ts'
import type { Environment } from '../environment.ts'
import { figureText, median, spreadOf } from '../measure/statistics.ts'
import { imagesEach, layers } from './content.ts'
import { figureOf, type Point, type Round } from './figures.ts'
import type { Options, Places } from './options.ts'
import { pointsBy } from './plots.ts'

const columns = [
  'what',
  'repositories',
  'connections',
  'ours, requests/s',
  'peer, requests/s',
  'ratio',
  'p99 ms',
  'first asks',
]

/** The results as a document: where they come from, plots, tables, how to read them. */
export function markdownOf(
  points: readonly Point[],
  { environment, places, plots }: Source,
  { rounds, seconds }: Pick<Options, 'rounds' | 'seconds'>,
): string {
  const lines = [...environment].map(([name, value]) => `- ${name}: ${value}`)
  const image = (file: string) => {
    const link = path.relative(path.dirname(places.report), file).split(path.sep).join('/')
    return `![${path.basename(file, '.svg').replaceAll('-', ' ')}](${link})`
  }
  return `# Cost as work grows

Written by \`npm run bench:growth\`. Slipway is as it is installed, with its embedded Postgres.

${lines.join('\n')}

${plots.map(image).join('\n\n')}

## More repositories

${tableOf(pointsBy('repositories', points))}

## More connections

${tableOf(pointsBy('connections', points))}

${howToRead({ rounds, seconds })}`
}

interface Source {
  readonly environment: Environment
  readonly places: Places
  readonly plots: readonly string[]
}

function howToRead({ rounds, seconds }: Pick<Options, 'rounds' | 'seconds'>): string {
  return `## How to read it

Figures are medians of ${rounds} rounds of ${seconds} s, with the least and the largest in parentheses; the ratio is
ours to the peer's, and pairs are ours / peer's. Both run at the same time on one machine, which the client
shares, in turn under load. A connection has one request in flight. A round is longer where a
connection would not get two answers in it; where that were more than 10 s, marked with ¹, the figure is that of a single
request on each connection, all at once, and of what is answered in 30 s.

A repository of ours has ${imagesEach.ours} images under a tag each, one of the peer's ${imagesEach.peer}, which is in its favour. Each image has a
config and a manifest like no other, and two of ${layers.length} layers of 2 KiB. Both were filled without their help: Slipway
by SQL and files, docker-registry by files. A catalog page begins anywhere in the middle tenth of the names; of few
repositories it has fewer than 100. A push is that of a layer, a config and a manifest to a new repository, as
Docker sends them, of which at least 32 make a round; its figure is images/s.

What is remembered: both are started anew after they were filled, and asked for a second before the rounds. Up to
10,000 repositories a round asks for all of them, in one random order, so that what a server can remember it does. Of
many more no round asks for one that a round of the same has asked for: \`first asks\` is the part of the requests for
which nothing of the kind can have been remembered. Hot repositories are a thousand of them that are asked for again
and again, as most requests are in life. The first HEAD of a blob also has Slipway write down that somebody may name it
soon. Files and tables are in memory in any case, as they were written just before.
`
}

/** One line for each pair, as Markdown. */
export function tableOf(points: readonly Point[]): string {
  const align = columns.map((_, column) => (column === 0 ? '---' : '---:'))
  return [columns, align, ...pairsOf(points).map(cells)]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n')
}

function pairsOf(points: readonly Point[]): Sides<Point>[] {
  return points
    .filter(({ side }) => side === 'ours')
    .flatMap((ours) => {
      const peer = points.find(
        (point) =>
          point.side === 'peer' &&
          point.operation === ours.operation &&
          point.repositories === ours.repositories &&
          point.connections === ours.connections,
      )
      return peer === undefined ? [] : [{ ours, peer }]
    })
}

function cells(pair: Sides<Point>): string[] {
  const { ours, peer } = pair
  const [rate, peerRate] = [figureOf(ours), figureOf(peer)]
  return [
    ours.operation,
    ours.repositories.toLocaleString('en'),
    ours.connections.toLocaleString('en'),
    rateOf(ours),
    rateOf(peer),
    rate === undefined || peerRate === undefined ? '' : figureText(rate / peerRate),
    both(pair, ({ p99Ms }) => p99Ms, figureText),
    both(
      pair,
      ({ firstAsks }) => firstAsks,
      (part) => `${(part * 100).toFixed(0)} %`,
    ),
  ]
}

function rateOf(point: Point): string {
  if (point.rounds.length === 0) return point.remark
  const {
    median: middle,
    min,
    max,
  } = spreadOf(point.rounds.map(({ requestsPerSecond }) => requestsPerSecond))
  const spread = point.rounds.length === 1 ? '' : ` (${figureText(min)}–${figureText(max)})`
  return `${figureText(middle)}${spread}${point.remark === '' ? '' : ' ¹'}`
}

function both(
  pair: Sides<Point>,
  of: (round: Round) => number,
  text: (value: number) => string,
): string {
  const values = sides.map((side) => median(pair[side].rounds.map(of)))
  if (values.every(Number.isNaN)) return ''
  return values.map((value) => (Number.isNaN(value) ? '–' : text(value))).join(' / ')
}
