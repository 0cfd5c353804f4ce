import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry as Series } from 'prom-client'
import { type GarbageSource, registerGarbageSeries } from './garbage-series.ts'
import { registerScrubSeries, type ScrubSource } from './scrub-series.ts'
import { registerUpstreamSeries, type UpstreamFigures } from './upstream-series.ts'

export interface EndedRequest {
  readonly method: string
  /** The route's name, never its path: labels are few. */
  readonly route: string
  readonly status: number
  readonly seconds: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/** Numbers that are asked for when somebody looks. */
export interface MetricSources {
  readonly uploadsInProgress: () => number
  readonly fetchesInProgress: () => number
  readonly upstreams: () => readonly UpstreamFigures[]
  /** Undefined where nothing is scrubbed. */
  readonly scrub?: ScrubSource
  /** Undefined where nothing is collected. */
  readonly garbage?: GarbageSource
  readonly pool: () => { readonly total: number; readonly idle: number; readonly waiting: number }
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])

/** What the server counts, in Prometheus' form. One instance a process. */
export class Metrics {
  readonly #series = new Series()
  readonly #requests = this.#counter('requests_total', 'requests answered', [
    'method',
    'route',
    'status',
  ])
  readonly #seconds = new Histogram({
    name: 'slipway_request_seconds',
    help: 'from the first byte of a request to the last of its answer',
    labelNames: ['method', 'route'],
    buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300],
    registers: [this.#series],
  })
  // Numbers without labels are added up here, and handed over when somebody looks.
  #inProgress = 0
  #bytesIn = 0
  #bytesOut = 0
  readonly #storage = new Histogram({
    name: 'slipway_storage_seconds',
    help: 'calls of the blob store; a read until its first bytes',
    labelNames: ['operation', 'result'],
    buckets: [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
    registers: [this.#series],
  })

  constructor(sources: MetricSources) {
    collectDefaultMetrics({ register: this.#series, eventLoopMonitoringPrecision: 20 })
    this.#gauge('requests_in_progress', 'requests not yet answered', (gauge) =>
      gauge.set(this.#inProgress),
    )
    this.#sum('received_bytes_total', 'bytes received, headers included', () => this.#bytesIn)
    this.#sum('sent_bytes_total', 'bytes sent, headers included', () => this.#bytesOut)
    this.#gauge('uploads_in_progress', 'requests adding bytes to an upload', (gauge) =>
      gauge.set(sources.uploadsInProgress()),
    )
    this.#gauge('upstream_fetches_in_progress', 'blobs on their way from upstreams', (gauge) =>
      gauge.set(sources.fetchesInProgress()),
    )
    registerUpstreamSeries(this.#series, sources.upstreams)
    if (sources.scrub !== undefined) registerScrubSeries(this.#series, sources.scrub)
    if (sources.garbage !== undefined) registerGarbageSeries(this.#series, sources.garbage)
    this.#gauge('database_connections', 'connections of the pool', (gauge) =>
      gauge.set(sources.pool().total),
    )
    this.#gauge('database_connections_idle', 'connections nobody uses', (gauge) =>
      gauge.set(sources.pool().idle),
    )
    this.#gauge('database_waiting', 'requests waiting for a connection', (gauge) =>
      gauge.set(sources.pool().waiting),
    )
  }

  get contentType(): string {
    return this.#series.contentType
  }

  render(): Promise<string> {
    return this.#series.metrics()
  }

  requestBegan(): void {
    this.#inProgress++
  }

  requestEnded({ method, route, status, seconds, bytesIn, bytesOut }: EndedRequest): void {
    // A client can invent methods; labels must not grow with them.
    const known = METHODS.has(method) ? method : 'other'
    this.#inProgress--
    this.#requests.inc({ method: known, route, status })
    this.#seconds.observe({ method: known, route }, seconds)
    this.#bytesIn += bytesIn
    this.#bytesOut += bytesOut
  }

  storageCalled(operation: string, result: 'ok' | 'failed', seconds: number): void {
    this.#storage.observe({ operation, result }, seconds)
  }

  #counter<Label extends string>(name: string, help: string, labelNames: Label[]) {
    const registers = [this.#series]
    return new Counter<Label>({ name: `slipway_${name}`, help, labelNames, registers })
  }

  /** A counter of what is added up elsewhere. */
  #sum(name: string, help: string, total: () => number): Counter {
    return new Counter({
      name: `slipway_${name}`,
      help,
      registers: [this.#series],
      collect(this: Counter) {
        this.reset()
        this.inc(total())
      },
    })
  }

  #gauge(name: string, help: string, collect: (gauge: Gauge) => void): Gauge {
    return new Gauge({
      name: `slipway_${name}`,
      help,
      registers: [this.#series],
      collect(this: Gauge) {
        collect(this)
      },
    })
  }
}
