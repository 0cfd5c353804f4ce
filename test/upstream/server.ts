import { once } from 'node:events'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, createServer as createSocketServer, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { createUpstream, type UpstreamOptions } from '../../upstream/client.ts'
import type { UpstreamClient, UpstreamSettings } from '../../upstream/upstream.ts'

/** One request, as it was when it had arrived. */
export interface SeenRequest {
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export type Handler = (request: SeenRequest, response: ServerResponse) => unknown

export interface TestServer {
  /** `http://127.0.0.1:40123` */
  readonly origin: string
  /** `127.0.0.1:40123` */
  readonly host: string
  /** In the order in which they came. */
  readonly requests: readonly SeenRequest[]
  /** From now on. */
  handle(handler: Handler): void
  close(): Promise<void>
}

export interface TestServerOptions {
  readonly address?: string
  readonly tls?: { readonly cert: string; readonly key: string }
}

/** A server that answers as `handler` does, until the end of the test. */
export async function startServer(
  handler: Handler,
  { address = '127.0.0.1', tls }: TestServerOptions = {},
): Promise<TestServer> {
  const requests: SeenRequest[] = []
  let handle = handler
  const serve = async (incoming: IncomingMessage, response: ServerResponse) => {
    const { method = '', url = '', headers } = incoming
    const seen = { method, url, headers, body: await text(incoming) }
    requests.push(seen)
    handle(seen, response)
  }
  const listener = (incoming: IncomingMessage, response: ServerResponse) => {
    // Whoever cut the connection is not interested in an answer.
    serve(incoming, response).catch(() => response.destroy())
  }
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener)
  server.listen(0, address)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  onTestFinished(() => stop(server))
  return {
    origin: `${tls === undefined ? 'http' : 'https'}://${address}:${port}`,
    host: `${address}:${port}`,
    requests,
    handle: (next) => {
      handle = next
    },
    close: () => stop(server),
  }
}

async function stop(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}

/** A server that does with each connection what `onSocket` does until the end of the test; its host and port. */
export async function listen(onSocket: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createSocketServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onSocket(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A client of `url`, called `up.test`, until the end of the test. */
export function connect(
  url: string,
  settings: Partial<UpstreamSettings> = {},
  options: UpstreamOptions = {},
): UpstreamClient {
  const defaults = { realms: [], privateAddresses: true, concurrency: 4, reserve: 0 }
  const client = createUpstream({ name: 'up.test', url, ...defaults, ...settings }, options)
  onTestFinished(() => client.close())
  return client
}

export function answerJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** A wait that nobody ends. */
export function patiently(): { readonly signal: AbortSignal } {
  return { signal: new AbortController().signal }
}
