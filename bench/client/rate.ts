import type { Server } from './server.ts'

export interface RateLoad extends Server {
  readonly method: 'GET' | 'HEAD'
  /** Asked for in turn. */
  readonly paths: readonly string[]
  /** Each has one request in flight. */
  readonly connections: number
  readonly seconds: number
}

export interface Rate {
  readonly requestsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}
