import { randomUUID } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { identifyThisProcess, type ProcessIdentity, pidExists, startTimeOf } from './processes.ts'
import type { EmbeddedLog } from './server-log.ts'

/*
 * The lock is a file in <directory>/lock, named by a number that only grows: the highest one rules. It is taken
 * by creating the next number exclusively, and given back by emptying it of its holder; it is never removed
 * while it is the highest. So nobody can remove, by an old reading, the lock that another has just taken.
 */

/** Another process holds the directory. */
export class DataDirectoryInUse extends Error {
  override readonly name = 'DataDirectoryInUse'
}

export interface DirectoryLock {
  /** Gives the directory back. Safe to repeat. */
  release(): Promise<void>
}

export interface DirectoryLockOptions {
  readonly log?: EmbeddedLog
  /**
   * Called when another machine has taken the directory because this process did not touch its lock for 15 s
   * (suspended, or its storage hung). Writing on would damage data: the process should end.
   */
  readonly onLost?: () => void
}

const HEARTBEAT_MS = 5_000
const DEAD_AFTER_MS = 15_000
const WAIT_MS = 16_000
const POLL_MS = 250
const RELEASED = '{}'

/**
 * Takes the directory for this process, making it when it is missing. The lock of a dead process is taken over at
 * once when its pid means something here (same boot, same pid namespace), and otherwise when it was not
 * touched for 15 s; to tell, this waits up to 16 s.
 *
 * @throws DataDirectoryInUse when another process, or this one, holds it
 */
export async function lockDirectory(
  directory: string,
  options: DirectoryLockOptions = {},
): Promise<DirectoryLock> {
  const folder = path.join(directory, 'lock')
  await mkdir(folder, { recursive: true })
  const self = await identifyThisProcess()
  for (;;) {
    const current = await highest(folder)
    if (current > 0) await untilFree(path.join(folder, String(current)), self, options)
    const taken = await take(folder, current + 1, self)
    if (taken !== undefined) return new HeldLock(folder, taken, options)
  }
}

interface TakenFile {
  readonly number: number
  readonly handle: FileHandle
  readonly content: string
}

/** Undefined when somebody was faster. */
async function take(
  folder: string,
  number: number,
  self: ProcessIdentity,
): Promise<TakenFile | undefined> {
  const file = path.join(folder, String(number))
  const handle = await open(file, 'wx', 0o644).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST') return undefined
    throw error
  })
  if (handle === undefined) return undefined
  const content = JSON.stringify({ ...self, since: new Date() })
  await handle.write(content, 0)
  // A reading of the folder that was old when we created the file: somebody went past us.
  if ((await highest(folder)) !== number) {
    await handle.close()
    await rm(file, { force: true })
    return undefined
  }
  await removeRest(folder, number)
  return { number, handle, content }
}

class HeldLock implements DirectoryLock {
  readonly #folder: string
  readonly #taken: TakenFile
  readonly #options: DirectoryLockOptions
  readonly #heartbeat: NodeJS.Timeout
  #beating: Promise<void> = Promise.resolve()
  #released: Promise<void> | undefined

