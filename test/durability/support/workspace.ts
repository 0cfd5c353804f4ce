import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { TestContext } from 'vitest'
import { isPostmasterOf } from '../../../postgres/orphan.ts'

const execute = promisify(execFile)

/** A folder for the data of one server after another, removed with all that was started in it. */
export interface Workspace {
  readonly folder: string
  readonly data: string
  /** Where blobs lie unless a test sets `storage.root`. */
  readonly storage: string
  readonly logFile: string
  log(this: void): string
  /** Runs when the workspace closes, the latest first. */
  onClose(this: void, work: () => Promise<unknown>): void
  close(this: void): Promise<void>
}

export async function openWorkspace(): Promise<Workspace> {
  const folder = await mkdtemp(path.join(tmpdir(), 'slipway-durability-'))
  // As root the database runs as another user, who must get in.
  await chmod(folder, 0o755)
  const data = path.join(folder, 'data')
  const logFile = path.join(folder, 'log')
  await mkdir(data)
  await writeFile(logFile, '')
  const closing: (() => Promise<unknown>)[] = []
  return {
    folder,
    data,
    storage: path.join(data, 'registry'),
    logFile,
    log: () => readFileSync(logFile, 'utf8'),
    onClose: (work) => void closing.push(work),
    close: async () => {
      for (const work of closing.toReversed()) await work()
      await endOrphan(path.join(data, 'postgres', 'cluster'))
      // Backends of a killed database may still be writing.
      await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    },
  }
}

/** A test that failed between a kill and the next start leaves the database of the killed server. */
async function endOrphan(cluster: string): Promise<void> {
  const content = await readFile(path.join(cluster, 'postmaster.pid'), 'utf8').catch(() => '')
  const pid = Number.parseInt(content, 10)
  if (!(pid > 1) || !(await isPostmasterOf(pid, cluster))) return
  process.kill(pid, 'SIGQUIT')
  await until('the end of the database', () => !isAlive(pid))
}

export interface SmallDisk {
  readonly folder: string
  freeBytes(this: void): Promise<number>
  /** Takes all room but so many bytes, until `makeRoom`. */
  fill(this: void, leavingBytes: number): Promise<void>
  /** Takes every inode but so many, until `makeRoom`. */
  fillInodes(this: void, leaving: number): Promise<void>
  makeRoom(this: void): Promise<void>
}

/** Mounts a filesystem of so many bytes and inodes on a new folder of the workspace. Needs root. */
export async function mountSmallDisk(
  workspace: Workspace,
  { bytes, inodes = 10_000 }: { bytes: number; inodes?: number },
): Promise<SmallDisk> {
  const folder = path.join(workspace.folder, 'disk')
  const filler = path.join(folder, 'filler')
  await mkdir(folder)
  const options = `size=${bytes},nr_inodes=${inodes},mode=755`
  await execute('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder])
  workspace.onClose(() => execute('umount', [folder]))
  const freeBytes = async () => {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  }
  return {
    folder,
    freeBytes,
    fill: async (leavingBytes) => {
      await mkdir(filler, { recursive: true })
      const room = (await freeBytes()) - leavingBytes
      await writeFile(path.join(filler, 'bytes'), Buffer.alloc(Math.max(0, room)))
    },
    fillInodes: async (leaving) => {
      await mkdir(filler, { recursive: true })
      for (let { ffree } = await statfs(folder); ffree > leaving; ffree--) {
        await writeFile(path.join(filler, String(ffree)), '')
      }
    },
    makeRoom: () => rm(filler, { recursive: true, force: true }),
  }
}

/** Undefined when a small disk can be mounted here, otherwise why not. */
export async function whyNoSmallDisk(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'tmpfs needs Linux'
  if (process.geteuid?.() !== 0) return 'mounting a tmpfs needs root'
  const probe = await mkdtemp(path.join(tmpdir(), 'slipway-mount-'))
  try {
    await execute('mount', ['-t', 'tmpfs', '-o', 'size=65536', 'tmpfs', probe])
    await execute('umount', [probe])
    return undefined
  } catch {
    return 'this root may not mount a tmpfs'
  } finally {
    await rm(probe, { recursive: true, force: true })
  }
}

/** Undefined when strace may follow a process that runs already, otherwise why not. */
export async function whyNoTracing(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'strace needs Linux'
  try {
    await execute('strace', ['-f', '-e', 'trace=none', '-o', '/dev/null', 'true'])
    return undefined
  } catch {
    return 'strace is not installed, or may not trace'
  }
}

/**
 * Skips the test when it cannot run here; with CI set that is a failure, for green must mean run.
 */
export function requireUnless(reason: string | undefined, context: TestContext): void {
  if (reason === undefined) return
  if (process.env['CI']) throw new Error(`cannot run: ${reason}`)
  context.skip(reason)
}

/** @throws Error when the condition does not come to hold in time; it says what was awaited */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited in vain for: ${what}`)
    await sleep(20)
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  if (process.platform !== 'linux') return true
  const stat = readStat(pid)
  return stat !== '' && !/\) [ZX] /.test(stat)
}

function readStat(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return ''
  }
}
