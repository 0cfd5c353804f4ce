import { once } from 'node:events'
import {
  type AddressInfo,
  createConnection,
  createServer,
  type Server,
  type Socket,
} from 'node:net'

/** Stands between a server and its database, and fails as networks and databases do. */
export interface DatabaseProxy {
  readonly port: number
  /** Connections are refused, those that exist break. */
  refuse(this: void): Promise<void>
  /** Connections stay, and no byte moves any more in either direction. */
  hang(this: void): void
  /** Those that exist break; new ones work. */
  cut(this: void): void
  /** Leads new connections to the database at another socket; those that exist break. */
  leadTo(this: void, socketFile: string): void
  /** As it was in the beginning. What was held up by `hang` goes on. */
  restore(this: void): Promise<void>
  close(this: void): Promise<void>
}

export async function openDatabaseProxy(firstSocketFile: string): Promise<DatabaseProxy> {
  const sockets = new Set<Socket>()
  let hanging = false
  let socketFile = firstSocketFile

  const join = (from: Socket, to: Socket) => {
    sockets.add(from)
    if (hanging) from.pause()
    from.on('data', (chunk) => void to.write(chunk))
    from.on('error', () => {})
    from.on('close', () => {
      sockets.delete(from)
      to.destroy()
    })
  }
  const accept = (client: Socket) => {
    const database = createConnection(socketFile)
    join(client, database)
    join(database, client)
    if (!hanging) return
    client.pause()
    database.pause()
  }
  const cut = () => sockets.forEach((socket) => socket.destroy())
  const listen = async (port: number): Promise<Server> => {
    const listening = createServer(accept).listen(port, '127.0.0.1')
    await once(listening, 'listening')
    return listening
  }
  const closed = async () => {
    const ended = once(server, 'close')
    server.close()
    cut()
    await ended
  }

  let server = await listen(0)
  const { port } = server.address() as AddressInfo
  return {
    port,
    refuse: closed,
    hang: () => {
      hanging = true
      sockets.forEach((socket) => socket.pause())
    },
    cut,
    leadTo: (file) => {
      socketFile = file
      cut()
    },
    restore: async () => {
      hanging = false
      sockets.forEach((socket) => socket.resume())
      if (!server.listening) server = await listen(port)
    },
    close: async () => {
      if (server.listening) await closed()
    },
  }
}
