import type { Logger } from 'pino'
import type { Spool } from '../../storage/blob/spool.ts'
import type { Pool } from '../../storage/metadata/database.ts'
import type { Registry } from '../registry.ts'
import { Activity } from './activity.ts'
import { Fetches } from './fetches.ts'
import { Flights } from './flights.ts'
import { recordActivity } from './tend.ts'
import { Upstreams } from './upstreams.ts'

/** What it takes to answer from other registries. Built once, in `server/compose.ts`. */
export interface PullThrough {
  /** None until some are configured. */
  readonly upstreams: Upstreams
  /** Blobs on their way. */
  readonly fetches: Fetches
  /** Manifests on their way. */
  readonly flights: Flights
  readonly activity: Activity
  readonly patience: Patience
}

/** Milliseconds for which a request waits for an upstream. Clients give up after 30 s without headers. */
export interface Patience {
  /** For what could be served as it was. */
  readonly kept: number
  /** For a manifest that is not here. */
  readonly missing: number
  /** For what an upstream says of a blob, and for its lists. */
  readonly content: number
}

const PATIENCE: Patience = { kept: 8000, missing: 25_000, content: 20_000 }

export interface PullThroughOptions {
  readonly db: Pool
  /** Names this process: a UUID. */
  readonly process: string
  readonly spool: Spool
  readonly log: Pick<Logger, 'warn' | 'info'>
  /** Only tests give one. */
  readonly patience?: Partial<Patience>
}

export function createPullThrough(options: PullThroughOptions): PullThrough {
  return {
    upstreams: new Upstreams(),
    fetches: new Fetches(options),
    flights: new Flights(),
    activity: new Activity(),
    patience: { ...PATIENCE, ...options.patience },
  }
}

/** Ends what is under way, and writes down what was asked for. What has arrived of a blob is kept. */
export async function closePullThrough(
  registry: Pick<Registry, 'db' | 'pullThrough' | 'uses' | 'log'>,
): Promise<void> {
  const { fetches, flights, upstreams } = registry.pullThrough
  await Promise.all([fetches.close(), flights.close()])
  await recordActivity(registry).catch((error: unknown) => {
    registry.log.warn({ err: error }, 'activity of upstreams not recorded')
  })
  upstreams.close()
}
