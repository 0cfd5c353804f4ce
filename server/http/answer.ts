import type { ServerResponse } from 'node:http'
import type { RequestContext } from '../state.ts'

// Answers are written past Koa's own: it would turn an empty 201 into a 204, give a 202 a text,
// and look at every body's type once more.

/** Ends the answer without a body; the headers set before go with it. */
export function answerEmpty(ctx: RequestContext, status: number): void {
  ctx.respond = false
  ctx.res.statusCode = status
  if (status !== 204 && status !== 304) ctx.res.setHeader('Content-Length', 0)
  ctx.res.end()
}

/** Ends the answer with `bytes`; a HEAD gets their length only. */
export function answerBytes(
  ctx: RequestContext,
  contentType: string,
  bytes: Buffer,
  status = 200,
): void {
  ctx.respond = false
  const { res } = ctx
  res.statusCode = status
  res.setHeader('Content-Type', contentType)
  res.setHeader('Content-Length', bytes.length)
  if (ctx.method === 'HEAD') res.end()
  else res.end(bytes)
}

export function answerJson(
  ctx: RequestContext,
  value: unknown,
  { status = 200, contentType = 'application/json' } = {},
): void {
  answerBytes(ctx, contentType, Buffer.from(JSON.stringify(value)), status)
}

/**
 * Sends a body of known length whose headers are set. Each chunk is handed over before the next
 * is asked for, as `BlobStore.read` wants it. Headers go with the first chunk, so that a failure
 * before it can still be told; at once where the chunks may take their time.
 *
 * @throws ClientLeft, or what reading threw: then the connection is cut, for a body that is too
 *   short must not look complete
 */
export async function answerStream(
  ctx: RequestContext,
  { status, isSlow = false }: { readonly status: number; readonly isSlow?: boolean },
  chunks: (whileConnected: AbortSignal) => AsyncIterable<Uint8Array>,
): Promise<void> {
  ctx.respond = false
  const { res } = ctx
  res.statusCode = status
  if (isSlow) res.flushHeaders()
  const left = new AbortController()
  const leave = () => left.abort()
  res.once('close', leave)
  try {
    for await (const chunk of chunks(left.signal)) await write(res, chunk)
    res.end()
  } catch (error) {
    if (res.headersSent) res.destroy()
    throw left.signal.aborted ? new ClientLeft() : error
  } finally {
    res.off('close', leave)
  }
}

/** The client closed the connection before it had the whole answer: often on purpose. */
export class ClientLeft extends Error {
  override readonly name = 'ClientLeft'

  constructor() {
    super('the client left before the answer ended')
  }
}

function write(response: ServerResponse, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const left = () => reject(new ClientLeft())
    if (response.destroyed || response.closed) return left()
    response.once('close', left)
    response.write(chunk, (error) => {
      response.off('close', left)
      if (error) left()
      else resolve()
    })
    return undefined
  })
}
