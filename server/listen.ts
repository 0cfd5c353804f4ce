import { once } from 'node:events'
import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, Server as TlsServer } from 'node:https'
import { Server as NetServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'

export interface Listening {
  readonly port: number
  /** Takes no new connections, waits for requests under way up to the configured time, closes. */
  stop(): Promise<void>
}

/** Longer than clients and load balancers keep an idle connection: they should close it, not we. */
const KEEP_ALIVE_MS = 180_000
const HEADERS_MS = 60_000
const HANDSHAKE_MS = 10_000
const SILENT_MS = 1000
const CERTIFICATE_POLL_MS = 2000

/** @throws when the address cannot be listened on, or the certificate cannot be read */
export async function listen(
  handle: RequestListener,
  config: Config,
  log: Logger,
): Promise<Listening> {
  const { server, unwatch } = createHttpServer(handle, config, log)
  server.keepAliveTimeout = KEEP_ALIVE_MS
  // Bodies may take for hours; what ends them is that nothing moves.
  server.requestTimeout = 0
  server.headersTimeout = HEADERS_MS
  server.timeout = config['limits.idleSeconds'] * 1000
  server.on('clientError', answerClientError)

  const silent = trackSilent(server)
  const begun = trackBegun(server)

  const { host, port } = config.listen
  server.listen({ port, ...(host === '' ? {} : { host }) })
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    stop: async () => {
      unwatch()
      const closing = close(server, config['limits.drainSeconds'] * 1000)
      // Who is answered from now on is told that it was the last time on this connection.
      begun.forEach(announceEnd)
      server.prependListener('request', (_request, response) => announceEnd(response))
      // A request may be on its way on a connection that was just made, or that has just been idle.
      const drop = setTimeout(() => silent.forEach((socket) => socket.destroy()), SILENT_MS)
      await closing
      clearTimeout(drop)
    },
  }
}

function createHttpServer(handle: RequestListener, config: Config, log: Logger) {
  const options = { maxHeaderSize: config['limits.headerBytes'], noDelay: true }
  const certificate = config['tls.certificate']
  const read = () => certificatesOf(config)
  if (read() === undefined) return { server: createServer(options, handle), unwatch: () => {} }
  const authorities = config['tls.clientAuthorities']
  const server: TlsServer = createTlsServer(
    {
      ...options,
      ...read(),
      handshakeTimeout: HANDSHAKE_MS,
      // Whoever has none of their certificates gets no further than the handshake.
      requestCert: authorities !== undefined,
      rejectUnauthorized: authorities !== undefined,
    },
    handle,
  )
  const reload = () => {
    try {
      server.setSecureContext(read() ?? {})
      log.info({ certificate }, 'certificate read again')
    } catch (error) {
      // Certificate and key are replaced one after the other: the second change comes here too.
      log.warn({ err: error, certificate }, 'new certificate not usable, the old one stays')
    }
  }
  const files = [certificate, config['tls.key'], authorities].filter((file) => file !== undefined)
  for (const file of files) {
    // Polled: what renews certificates swaps symbolic links, which a watcher does not follow.
    watchFile(file, { interval: CERTIFICATE_POLL_MS, persistent: false }, reload)
  }
  return { server, unwatch: () => files.forEach((file) => unwatchFile(file, reload)) }
}

/** What the files of `tls` hold right now; undefined without any. @throws when one cannot be read */
export function certificatesOf(config: Config) {
  const [certificate, key] = [config['tls.certificate'], config['tls.key']]
  if (certificate === undefined || key === undefined) return undefined
  const authorities = config['tls.clientAuthorities']
  return {
    cert: readFileSync(certificate),
    key: readFileSync(key),
    ...(authorities === undefined ? {} : { ca: readFileSync(authorities) }),
  }
}

/** What Node refuses before there is a request: in the form clients of a registry understand. */
function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const tooLarge = error.code === 'HPE_HEADER_OVERFLOW'
  const status = tooLarge ? '431 Request Header Fields Too Large' : '400 Bad Request'
  const detail = tooLarge ? 'the headers are too large' : 'the request is not valid HTTP'
  const body = JSON.stringify({ errors: [{ code: 'UNSUPPORTED', message: detail }] })
  const head = `Content-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close`
  socket.end(`HTTP/1.1 ${status}\r\n${head}\r\n\r\n${body}`)
  return undefined
}

/** Connections on which no request was made yet: Node does not count them as idle. */
function trackSilent(server: Server | TlsServer): ReadonlySet<Duplex> {
  const silent = new Set<Duplex>()
  const event = server instanceof TlsServer ? 'secureConnection' : 'connection'
  server.on(event, (socket: Duplex) => {
    silent.add(socket)
    socket.once('close', () => silent.delete(socket))
  })
  server.on('request', (request) => silent.delete(request.socket))
  return silent
}

/** Answers that are not complete. */
function trackBegun(server: Server | TlsServer): ReadonlySet<ServerResponse> {
  const begun = new Set<ServerResponse>()
  server.on('request', (_request, response: ServerResponse) => {
    begun.add(response)
    response.once('close', () => begun.delete(response))
  })
  return begun
}

function announceEnd(response: ServerResponse): void {
  if (!response.headersSent) response.shouldKeepAlive = false
}

async function close(server: Server | TlsServer, drainMs: number): Promise<void> {
  // Not the method of an HTTP server, which closes idle connections at once: a request that is on
  // its way on one would be cut, and a load balancer may not send it elsewhere.
  const closed = new Promise<void>((resolve) => {
    NetServer.prototype.close.call(server, () => resolve())
  })
  const overdue = setTimeout(() => server.closeAllConnections(), drainMs)
  await Promise.race([closed, sleep(SILENT_MS)])
  // A connection that becomes idle now would stay open for its keep-alive time.
  const idle = setInterval(() => server.closeIdleConnections(), 50)
  await closed
  clearInterval(idle)
  clearTimeout(overdue)
}
