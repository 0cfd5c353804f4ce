import type { Middleware } from 'koa'
import type { Logger } from 'pino'
import { ERROR_CODES, RegistryError } from '../../oci/errors.ts'
import { asRegistryError, isClientGone } from '../../registry/failures.ts'
import { ClientLeft } from '../http/answer.ts'
import { drain } from '../http/body.ts'
import type { RequestContext, RequestState } from '../state.ts'

/** Turns whatever is thrown into the error document of the distribution spec, "Error Codes". */
export function answerErrors(log: Logger): Middleware<RequestState> {
  return async (ctx, next) => {
    try {
      await next()
    } catch (thrown) {
      await answerError(ctx, thrown, log)
    }
  }
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
  const body = Buffer.from(JSON.stringify({ errors: describe(error) }))
  res.statusCode = error.status
  for (const name of OF_THE_CONTENT) res.removeHeader(name)
  res.setHeader('Content-Type', 'application/json')
  res.setHeader('Content-Length', body.length)
  if (error.status === 503 || error.status === 429) res.setHeader('Retry-After', '5')
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

function describe({ code, details }: RegistryError): Record<string, string>[] {
  const { message } = ERROR_CODES[code]
  if (details.length === 0) return [{ code, message }]
  return details.map((detail) => ({ code, message, detail }))
}
