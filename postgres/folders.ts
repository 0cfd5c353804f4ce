import { createHash } from 'node:crypto'
import { chmod, lchown, lstat, mkdir, readdir, realpath, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Account } from './account.ts'
import { EmbeddedPostgresUnavailable } from './unavailable.ts'

/**
 * What lies in the directory of the embedded server:
 *
 *   <root>/cluster           PGDATA, 0700, owned by the server's user
 *   <root>/cluster.new-*     an initdb that has not finished; becomes <root>/cluster by a rename
 *   <root>/native/<version>  the binaries, only when those of the package cannot be used in place
 *   <root>/run               the unix socket, 0700, owned by the server's user
 *
 * When the path of the socket would be too long for the kernel, it lies in a private folder under the system's
 * temporary one instead, whose name follows from <root>.
 */
export interface Folders {
  readonly root: string
  readonly cluster: string
  readonly native: string
  readonly socket: string
}

/** Postgres makes the socket's file name from it; no TCP port is ever opened. */
export const SOCKET_PORT = 5432

/** The kernel allows 103 (macOS) or 107 (Linux). */
const MAX_SOCKET_PATH_BYTES = 100

/**
 * Makes the directory and the socket's folder for the server's user. Folders above may still be closed to it.
 *
 * @throws EmbeddedPostgresUnavailable when the socket has no safe place
 */
export async function prepareFolders(
  directory: string,
  account: Account | undefined,
): Promise<Folders> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const root = await realpath(directory)
  if (account !== undefined) {
    // The server's user must pass through to its own folders; it need not list.
    await chmod(root, (await stat(root)).mode | 0o001)
  }
  const socket = socketFolder(root)
  await prepareSocketFolder(socket, account, path.dirname(socket) === root)
  return { root, cluster: path.join(root, 'cluster'), native: path.join(root, 'native'), socket }
}

export function socketFile(folder: string): string {
  return path.join(folder, `.s.PGSQL.${SOCKET_PORT}`)
}

/** Gives a folder and all below it to the server's user. The folder itself comes last: a cut leaves it to be redone. */
export async function giveTo(account: Account, folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name)
    if (entry.isDirectory()) await giveTo(account, file)
    else if (!entry.isSymbolicLink()) await own(account, file)
  }
  await own(account, folder)
}

async function own(account: Account, file: string): Promise<void> {
  try {
    await lchown(file, account.uid, account.gid)
  } catch (error) {
    throw new EmbeddedPostgresUnavailable(
      `Postgres has to run as user ${account.name} (uid ${account.uid}), and ${file} cannot be given to that user: a container without CAP_CHOWN and CAP_SETUID, or a user namespace without that uid? Run Slipway as an ordinary user instead.`,
      { cause: error },
    )
  }
}

function socketFolder(root: string): string {
  const near = path.join(root, 'run')
  if (Buffer.byteLength(socketFile(near)) <= MAX_SOCKET_PATH_BYTES) return near
  const name = createHash('sha256').update(root).digest('hex').slice(0, 16)
  const far = path.join(tmpdir(), `slipway-${name}`)
  if (Buffer.byteLength(socketFile(far)) <= MAX_SOCKET_PATH_BYTES) return far
  throw new EmbeddedPostgresUnavailable(
    `No place for the database's socket: the paths of ${root} and of the temporary folder ${tmpdir()} are both too long.`,
  )
}

/** Whoever can enter this folder is let into the database, so nobody else may have made it. */
async function prepareSocketFolder(
  folder: string,
  account: Account | undefined,
  inDirectory: boolean,
): Promise<void> {
  await mkdir(folder, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  const found = await lstat(folder)
  const trusted = [process.geteuid?.() ?? found.uid, account?.uid]
  // Below our own directory root may take over from the user that ran Slipway before.
  const takesOver = account !== undefined && inDirectory
  if (!found.isDirectory() || !(takesOver || trusted.includes(found.uid))) {
    throw new EmbeddedPostgresUnavailable(
      `The folder for the database's socket, ${folder}, belongs to another user (uid ${found.uid}). Run Slipway as that user, or remove the folder.`,
    )
  }
  await chmod(folder, 0o700)
  if (account !== undefined) await own(account, folder)
}
