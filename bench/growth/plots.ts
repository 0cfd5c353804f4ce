import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { parse, type Spec, View } from 'vega'
import type { Sides } from '../bench.ts'
import { figureOf, type Point } from './figures.ts'
import { baseOf, manyConnections, pushTitle, readingOrder, reads } from './operations.ts'
import { kinds } from './stage.ts'

const files = { repositories: 'by-repositories.svg', connections: 'by-connections.svg' } as const

/** What grows from left to right. */
type Growing = keyof typeof files

const panels = [...reads.map(({ title }) => title), pushTitle]

const columns = 4
/** Of a panel, in pixels. */
const width = 150
const height = 150

const colors: Sides<string> = { ours: '#0b62c4', peer: '#d9730d' }

/** Writes the plots. @returns their files */
export async function drawPlots(points: readonly Point[], directory: string): Promise<string[]> {
  await mkdir(directory, { recursive: true })
  const written: string[] = []
  for (const growing of ['repositories', 'connections'] as const) {
    const shown = pointsBy(growing, points)
    const view = new View(parse(specOf(growing, shown)), { renderer: 'none' })
    const file = path.join(directory, files[growing])
    await writeFile(file, `${await view.toSVG()}\n`)
    written.push(file)
  }
  return written
}

/** Those that differ in what grows, in nothing else: operation after operation. */
export function pointsBy(growing: Growing, points: readonly Point[]): Point[] {
  const base = baseOf(points.map(({ repositories }) => repositories))
  const isShown = (point: Point) =>
    growing === 'repositories'
      ? point.connections === connectionsOf(point)
      : point.repositories === base && panels.includes(point.operation)
  return points
    .filter(isShown)
    .toSorted((a, b) => placeOf(a) - placeOf(b) || a[growing] - b[growing])
}

function placeOf({ operation }: Point): number {
  return readingOrder.indexOf(operation)
}

function connectionsOf({ operation }: Point): number {
  return reads.find(({ title }) => title === operation)?.connections ?? manyConnections
}

function specOf(growing: Growing, points: readonly Point[]): Spec {
  const shown = points.filter(({ operation }) => panels.includes(operation))
  const places = [...new Set(shown.map((point) => point[growing]))].toSorted((a, b) => a - b)
  const rates = shown.map(figureOf).filter((rate) => rate !== undefined)
  const values = shown.map((point) => valueOf(point, growing, shown))
  return {
    background: 'white',
    padding: 12,
    config: { axis: { labelColor: '#333', titleColor: '#333', gridColor: '#e4e4e4' } },
    title: {
      text: titles[growing],
      subtitle: subtitleOf(growing, points),
      anchor: 'start',
      frame: 'bounds',
      fontSize: 16,
      subtitleFontSize: 12,
      subtitleColor: '#555',
      offset: 16,
    },
    data: [{ name: 'points', values }],
    scales: [
      {
        name: 'registry',
        type: 'ordinal',
        domain: [kinds.ours.name, kinds.peer.name],
        range: [colors.ours, colors.peer],
      },
      {
        name: 'shape',
        type: 'ordinal',
        domain: [kinds.ours.name, kinds.peer.name],
        range: ['circle', 'square'],
      },
    ],
    legends: [
      {
        fill: 'registry',
        shape: 'shape',
        orient: 'bottom',
        direction: 'horizontal',
        labelFontSize: 12,
        symbolSize: 60,
        offset: 14,
      },
    ],
    layout: { columns, padding: { row: 28, column: 12 }, align: 'all', bounds: 'full' },
    marks: [panelOf(growing, { places, rates })],
  }
}

const titles: Readonly<Record<Growing, string>> = {
  repositories: 'Requests per second as repositories grow',
  connections: 'Requests per second as connections grow',
}

const axisTitles: Readonly<Record<Growing, string>> = {
  repositories: 'repositories',
  connections: 'connections',
}

function subtitleOf(growing: Growing, points: readonly Point[]): string {
  const scales = 'Client and server share one machine. Both scales are logarithmic.'
  if (growing === 'repositories') {
    const catalog = reads.find(({ connections }) => connections !== manyConnections)
    const few = catalog === undefined ? '' : `, ${catalog.connections} for the catalog page`
    return `${manyConnections} connections${few}. ${scales}`
  }
  const base = baseOf(points.map(({ repositories }) => repositories))
  return `${base.toLocaleString('en')} repositories. ${scales}`
}

