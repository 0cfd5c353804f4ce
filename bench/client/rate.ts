export interface RateLoad {
  readonly port: number
  readonly method: 'GET' | 'HEAD'
  /** Asked for in turn. */
  readonly paths: readonly string[]
  /** Each has one request in flight. */
  readonly connections: number
  readonly seconds: number
  /** The header of that name; left out, none is sent. */
  readonly authorization?: string | undefined
}

export interface Rate {
  readonly requestsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}
