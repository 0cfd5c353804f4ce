import Koa from 'koa'
import type { Logger } from 'pino'
import type { Access } from '../auth/access.ts'
import type { Metrics } from '../observability/metrics.ts'
import { RegistryError } from '../oci/errors.ts'
import type { Registry } from '../registry/registry.ts'
import { type HealthChecks, operationRoutes } from './handlers/operation.ts'
import type { TrustedProxies } from './http/forwarded.ts'
import { rawPath } from './http/v2-path.ts'
import { answerErrors } from './middleware/errors.ts'
import { logRequests } from './middleware/request-log.ts'
import { apiRoutes, handleV2 } from './routes.ts'
import type { RequestContext, RequestState } from './state.ts'

export interface AppOptions {
  readonly registry: Registry
  /** Who is asking. @throws RegistryError UNAUTHORIZED for credentials that are not good */
  readonly authenticate: (ctx: RequestContext) => Access | Promise<Access>
  readonly health: HealthChecks
  readonly metrics: Metrics
  readonly proxies: TrustedProxies
  readonly log: Logger
  /** One line for each request. */
  readonly logsRequests: boolean
}

/** The HTTP server's whole behaviour, in the order of the lines here. It listens nowhere yet. */
export function createApp(options: AppOptions): Koa<RequestState> {
  const { registry, authenticate, health, metrics, proxies, log, logsRequests } = options
  const app = new Koa<RequestState>()
  app.on('error', (error: unknown) => log.error({ err: error }, 'answer failed'))
  app.use(logRequests({ log: logsRequests ? log : undefined, metrics, proxies }))
  app.use(answerErrors(log))

  const operation = operationRoutes(health, metrics)
  const api = apiRoutes(registry)
  app.use(operation.routes())
  // From here on nothing is answered before it is known who asks.
  app.use(async (ctx, next) => {
    const access = authenticate(ctx)
    ctx.state.access = access instanceof Promise ? await access : access
    if (rawPath(ctx.req).startsWith('/v2')) return handleV2(registry, ctx)
    return next()
  })
  app.use(api.routes())
  app.use(() => {
    throw new RegistryError('UNSUPPORTED', 'there is nothing at this address', { status: 404 })
  })
  return app
}
