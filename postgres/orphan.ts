import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type Folders, socketFile } from './folders.ts'
import { commandLineOf, pidExists } from './processes.ts'
import type { EmbeddedLog } from './server-log.ts'
import { shutDownServer } from './shutdown.ts'

/** No kernel gives a process this number. */
const NOBODYS_PID = 2_147_483_647

/**
 * Clears what an earlier server left in the way: a postmaster that outlived its parent is stopped, lock files
 * that name dead or foreign processes lose their effect. The caller holds the lock of the data directory, so
 * a server found here belongs to nobody.
 *
 * @throws Error when a server runs there and cannot be stopped
 */
export async function clearOrphan(folders: Folders, log: EmbeddedLog): Promise<void> {
  const { cluster } = folders
  const pidFile = path.join(cluster, 'postmaster.pid')
  const content = await readFile(pidFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (content !== undefined) await clearPidFile(pidFile, content, { cluster, log })

  // The folder is ours alone, and no server is left: whatever process its lock names has nothing to do with it.
  await rm(socketFile(folders.socket), { force: true })
  await rm(`${socketFile(folders.socket)}.lock`, { force: true })
}

async function clearPidFile(
  pidFile: string,
  content: string,
  { cluster, log }: { readonly cluster: string; readonly log: EmbeddedLog },
): Promise<void> {
  const pid = Number.parseInt(content, 10)
  if (!Number.isSafeInteger(pid) || pid === 0) {
    // Cut off while it was written; Postgres would refuse to start over it.
    await rm(pidFile, { force: true })
    return
  }
  if (await isPostmasterOf(pid, cluster)) {
    log.warn({ pid, cluster }, 'stopping the database of a process that was killed')
    await shutDownServer(pid, async () => !(await isPostmasterOf(pid, cluster)), log)
    return
  }
  // Postgres itself passes over a dead pid, but takes a reused one for a running server. The pid is replaced
  // and the file kept, because its other lines let Postgres find backends that outlived their postmaster.
  if (pidExists(Math.abs(pid))) {
    await writeFile(pidFile, content.replace(/^\s*-?\d+/, String(NOBODYS_PID)))
  }
}

/** Whether `pid` is a postmaster on that cluster; a process that merely got the number is not. */
export async function isPostmasterOf(pid: number, cluster: string): Promise<boolean> {
  const args = await commandLineOf(pid)
  if (args.length > 1) {
    return path.basename(args[0] ?? '') === 'postgres' && args[args.indexOf('-D') + 1] === cluster
  }
  // Only ps could be asked, and it does not say where an argument ends.
  return /(?:^|\/)postgres -D /.test(args[0] ?? '') && `${args[0]} `.includes(` -D ${cluster} `)
}
