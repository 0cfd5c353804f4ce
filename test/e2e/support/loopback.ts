import { once } from 'node:events'
import type { Server } from 'node:http'
import type { Workspace } from './workspace.ts'

/** Listens on a free port of 127.0.0.1 until the workspace closes. Gives the address, `127.0.0.1:port`. */
export async function listenOnLoopback(workspace: Workspace, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  workspace.onClose(async () => {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return `127.0.0.1:${address.port}`
}
