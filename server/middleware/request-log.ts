import { randomBytes } from 'node:crypto'
import type { Middleware } from 'koa'
import type { Logger } from 'pino'
import type { Metrics } from '../../observability/metrics.ts'
import type { TrustedProxies } from '../http/forwarded.ts'
import type { RequestState } from '../state.ts'

export interface RequestLogOptions {
  /** Undefined: requests are counted, not logged. */
  readonly log: Logger | undefined
  readonly metrics: Metrics
  readonly proxies: TrustedProxies
}

/**
 * Gives a request its id and address, and when its answer has ended one line in the log and its
 * place in the metrics. Bytes are those of the connection, headers included.
 */
export function logRequests(options: RequestLogOptions): Middleware<RequestState> {
  const { metrics, proxies } = options
  // To look for secrets costs three times what the line does, which has none of their names.
  const log = options.log?.child({}, { redact: [] })
  const process = randomBytes(4).toString('hex')
  let count = 0
  return async (ctx, next) => {
    const startedAt = performance.now()
    const { socket } = ctx.req
    const readBefore = socket.bytesRead
    const writtenBefore = socket.bytesWritten
    ctx.state.requestId = `${process}-${(++count).toString(36)}`
    ctx.state.address = proxies.addressOf(ctx.req)
    ctx.state.origin = proxies.originOf(ctx.req)
    ctx.state.route = undefined
    metrics.requestBegan()
    ctx.res.once('close', () => {
      const seconds = (performance.now() - startedAt) / 1000
      const bytesIn = socket.bytesRead - readBefore
      const bytesOut = socket.bytesWritten - writtenBefore
      const status = ctx.res.statusCode
      const route = ctx.state.route ?? 'other'
      metrics.requestEnded({ method: ctx.method, route, status, seconds, bytesIn, bytesOut })
      if (!log?.isLevelEnabled('info')) return
      log.info(
        {
          requestId: ctx.state.requestId,
          scheme: visible(ctx.state.origin.scheme),
          host: visible(ctx.state.origin.host),
          method: ctx.method,
          url: ctx.url,
          status,
          ms: Math.round(seconds * 1000),
          bytesIn,
          bytesOut,
          address: ctx.state.address,
          userAgent: visible(ctx.get('User-Agent')),
          complete: ctx.res.writableFinished,
        },
        'request',
      )
    })
    await next()
  }
}

/** What a terminal would take for an order is not to reach one. */
function visible(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '\uFFFD')
}
