import { once } from 'node:events'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http'
import { pipeline } from 'node:stream/promises'
import { listenOnLoopback } from './loopback.ts'
import type { Workspace } from './workspace.ts'

export interface Exchange {
  readonly method: string
  /** Path and query. */
  readonly target: string
  readonly status: number
  readonly responseHeaders: IncomingHttpHeaders
  readonly requestBytes: number
  /** Of the answer's body. */
  readonly responseBytes: number
}

export interface RecordingProxy {
  /** Host and port, as clients write it before a repository. */
  readonly host: string
  /** The exchanges that ended since the last call, in the order in which they ended. */
  take(this: void): readonly Exchange[]
}

/**
 * An HTTP proxy before a registry that notes what clients ask of it, so that a test sees
 * what a client sent and not what the client says about it.
 */
export async function startRecordingProxy(
  workspace: Workspace,
  registryHost: string,
): Promise<RecordingProxy> {
  let exchanges: Exchange[] = []
  const server = createServer((incoming, outgoing) => {
    forward(registryHost, incoming, outgoing).then(
      (exchange) => exchanges.push(exchange),
      () => outgoing.destroy(),
    )
  })
  server.requestTimeout = 0
  const host = await listenOnLoopback(workspace, server)
  return {
    host,
    take: () => {
      const taken = exchanges
      exchanges = []
      return taken
    },
  }
}

/** Those that bring bytes of blobs or open a session to bring them; a mount brings none. */
export function blobUploads(exchanges: readonly Exchange[]): readonly Exchange[] {
  return exchanges.filter(
    ({ method, target, status }) =>
      ['POST', 'PATCH', 'PUT'].includes(method) &&
      target.includes('/blobs/uploads/') &&
      !(target.includes('mount=') && status === 201),
  )
}

async function forward(
  registryHost: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<Exchange> {
  const [hostname, port] = registryHost.split(':')
  const { method = 'GET', url: target = '/', headers } = incoming
  let requestBytes = 0
  incoming.on('data', (chunk: Buffer) => {
    requestBytes += chunk.length
  })

  const upstream = request({ hostname, port, method, path: target, headers })
  const answered = once(upstream, 'response') as Promise<[IncomingMessage]>
  const [[response]] = await Promise.all([answered, pipeline(incoming, upstream)])
  const status = response.statusCode ?? 0
  outgoing.writeHead(status, response.headers)
  let responseBytes = 0
  response.on('data', (chunk: Buffer) => {
    responseBytes += chunk.length
  })
  await pipeline(response, outgoing)
  const { headers: responseHeaders } = response
  return { method, target, status, responseHeaders, requestBytes, responseBytes }
}
