import type { Report } from './report.ts'
import type { Sample } from './sample.ts'
import type { Finding } from './verdict.ts'

const MiB = 2 ** 20

interface Column {
  readonly heading: string
  readonly cell: (sample: Sample) => string
}

const mebibytes = (bytes: number) => (bytes / MiB).toFixed(0)

const COLUMNS: readonly Column[] = [
  { heading: 'time', cell: ({ at }) => `${(at / 60).toFixed(1)} min` },
  { heading: 'phase', cell: ({ phase }) => phase },
  { heading: 'requests', cell: ({ requests }) => String(requests) },
  { heading: 'RSS MiB', cell: ({ rssBytes }) => mebibytes(rssBytes) },
  { heading: 'heap', cell: ({ heapUsedBytes }) => mebibytes(heapUsedBytes) },
  { heading: 'external', cell: ({ externalBytes }) => mebibytes(externalBytes) },
  {
    heading: 'live',
    cell: ({ liveHeapBytes }) =>
      liveHeapBytes === undefined ? '' : (liveHeapBytes / MiB).toFixed(1),
  },
  { heading: 'fds', cell: ({ descriptors }) => String(descriptors) },
  { heading: 'pool', cell: ({ poolConnections }) => String(poolConnections) },
  { heading: 'pg PSS', cell: ({ postgresPssBytes }) => mebibytes(postgresPssBytes) },
  { heading: 'pg fds', cell: ({ postgresDescriptors }) => String(postgresDescriptors) },
  { heading: 'database', cell: ({ databaseBytes }) => mebibytes(databaseBytes) },
  { heading: 'stored', cell: ({ storedBytes }) => mebibytes(storedBytes) },
  { heading: 'sessions', cell: ({ sessions }) => String(sessions) },
  {
    heading: 'loop p99 ms',
    cell: ({ eventLoopP99Seconds }) => (eventLoopP99Seconds * 1000).toFixed(0),
  },
]

export function headingLine(): string {
  return COLUMNS.map(({ heading }) => heading.padStart(widthOf(heading))).join('  ')
}

export function lineOf(sample: Sample): string {
  return COLUMNS.map(({ heading, cell }) => cell(sample).padStart(widthOf(heading))).join('  ')
}

function widthOf(heading: string): number {
  return Math.max(8, heading.length)
}

export function findingLine(finding: Finding): string {
  const { what, unit, from, to, growth, perThousandRequests, perHour, bound, isLeak } = finding
  const show = unit === 'bytes' ? sizeOf : (count: number) => count.toFixed(1)
  const room =
    bound.perThousandRequests === 0
      ? show(bound.growth)
      : `${show(bound.growth)}, ${show(bound.perThousandRequests)} per 1,000 requests`
  return (
    `${isLeak ? 'LEAK' : 'flat'}  ${what.padEnd(24)}${show(from).padStart(10)} →${show(to).padStart(10)}` +
    `   grown ${show(growth)}: ${show(perThousandRequests)} per 1,000 requests, ` +
    `${show(perHour)} an hour (room: ${room})`
  )
}

export function summaryOf(report: Report, samples: readonly Sample[]): string {
  const [first, last] = [samples[0]!, samples.at(-1)!]
  const busy = (last.cpuSeconds - first.cpuSeconds) / (last.at - first.at)
  const nuisances = Object.entries(report.nuisances).map(([kind, count]) => `${count} × ${kind}`)
  return [
    `${report.requests} requests: ${report.pushes} images pushed, ${report.pulls} pulled ` +
      `(${sizeOf(report.verifiedBytes)} verified), ${report.tokens} tokens, ` +
      `${report.unavailable} answers 503, ${report.violations} wrong answers`,
    nuisances.join(', '),
    `server and database used ${(busy * 100).toFixed(0)} % of a core, rests included`,
  ].join('\n')
}

function sizeOf(bytes: number): string {
  return Math.abs(bytes) < MiB
    ? `${(bytes / 1024).toFixed(1)} KiB`
    : `${(bytes / MiB).toFixed(1)} MiB`
}
