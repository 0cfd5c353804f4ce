import type { Rest, Sample } from './sample.ts'

const KiB = 2 ** 10
const MiB = 2 ** 20

/** What may grow, and how much of it is a leak: more than both. */
export interface Question<S extends Sample = Sample> {
  readonly what: string
  readonly unit: 'bytes' | 'count'
  readonly growth: number
  readonly perThousandRequests: number
  readonly value: (sample: S) => number
}

/** Before anybody asked for anything, and at the end. */
export const LEVELS: readonly Question<Rest>[] = [
  {
    what: 'descriptors',
    unit: 'count',
    growth: 6,
    perThousandRequests: 0,
    // Connections that are kept for later, a minute or so: more than a rest lasts.
    value: ({ descriptors, poolConnections, storageConnections }) =>
      descriptors - poolConnections - storageConnections,
  },
  {
    what: 'active handles',
    unit: 'count',
    growth: 6,
    perThousandRequests: 0,
    // Those to the object storage do not count as active while they are idle.
    value: ({ activeHandles, poolConnections }) => activeHandles - poolConnections,
  },
  {
    what: 'backends of PostgreSQL',
    unit: 'count',
    growth: 4,
    perThousandRequests: 0,
    value: ({ backends, poolConnections }) => backends - poolConnections,
  },
]

/** At all rests after the warm-up. */
export const AT_REST: readonly Question<Rest>[] = [
  {
    what: 'live heap',
    unit: 'bytes',
    // The server remembers up to 100,000 of what it looked up, and 32 MiB of tokens that were shown:
    // it may take hours until these are so many.
    growth: 8 * MiB,
    perThousandRequests: 48 * KiB,
    value: ({ liveHeapBytes }) => liveHeapBytes,
  },
  {
    what: 'live buffers',
    unit: 'bytes',
    growth: 12 * MiB,
    perThousandRequests: 96 * KiB,
    value: ({ liveExternalBytes }) => liveExternalBytes,
  },
  {
    what: 'resident, at rest',
    unit: 'bytes',
    growth: 48 * MiB,
    perThousandRequests: 192 * KiB,
    value: ({ rssBytes }) => rssBytes,
  },
  {
    what: 'PostgreSQL, at rest',
    unit: 'bytes',
    growth: 96 * MiB,
    perThousandRequests: 192 * KiB,
    value: ({ postgresPssBytes }) => postgresPssBytes,
  },
]

/** While clients are at work, after the warm-up. */
export const UNDER_LOAD: readonly Question[] = [
  {
    what: 'resident, under load',
    unit: 'bytes',
    growth: 192 * MiB,
    perThousandRequests: 256 * KiB,
    value: ({ rssBytes }) => rssBytes,
  },
  {
    what: 'stored files',
    unit: 'bytes',
    growth: 384 * MiB,
    perThousandRequests: 512 * KiB,
    value: ({ storedBytes }) => storedBytes,
  },
  {
    what: 'upload sessions',
    unit: 'count',
    growth: 150,
    perThousandRequests: 2,
    value: ({ sessions }) => sessions,
  },
]