  constructor(folder: string, taken: TakenFile, options: DirectoryLockOptions) {
    this.#folder = folder
    this.#taken = taken
    this.#options = options
    this.#heartbeat = setInterval(() => {
      this.#beating = this.#beat()
    }, HEARTBEAT_MS).unref()
  }

  release(): Promise<void> {
    this.#released ??= this.#release()
    return this.#released
  }

  async #beat(): Promise<void> {
    try {
      // Written, not touched: the time then comes from the clock of the file system, which all share.
      await this.#taken.handle.write(this.#taken.content, 0)
      if ((await highest(this.#folder)) === this.#taken.number) return
      clearInterval(this.#heartbeat)
      this.#options.log?.error({ folder: this.#folder }, 'the data directory was taken by another')
      this.#options.onLost?.()
    } catch (error) {
      this.#options.log?.warn({ err: error }, 'the lock of the data directory cannot be renewed')
    }
  }

  async #release(): Promise<void> {
    clearInterval(this.#heartbeat)
    await this.#beating
    const { handle } = this.#taken
    await handle.truncate(0)
    await handle.write(RELEASED, 0)
    await handle.close()
  }
}

/** @throws DataDirectoryInUse when its holder lives */
async function untilFree(
  file: string,
  self: ProcessIdentity,
  { log }: DirectoryLockOptions,
): Promise<void> {
  const deadline = performance.now() + WAIT_MS
  const first = await readLock(file)
  for (let now = first, waits = false; ; waits = true) {
    if (now === undefined || now.content === RELEASED) return
    const holder = parseHolder(now.content)
    const alive = await isAliveHere(holder, self)
    if (alive === false) return
    const beats = waits && now.changedAt !== first?.changedAt && holder !== undefined
    if (alive === true || beats) throw inUse(file, holder)
    if ((await ageMs(file, now.changedAt)) > DEAD_AFTER_MS) return
    if (performance.now() > deadline) return
    if (!waits)
      log?.info({ holder, waitMs: WAIT_MS }, 'waiting to see whether the data directory is in use')
    await sleep(POLL_MS)
    now = await readLock(file)
  }
}

/** True or false where the pid can be judged; undefined where only the heartbeat tells. */
async function isAliveHere(
  holder: ProcessIdentity | undefined,
  self: ProcessIdentity,
): Promise<boolean | undefined> {
  if (holder === undefined || self.bootId === undefined || self.pidNamespace === undefined) {
    return undefined
  }
  if (holder.bootId !== self.bootId || holder.pidNamespace !== self.pidNamespace) return undefined
  if (!pidExists(holder.pid)) return false
  if (holder.startTime === undefined) return undefined
  const startTime = await startTimeOf(holder.pid)
  if (startTime !== undefined) return startTime === holder.startTime
  // A zombie reads as gone, and so does a process that the system hides from us: only its file tells.
  return (await readFile(`/proc/${holder.pid}/stat`, 'utf8').catch(() => '')) === ''
    ? undefined
    : false
}

async function readLock(file: string): Promise<{ content: string; changedAt: number } | undefined> {
  try {
    return { content: await readFile(file, 'utf8'), changedAt: (await stat(file)).mtimeMs }
  } catch (error) {
    // Gone: somebody has taken the next number.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/** How long ago, by the clock of the file system, which need not be that of this machine. */
async function ageMs(file: string, changedAt: number): Promise<number> {
  const probe = path.join(path.dirname(file), `probe-${randomUUID()}`)
  const handle = await open(probe, 'wx')
  try {
    return (await handle.stat()).mtimeMs - changedAt
  } finally {
    await handle.close()
    await rm(probe, { force: true })
  }
}

function parseHolder(content: string): ProcessIdentity | undefined {
  try {
    const found: unknown = JSON.parse(content)
    return isIdentity(found) ? found : undefined
  } catch {
    return undefined
  }
}

function isIdentity(found: unknown): found is ProcessIdentity {
  if (typeof found !== 'object' || found === null) return false
  return 'pid' in found && typeof found.pid === 'number' && 'hostname' in found && found.pid > 0
}

function inUse(file: string, holder: ProcessIdentity | undefined): DataDirectoryInUse {
  const directory = path.resolve(path.dirname(file), '..')
  const who =
    holder === undefined ? 'another process' : `process ${holder.pid} on host ${holder.hostname}`
  return new DataDirectoryInUse(
    `The data directory ${directory} is in use by ${who}. Stop that one first, or give this one a directory of its own.`,
  )
}

async function highest(folder: string): Promise<number> {
  return Math.max(0, ...(await numbers(folder)))
}

async function numbers(folder: string): Promise<readonly number[]> {
  const names = await readdir(folder)
  return names.filter((name) => /^\d+$/.test(name)).map(Number)
}

/** What earlier holders left behind. */
async function removeRest(folder: string, kept: number): Promise<void> {
  for (const name of await readdir(folder)) {
    if (Number(name) < kept || name.startsWith('probe-')) {
      await rm(path.join(folder, name), { force: true })
    }
  }
}
