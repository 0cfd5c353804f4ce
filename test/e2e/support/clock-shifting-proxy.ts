import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { listenOnLoopback } from './loopback.ts'
import type { Workspace } from './workspace.ts'

/**
 * Stands before an HTTP server and lets its clock seem to be another: whoever goes by the `Date`
 * of its answers takes it to be `aheadMs` later than it is. Gives the address, `http://…`.
 */
export async function startClockShiftingProxy(
  workspace: Workspace,
  target: string,
  aheadMs: number,
): Promise<string> {
  const server = createServer((incoming, outgoing) => {
    forward(new URL(target), aheadMs, incoming, outgoing).catch(() => outgoing.destroy())
  })
  return `http://${await listenOnLoopback(workspace, server)}`
}

async function forward(
  { hostname, port }: URL,
  aheadMs: number,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const { method, url: path, headers } = incoming
  const upstream = request({ hostname, port, method, path, headers })
  const answered = once(upstream, 'response') as Promise<[IncomingMessage]>
  const [[response]] = await Promise.all([answered, pipeline(incoming, upstream)])
  const date = new Date(Date.parse(response.headers.date ?? '') + aheadMs).toUTCString()
  outgoing.writeHead(response.statusCode ?? 0, { ...response.headers, date })
  await pipeline(response, outgoing)
}
