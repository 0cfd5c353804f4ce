import { createServer } from 'node:http'
import { listenOnLoopback } from './loopback.ts'
import type { Workspace } from './workspace.ts'

/** The only way out for a client of the tests: it refuses all that is not on this machine. */
export interface DeadEnd {
  /** Variables that send clients written in Go there; what is on loopback they still reach. */
  readonly environment: NodeJS.ProcessEnv
  /** Host and port of everything that was wanted since the last call, in order. */
  take(this: void): readonly string[]
}

export async function startDeadEnd(workspace: Workspace): Promise<DeadEnd> {
  let wanted: string[] = []
  const server = createServer((incoming, outgoing) => {
    wanted.push(incoming.headers.host ?? '')
    outgoing.writeHead(403).end()
  })
  server.on('connect', ({ url = '' }, socket) => {
    wanted.push(url)
    socket.on('error', () => {}) // who was refused may be gone
    socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n')
  })
  const url = `http://${await listenOnLoopback(workspace, server)}`
  return {
    environment: {
      HTTP_PROXY: url,
      HTTPS_PROXY: url,
      NO_PROXY: '',
      http_proxy: url,
      https_proxy: url,
      no_proxy: '',
    },
    take: () => {
      const taken = wanted
      wanted = []
      return taken
    },
  }
}
