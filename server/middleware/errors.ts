import { STATUS_CODES } from 'node:http'
import type { Middleware } from 'koa'
import type { Logger } from 'pino'
import { formatChallenge, type TokenSource, Unauthorized } from '../../auth/tokens/challenge.ts'
import { ERROR_CODES, RegistryError } from '../../oci/errors.ts'
import { asRegistryError, isClientGone } from '../../registry/failures.ts'
import { UpstreamError } from '../../registry/pull-through/failure.ts'
import { ClientLeft } from '../http/answer.ts'
import { drain } from '../http/body.ts'
import { printable } from '../http/printable.ts'
import { rawPath } from '../http/v2-path.ts'
import type { RequestContext, RequestState } from '../state.ts'

/** Turns whatever is thrown into the error document of the distribution spec, "Error Codes". */
export function answerErrors({ log, tokens }: ErrorOptions): Middleware<RequestState> {
  return async (ctx, next) => {
    try {
      await next()
    } catch (thrown) {
      if (thrown instanceof Unauthorized) setChallenge(ctx, thrown, tokens(ctx))
      await answerError(ctx, thrown, log)
    }
  }
}

export interface ErrorOptions {
  readonly log: Logger
  /** Where the client of a request gets tokens. */
  readonly tokens: (ctx: RequestContext) => TokenSource
}

/** Bearer below /v2, where no client offers both; elsewhere what is asked for is a password. */
function setChallenge(ctx: RequestContext, { challenge }: Unauthorized, source: TokenSource): void {
  const value = rawPath(ctx.req).startsWith('/v2')
    ? formatChallenge(source, challenge)
    : 'Basic realm="Slipway", charset="UTF-8"'
  ctx.res.setHeader('WWW-Authenticate', value)
}

/** What the log shows for a request whose client left. No client ever sees it. */
const CLIENT_LEFT = 499

async function answerError(ctx: RequestContext, thrown: unknown, log: Logger): Promise<void> {
  ctx.respond = false
  if (thrown instanceof ClientLeft || isClientGone(thrown)) {
    ctx.res.statusCode = ctx.res.headersSent ? ctx.res.statusCode : CLIENT_LEFT
    ctx.res.destroy()
    return
  }
  const known = asRegistryError(thrown)
  report(ctx, thrown, known, log)
  const { requestId } = ctx.state
  const error = known ?? new RegistryError('UNKNOWN', `request ${requestId}`, { cause: thrown })
  if (ctx.res.headersSent) {
    ctx.res.destroy()
    return
  }
  await sendError(ctx, error)
}

function report(
  { state }: RequestContext,
  thrown: unknown,
  known: RegistryError | undefined,
  log: Logger,
): void {
  const { requestId } = state
  if (known === undefined) log.error({ err: thrown, requestId }, 'request failed')
  else if (known.status >= 500) log.warn({ err: thrown, requestId }, 'request refused')
  else log.debug({ code: known.code, details: known.details, requestId }, 'request refused')
}

/** Set by a handler before its content failed; an error must be neither cached nor taken for it. */
const OF_THE_CONTENT = ['Cache-Control', 'Content-Range', 'Docker-Content-Digest', 'ETag']

async function sendError(ctx: RequestContext, error: RegistryError): Promise<void> {
  const { res, req } = ctx
  const isApi = rawPath(req).startsWith('/api/')
  const body = Buffer.from(JSON.stringify({ errors: describe(error, isApi) }))
  res.statusCode = error.status
  if (error instanceof UpstreamError && error.status >= 500) {
    // Of an answer like this Docker, podman and containerd show the status line alone.
    res.statusMessage = `${STATUS_CODES[error.status]} (${printable(error.details.join('; '), 200)})`
  }
  for (const name of OF_THE_CONTENT) res.removeHeader(name)
  res.setHeader('Content-Type', 'application/json')
  res.setHeader('Content-Length', body.length)
  if (error.status === 503 || error.status === 429) {
    const seconds = 'retryAfterSeconds' in error ? Number(error.retryAfterSeconds) : 5
    res.setHeader('Retry-After', seconds)
  }
  const stillSending = !req.complete
  if (stillSending) res.setHeader('Connection', 'close')
  if (ctx.method === 'HEAD') {
    res.end()
    return
  }
  res.write(body)
  // The whole answer is on its way; the end, which closes the connection, may wait a little.
  if (stillSending) await drain(req)
  res.end()
}

/** Codes whose reason a person has to see: Docker and skopeo show the message alone. */
const EXPLAINED: ReadonlySet<string> = new Set(['DENIED', 'TOOMANYREQUESTS'])

function describe(error: RegistryError, isApi: boolean): Record<string, string>[] {
  const { code, details } = error
  const { message } = ERROR_CODES[code]
  const isExplained = isApi || EXPLAINED.has(code) || error instanceof UpstreamError
  if (details.length === 0) return [{ code, message }]
  return details.map((detail) => ({
    code,
    message: isExplained ? `${message}: ${detail}` : message,
    detail,
  }))
}