function valueOf(point: Point, growing: Growing, shown: readonly Point[]) {
  const rate = figureOf(point)
  const line = shown.filter(
    ({ operation, side, rounds }) =>
      operation === point.operation && side === point.side && rounds.length > 0,
  )
  const isLast = point[growing] === Math.max(...line.map((each) => each[growing]))
  return {
    operation: point.operation,
    isFirst: panels.indexOf(point.operation) % columns === 0,
    registry: kinds[point.side].name,
    at: point[growing],
    rate: rate ?? null,
    label: rate !== undefined && isLast ? labelOf(rate) : '',
    labelOffset: point.side === 'ours' ? -8 : 15,
    remark: rate === undefined ? point.remark.replace(/^failed: .*/, 'failed') : '',
  }
}

/** Two significant digits, in thousands from a thousand. */
function labelOf(rate: number): string {
  if (rate >= 1000) return `${Number((rate / 1000).toPrecision(2))}k`
  return String(Number(rate.toPrecision(2)))
}

interface Extent {
  readonly places: readonly number[]
  readonly rates: readonly number[]
}

/** A panel for each operation, all with the same axes. */
function panelOf(growing: Growing, { places, rates }: Extent): NonNullable<Spec['marks']>[number] {
  // Some more, for labels above and below the lines.
  const least = Math.min(...rates) / 3
  const most = Math.max(...rates) * 3
  const first = Math.ceil(Math.log10(least))
  const powers = Array.from(
    { length: Math.floor(Math.log10(most)) - first + 1 },
    (_, n) => 10 ** (first + n),
  )
  const at = { scale: 'x', field: 'at' }
  const color = { scale: 'registry', field: 'registry' }
  const rate = { scale: 'y', field: 'rate' }
  return {
    type: 'group',
    from: { facet: { name: 'panel', data: 'points', groupby: ['operation', 'isFirst'] } },
    encode: { enter: { width: { value: width }, height: { value: height } } },
    title: { text: { signal: 'parent.operation' }, fontSize: 12, anchor: 'start', offset: 8 },
    scales: [
      { name: 'x', type: 'log', domain: domainOf(places), range: [0, width] },
      { name: 'y', type: 'log', domain: [least, most], range: [height, 0] },
    ],
    axes: [
      {
        orient: 'bottom',
        scale: 'x',
        values: [...places],
        format: ',',
        grid: true,
        gridScale: 'y',
        labelOverlap: 'greedy',
        title: axisTitles[growing],
        titleFontWeight: 'normal',
      },
      {
        orient: 'left',
        scale: 'y',
        values: powers,
        format: '~s',
        grid: true,
        gridScale: 'x',
        title: { signal: `parent.isFirst ? 'requests/s' : ''` },
        titleFontWeight: 'normal',
      },
    ],
    marks: [
      {
        type: 'group',
        from: { facet: { name: 'line', data: 'panel', groupby: 'registry' } },
        data: [
          {
            name: 'answered',
            source: 'line',
            transform: [{ type: 'filter', expr: 'datum.rate !== null' }],
          },
          {
            name: 'unanswered',
            source: 'line',
            transform: [{ type: 'filter', expr: 'datum.rate === null' }],
          },
        ],
        marks: [
          {
            type: 'line',
            from: { data: 'answered' },
            encode: { enter: { x: at, y: rate, stroke: color, strokeWidth: { value: 2 } } },
          },
          {
            type: 'symbol',
            from: { data: 'answered' },
            encode: {
              enter: {
                x: at,
                y: rate,
                fill: color,
                shape: { scale: 'shape', field: 'registry' },
                size: { value: 36 },
              },
            },
          },
          {
            type: 'text',
            from: { data: 'answered' },
            encode: {
              enter: {
                x: at,
                y: rate,
                text: { field: 'label' },
                fill: color,
                align: { value: 'right' },
                dy: { field: 'labelOffset' },
                fontSize: { value: 11 },
              },
            },
          },
          {
            type: 'symbol',
            from: { data: 'unanswered' },
            encode: {
              enter: {
                x: at,
                y: { value: height },
                stroke: color,
                strokeWidth: { value: 2 },
                shape: { value: 'M-1,-1L1,1M1,-1L-1,1' },
                size: { value: 60 },
              },
            },
          },
          {
            type: 'text',
            from: { data: 'unanswered' },
            encode: {
              enter: {
                x: at,
                y: { value: height - 28 },
                text: { field: 'remark' },
                fill: color,
                align: { value: 'right' },
                fontSize: { value: 11 },
              },
            },
          },
        ],
      },
    ],
  }
}

/** A scale of a single place would have no length. */
function domainOf(places: readonly number[]): [number, number] {
  const least = Math.min(...places)
  return [least, Math.max(...places, least * 10)]
}
