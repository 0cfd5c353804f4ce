import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { Connection } from '../client/connection.ts'
import { serverOf } from '../client/server.ts'
import type { OnClose } from '../folder.ts'
import type { Peer } from '../peers/peer.ts'
import { slipway } from '../peers/slipway.ts'
import { type DatabaseCounter, openDatabaseCounter, prepareDatabase } from './database.ts'
import { InsideCounter, withHook } from './inside.ts'
import type { Options } from './options.ts'
import { processesOf } from './processes.ts'

/** A server that is measured, and what counts in it. */
export interface Stage {
  readonly peer: Peer
  readonly database: DatabaseCounter
  readonly inside: InsideCounter
  /** For what strace writes. */
  readonly folder: string
  readonly connections: number
  /** Opens a connection on which a request was answered already; `plain`: that shows no token. */
  connect(plain: boolean): Promise<Connection>
}

export async function openStage(
  directory: string,
  { setup, profileDirectory, connections }: Options,
  onClose: OnClose,
): Promise<Stage> {
  await prepareDatabase(directory, setup)
  const folder = path.join(directory, 'counts')
  await mkdir(folder)
  if (profileDirectory !== undefined) await mkdir(profileDirectory, { recursive: true })
  const settings = { directory, setup, profileDirectory: undefined }
  const peer = await withHook(folder, profileDirectory, () => slipway.start(settings))
  onClose(() => peer.stop())
  const database = await openDatabaseCounter(directory, setup)
  onClose(() => database.close())
  const inside = new InsideCounter(folder, processesOf(peer.roots).slipway)
  const connect = async (plain: boolean) => {
    const { port, account } = serverOf(peer)
    const connection = await Connection.open(plain ? { port } : { port, account })
    await connection.request({ method: 'GET', target: '/healthz' })
    return connection
  }
  return { peer, database, inside, folder, connections, connect }
}
