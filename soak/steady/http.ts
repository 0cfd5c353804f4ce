import { once } from 'node:events'
import { type Agent, type IncomingMessage, request } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import type { Answer, Sending } from '../../test/durability/support/exchange.ts'

/** Far more than anything takes, on a busy machine too. */
const PATIENCE_MS = 60_000

export interface AnswerHere extends Answer {
  /** This end of the connection. */
  readonly localPort: number | undefined
}

/**
 * One request over the connections of `agent`.
 *
 * @throws what the socket met when there was no whole answer
 */
export async function send(agent: Agent, host: string, sending: Sending): Promise<AnswerHere> {
  const { method, path, body } = sending
  const headers: Record<string, string> = { ...sending.headers }
  if (body instanceof Uint8Array) headers['Content-Length'] = String(body.length)
  else if (body === undefined && method !== 'GET') headers['Content-Length'] ??= '0'
  const [hostname, port] = host.split(':')
  const outgoing = request({ hostname, port, method, path, headers, agent })
  const overdue = setTimeout(() => {
    outgoing.destroy(new Error(`${method} ${path}: no whole answer in ${PATIENCE_MS} ms`))
  }, PATIENCE_MS)
  try {
    const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>
    const sent =
      body === undefined || body instanceof Uint8Array
        ? outgoing.end(body)
        : pipeline(Readable.from(body), outgoing)
    const [[incoming]] = await Promise.all([answered, sent])
    const { localPort } = incoming.socket
    const received = await buffer(incoming)
    return {
      status: incoming.statusCode ?? 0,
      headers: incoming.headers,
      body: received,
      localPort,
    }
  } finally {
    clearTimeout(overdue)
  }
}
