import Koa from 'koa'
import type { Logger } from 'pino'
import type { Access } from '../auth/access.ts'
import type { AccessControl } from '../auth/access-control.ts'
import { authenticate } from '../auth/authenticate.ts'
import type { TokenSource } from '../auth/tokens/challenge.ts'
import type { Metrics } from '../observability/metrics.ts'
import { RegistryError } from '../oci/errors.ts'
import type { Registry } from '../registry/registry.ts'
import { apiRoutes } from './api/routes.ts'
import { type HealthChecks, operationRoutes } from './handlers/operation.ts'
import { refuseForeign } from './http/foreign.ts'
import type { TrustedProxies } from './http/forwarded.ts'
import { rawPath } from './http/v2-path.ts'
import { answerErrors } from './middleware/errors.ts'
import { RateLimit } from './middleware/rate-limit.ts'
import { logRequests } from './middleware/request-log.ts'
import { handleV2, tokenRoutes } from './routes.ts'
import type { RequestContext, RequestState } from './state.ts'

export interface AppOptions {
  readonly registry: Registry
  readonly access: AccessControl
  readonly health: HealthChecks
  readonly metrics: Metrics
  readonly proxies: TrustedProxies
  readonly log: Logger
  readonly settings: AppSettings
}

export interface AppSettings {
  /** One line for each request. */
  readonly logsRequests: boolean
  /** Where clients get tokens; undefined: at the address by which they came. */
  readonly realm: string | undefined
  /** Requests of one address and minute. */
  readonly tokenRequests: number
  readonly apiRequests: number
  readonly auditsPulls: boolean
  /** Where trusted proxies have the folder of the blobs; undefined: nowhere. */
  readonly accelPath: string | undefined
}

/** The HTTP server's whole behaviour, in the order of the lines here. It listens nowhere yet. */
export function createApp(options: AppOptions): Koa<RequestState> {
  const { registry, access, health, metrics, proxies, log, settings } = options
  const app = new Koa<RequestState>()
  app.on('error', (error: unknown) => {
    // A client that resets its connection is none of our failures.
    log[isConnectionLost(error) ? 'debug' : 'error']({ err: error }, 'answer failed')
  })
  app.use(logRequests({ log: settings.logsRequests ? log : undefined, metrics, proxies }))
  app.use(answerErrors({ log, tokens: (ctx) => tokenSource(access, settings, ctx) }))

  // Nothing that tells of content is answered before it is known who asks.
  const identify = identification(access, settings)
  const recorded = { trail: access.audit, recordsPulls: settings.auditsPulls }
  // Nearly every request is one of these: they come first, so that no router is asked about them.
  app.use(async (ctx, next) => {
    if (!rawPath(ctx.req).startsWith('/v2')) return next()
    const identified = identify(ctx)
    if (identified !== undefined) await identified
    const { accelPath } = settings
    ctx.state.accelPath = accelPath && proxies.haveSent(ctx.req) ? accelPath : undefined
    return handleV2(registry, ctx, recorded)
  })

  app.use(operationRoutes(health, metrics).routes())
  app.use(tokenRoutes(access, settings.tokenRequests).routes())
  const apiLimit = new RateLimit(settings.apiRequests)
  app.use(async (ctx, next) => {
    apiLimit.take(ctx.state.address)
    await identify(ctx)
    return next()
  })
  app.use(apiRoutes(registry, access).routes())
  app.use(() => {
    throw new RegistryError('UNSUPPORTED', 'there is nothing at this address', { status: 404 })
  })
  return app
}

/** What puts the access of the caller on `ctx.state`; it waits only for what is not remembered. */
function identification(
  access: AccessControl,
  { tokenRequests }: AppSettings,
): (ctx: RequestContext) => void | Promise<void> {
  const passwordLimit = new RateLimit(tokenRequests)
  return (ctx) => {
    const { address } = ctx.state
    const { authorization } = ctx.req.headers
    if (authorization !== undefined && /^basic /i.test(authorization)) passwordLimit.take(address)
    const caller = { authorization, address }
    ctx.state.authenticateAgain = () => authenticate(access, { ...caller, isUnderWay: true })
    const admit = (found: Access) => {
      ctx.state.access = found
      refuseForeign(ctx, access.mode)
    }
    const found = authenticate(access, caller)
    return found instanceof Promise ? found.then(admit) : admit(found)
  }
}

function isConnectionLost(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'ECONNRESET' || code === 'EPIPE'
}

function tokenSource(
  { terms }: AccessControl,
  { realm }: AppSettings,
  { state }: RequestContext,
): TokenSource {
  const { scheme, host } = state.origin
  return { realm: realm ?? `${scheme}://${host}/token`, service: terms.service }
}
