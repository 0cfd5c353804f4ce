import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, onTestFinished } from 'vitest'
import {
  type EmbeddedLog,
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../postgres/embedded.ts'
import { runnable } from '../support/runnable.ts'

/** A folder for one test, which the server's user can pass through also when the tests run as root. */
export async function temporaryFolder(): Promise<string> {
  const folder = await makeFolder()
  onTestFinished(() => removeFolder(folder))
  return folder
}

/** One directory with a cluster for the tests of a file, one after another: an initdb for each would take a second. */
export function shareCluster(): { readonly directory: string } {
  let directory = ''
  beforeAll(async () => {
    directory = await makeFolder()
    const server = await startEmbeddedPostgres({ directory, log: recordLog() })
    await server.stop()
  })
  afterAll(() => removeFolder(directory))
  return {
    get directory() {
      return directory
    },
  }
}

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'slipway-postgres-'))
  await chmod(folder, 0o711)
  return folder
}

async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}

export interface RecordedLog extends EmbeddedLog {
  readonly records: { level: string; detail: object; message: string }[]
  at(level: string): string[]
}

export function recordLog(): RecordedLog {
  const records: RecordedLog['records'] = []
  const note = (level: string) => (detail: object, message: string) => {
    records.push({ level, detail, message })
  }
  return {
    records,
    at: (level) => records.filter((record) => record.level === level).map(({ message }) => message),
    debug: note('debug'),
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
  }
}

/** A server that is stopped when the test ends, whatever happens. */
export async function start(directory: string, log = recordLog()): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ directory, log })
  onTestFinished(() => server.stop())
  return server
}

export async function postmasterPid(directory: string): Promise<number> {
  return Number.parseInt(await readFile(path.join(directory, 'cluster/postmaster.pid'), 'utf8'), 10)
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

export async function until(
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('waited in vain')
    await sleep(10)
  }
}

export interface Companion {
  readonly process: ChildProcess
  readonly pid: number
  /** The next line it prints. */
  line(): Promise<string>
  kill(signal: NodeJS.Signals): Promise<void>
}

/** A process of its own that runs one of the scripts beside this file. */
export function startCompanion(script: 'server' | 'lock', ...args: string[]): Companion {
  const program = runnable(`test/postgres/${script}-companion.ts`)
  const child = spawn(process.execPath, [...program, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  return {
    process: child,
    pid: child.pid ?? 0,
    line: async () => String((await lines.next()).value),
    kill: async (signal) => {
      child.kill(signal)
      await exited
    },
  }
}
