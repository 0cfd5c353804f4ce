import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { listenOnLoopback } from './loopback.ts'
import type { Workspace } from './workspace.ts'

/**
 * Stands before a registry and lets the body of each request through at so many bytes a second, as
 * a slow line does. Gives host and port, as clients write it before a repository.
 */
export async function startThrottlingProxy(
  workspace: Workspace,
  registryHost: string,
  bytesPerSecond: number,
): Promise<string> {
  const server = createServer((incoming, outgoing) => {
    forward({ registryHost, bytesPerSecond }, incoming, outgoing).catch(() => outgoing.destroy())
  })
  server.requestTimeout = 0
  return listenOnLoopback(workspace, server)
}

interface Line {
  readonly registryHost: string
  readonly bytesPerSecond: number
}

async function forward(
  { registryHost, bytesPerSecond }: Line,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const [hostname, port] = registryHost.split(':')
  const { method, url: path, headers } = incoming
  const upstream = request({ hostname, port, method, path, headers })
  const answered = once(upstream, 'response') as Promise<[IncomingMessage]>
  const sent = pipeline(incoming, (body) => throttled(body, bytesPerSecond), upstream)
  const [[response]] = await Promise.all([answered, sent])
  outgoing.writeHead(response.statusCode ?? 0, response.headers)
  await pipeline(response, outgoing)
}

async function* throttled(
  body: AsyncIterable<Buffer>,
  bytesPerSecond: number,
): AsyncGenerator<Buffer> {
  for await (const chunk of body) {
    await sleep((chunk.length / bytesPerSecond) * 1000)
    yield chunk
  }
}
