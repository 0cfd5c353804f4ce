import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { EmbeddedPostgres } from './embedded.ts'
import { SERVER_DATABASE, SERVER_USER } from './settings.ts'

/**
 * Where the server that another process runs in `directory` takes connections: only root and the
 * user it runs as are let in. Undefined while none is ready there.
 *
 * @throws when this user may not look
 */
export async function findRunningServer(
  directory: string,
): Promise<EmbeddedPostgres['connection'] | undefined> {
  const file = path.join(directory, 'cluster', 'postmaster.pid')
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  // Line 4 is the port, 5 the socket's folder, and 8 the state.
  const [, , , port, host, , , state] = text.split('\n').map((line) => line.trim())
  if (!host || state !== 'ready') return undefined
  return { host, port: Number(port), user: SERVER_USER, database: SERVER_DATABASE }
}
