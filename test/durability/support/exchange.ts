import { once } from 'node:events'
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { buffer } from 'node:stream/consumers'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface Sending {
  readonly method: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>
  /** The exchange fails when it takes longer. */
  readonly timeoutMs?: number
}

const PATIENCE_MS = 60_000

/**
 * One request on a connection of its own.
 *
 * @throws what the socket met when there was no whole answer
 */
export async function exchange(host: string, sending: Sending): Promise<Answer> {
  const { method, path, body, timeoutMs = PATIENCE_MS } = sending
  const headers: Record<string, string> = { ...sending.headers }
  if (body instanceof Uint8Array) headers['Content-Length'] = String(body.length)
  else if (body === undefined && method !== 'GET') headers['Content-Length'] ??= '0'
  const [hostname, port] = host.split(':')
  const agent = new Agent({ keepAlive: false })
  const outgoing = request({ hostname, port, method, path, headers, agent })
  const overdue = setTimeout(() => {
    outgoing.destroy(new Error(`${method} ${path}: no whole answer in ${timeoutMs} ms`))
  }, timeoutMs)
  try {
    const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>
    answered.catch(() => {})
    // A server may answer and close before it has the whole body: the answer is what counts.
    outgoing.on('error', () => {})
    if (body === undefined || body instanceof Uint8Array) outgoing.end(body)
    else pump(body, outgoing).catch((error: Error) => outgoing.destroy(error))
    const [incoming] = await answered
    return {
      status: incoming.statusCode ?? 0,
      headers: incoming.headers,
      body: await buffer(incoming),
    }
  } finally {
    clearTimeout(overdue)
    outgoing.destroy()
  }
}

async function pump(
  body: AsyncIterable<Uint8Array>,
  outgoing: ReturnType<typeof request>,
): Promise<void> {
  for await (const chunk of body) {
    if (outgoing.destroyed) return
    if (!outgoing.write(chunk)) await drained(outgoing)
  }
  outgoing.end()
}

/** Waits until more may be written, or nothing can be any more; and listens no longer. */
async function drained(outgoing: ReturnType<typeof request>): Promise<void> {
  const over = new AbortController()
  const events = ['drain', 'close'].map((event) => once(outgoing, event, { signal: over.signal }))
  for (const event of events) event.catch(() => {})
  await Promise.race(events)
  over.abort()
}

/** The code of the first error of an error document; a document that is none is an error here. */
export function errorOf({ headers, body }: Answer): { code: string; detail: string } {
  if (!headers['content-type']?.startsWith('application/json')) {
    throw new Error(`not an error document: ${body.toString('utf8', 0, 200)}`)
  }
  const document = JSON.parse(body.toString()) as { errors: { code: string; detail?: string }[] }
  const [error] = document.errors
  return { code: error?.code ?? '', detail: error?.detail ?? '' }
}
