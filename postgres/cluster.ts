import { randomBytes } from 'node:crypto'
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { type Account, hasPasswdEntry } from './account.ts'
import type { Binaries } from './binaries.ts'
import { type Folders, giveTo } from './folders.ts'
import { runProgram } from './program.ts'
import { SERVER_DATABASE, SERVER_USER } from './settings.ts'
import { EmbeddedPostgresUnavailable } from './unavailable.ts'

/** Where the server's programs, files and user are; everything a start needs to know. */
export interface Installation {
  readonly folders: Folders
  readonly binaries: Binaries
  readonly account: Account | undefined
}

const UNFINISHED = 'cluster.new-'

/**
 * Access is decided by the socket's folder, which only the server's user and root can enter; who is in may
 * connect. There is no line for TCP.
 */
const CLIENT_AUTHENTICATION = 'local all all trust\n'

/** The major version that made the cluster; undefined when there is none yet. */
export async function clusterMajor(cluster: string): Promise<number | undefined> {
  const text = await readFile(path.join(cluster, 'PG_VERSION'), 'utf8').catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw error
    },
  )
  return text === undefined ? undefined : Number.parseInt(text, 10)
}

/** Makes the cluster unless it exists, and sees to it that the server's user may open it. */
export async function ensureCluster(installation: Installation): Promise<void> {
  const { folders } = installation
  await removeUnfinished(folders.root)
  if ((await clusterMajor(folders.cluster)) === undefined) await createCluster(installation)
  else await takeOwnership(installation)
}

/**
 * A crash at any point leaves either no cluster or a whole one: it is made under another name, database
 * included, synced by Postgres, and renamed.
 */
async function createCluster(installation: Installation): Promise<void> {
  const { folders, account } = installation
  if (account === undefined && !hasPasswdEntry()) {
    throw new EmbeddedPostgresUnavailable(
      `Postgres cannot make a database as uid ${process.geteuid?.()}, because that user has no entry in /etc/passwd. Run Slipway as a user that has one (in the official Node image: 1000, node), or as root.`,
    )
  }
  await requireRoom(folders.cluster)
  const unfinished = path.join(folders.root, `${UNFINISHED}${randomBytes(4).toString('hex')}`)
  await mkdir(unfinished, { mode: 0o700 })
  if (account !== undefined) await giveTo(account, unfinished)
  await initialize(installation, unfinished)
  await rename(unfinished, folders.cluster)
  await syncFile(folders.root)
}

/** An empty folder may stand in the place: a rename replaces it. */
async function requireRoom(cluster: string): Promise<void> {
  const found = await readdir(cluster).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  if (found.length === 0) return
  throw new EmbeddedPostgresUnavailable(
    `The folder ${cluster} holds something that is not a Postgres cluster.`,
  )
}

async function initialize({ binaries, account }: Installation, cluster: string): Promise<void> {
  const shape = ['--encoding=UTF8', '--locale-provider=libc', '--locale=C', '--data-checksums']
  const identity = [`--username=${SERVER_USER}`, '--auth=trust', '--no-instructions']
  const made = await runProgram(binaries.initdb, ['-D', cluster, ...shape, ...identity], {
    account,
  })
  if (!made.succeeded) throw cannotCreate('initdb failed', made.complaint || made.output)

  await writeSynced(path.join(cluster, 'pg_hba.conf'), CLIENT_AUTHENTICATION)

  const alone = ['--single', '-D', cluster, '-c', 'exit_on_error=on', 'postgres']
  const input = `create database ${SERVER_DATABASE}\n`
  const named = await runProgram(binaries.postgres, alone, { account, input })
  if (!named.succeeded) throw cannotCreate('it has no database', named.complaint)
}

function cannotCreate(what: string, complaint: string): Error {
  return new EmbeddedPostgresUnavailable(
    `The database cluster could not be made: ${what}: ${complaint}`,
  )
}

/** Postgres insists on owning its data and on nobody else getting in. */
async function takeOwnership({ folders, account }: Installation): Promise<void> {
  const { uid } = await stat(folders.cluster)
  const server = account?.uid ?? process.geteuid?.() ?? uid
  if (uid !== server && account === undefined) {
    throw new EmbeddedPostgresUnavailable(
      `The database in ${folders.cluster} belongs to uid ${uid}, and Slipway runs as uid ${server}. Run it as that user, or give the folder to this one: chown -R ${server} '${folders.root}'.`,
    )
  }
  if (uid !== server && account !== undefined) await giveTo(account, folders.cluster)
  // Kubernetes opens volumes to a group (fsGroup); Postgres would refuse to start.
  await chmod(folders.cluster, 0o700)
}

async function removeUnfinished(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    if (!name.startsWith(UNFINISHED)) continue
    // The initdb of a killed parent may still be writing; it fails when its folder goes.
    await rm(path.join(root, name), { recursive: true, force: true, maxRetries: 10 })
  }
}

async function writeSynced(file: string, content: string): Promise<void> {
  const handle = await open(file, 'w')
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function syncFile(file: string): Promise<void> {
  const handle = await open(file, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
