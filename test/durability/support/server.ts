import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SettingKey } from '../../../config/settings.ts'
import { flagOf } from '../../../config/settings.ts'
import type { CrashOrder, CrashReport } from '../../support/crashing-server.ts'
import { runnable } from '../../support/runnable.ts'
import { s3Variables } from '../../support/s3.ts'
import type { Workspace } from './workspace.ts'

const CRASHING = 'test/support/crashing-server.ts'
const PROGRAM = 'cli/main.ts'
const START_MS = 60_000

interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ServerProcess {
  readonly pid: number
  /** `127.0.0.1:port` */
  readonly host: string
  readonly exited: Promise<Exit>
  hasExited(this: void): boolean
  signal(this: void, signal: NodeJS.Signals): void
  /** SIGKILL, and waits for the end. */
  kill(this: void): Promise<void>
  /** SIGTERM, and waits for the end. */
  stop(this: void): Promise<Exit>
  /** Dies at that step; resolves when the order has arrived. Only of a crashing server. */
  crashAt(this: void, order: CrashOrder): Promise<void>
  /** All that it and its predecessors on the same workspace have written. */
  log(this: void): string
}

export interface ServerOptions {
  readonly settings?: Readonly<Partial<Record<SettingKey, string>>>
  readonly environment?: NodeJS.ProcessEnv
}

/**
 * A server that can be told where to die. Its data are those of the workspace, so that the next
 * one goes on with them.
 *
 * @throws Error with the end of its log when it ends before it takes requests
 */
export async function startCrashingServer(
  workspace: Workspace,
  options: ServerOptions = {},
): Promise<ServerProcess> {
  const flags = JSON.stringify(settingsOf(workspace, options))
  const child = launch(workspace, [...runnable(CRASHING), flags], options)
  const server = follow(workspace, child)
  const port = await Promise.race([
    new Promise<number>((resolve) => {
      child.on('message', (message: CrashReport) => {
        if ('listening' in message) resolve(message.listening)
      })
    }),
    endedEarly(server),
  ])
  return { ...server, host: `127.0.0.1:${port}` }
}

/**
 * The program as people run it: `slipway serve`.
 *
 * @throws Error with the end of its log when it ends before it takes requests
 */
export async function startProgram(
  workspace: Workspace,
  options: ServerOptions = {},
): Promise<ServerProcess> {
  const settings = { 'log.format': 'json', ...settingsOf(workspace, options) }
  const flags = Object.entries(settings).flatMap(([key, value]) => [`--${flagOf(key)}`, value])
  const logBefore = workspace.log().length
  const child = launch(workspace, [...runnable(PROGRAM), 'serve', ...flags], options)
  const server = follow(workspace, child)
  const listening = async () => {
    for (;;) {
      const match = /Slipway .* serves https?:\/\/localhost:(\d+)/.exec(
        workspace.log().slice(logBefore),
      )
      if (match !== null) return Number(match[1])
      await sleep(25)
    }
  }
  const port = await Promise.race([listening(), endedEarly(server)])
  return { ...server, host: `127.0.0.1:${port}` }
}

/** Pids of the processes that `pid` started and that still run. Linux only. */
export async function childrenOf(pid: number): Promise<number[]> {
  const children: number[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (state !== 'Z' && Number(parent) === pid) children.push(Number(name))
  }
  return children
}

/** Pids of the processes of `slipway serve --workers` that take requests. Linux only. */
export async function workersOf({ pid }: Pick<ServerProcess, 'pid'>): Promise<number[]> {
  const workers: number[] = []
  for (const child of await childrenOf(pid)) {
    const command = await readFile(`/proc/${child}/cmdline`, 'utf8').catch(() => '')
    if (/cli\/main\.[jt]s/.test(command)) workers.push(child)
  }
  return workers
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}

/** Of the embedded database. */
export function postmasterPid({ data }: Workspace): number {
  const file = path.join(data, 'postgres', 'cluster', 'postmaster.pid')
  return Number.parseInt(readFileSync(file, 'utf8'), 10)
}

function settingsOf(workspace: Workspace, { settings }: ServerOptions): Record<string, string> {
  return { data: workspace.data, listen: '127.0.0.1:0', ...settings }
}

function launch(workspace: Workspace, args: string[], options: ServerOptions): ChildProcess {
  const log = openSync(workspace.logFile, 'a')
  try {
    return spawn(process.execPath, args, {
      // Settings come from the test alone.
      env: {
        ...withoutSettings(process.env),
        ...storageVariables(workspace),
        ...options.environment,
      },
      stdio: ['ignore', log, log, 'ipc'],
    })
  } finally {
    closeSync(log)
  }
}

/** Blobs lie in the data folder, or in the bucket of the tests where SLIPWAY_TEST_STORAGE is s3. */
function storageVariables({ folder }: Workspace): Record<string, string> {
  return process.env['SLIPWAY_TEST_STORAGE'] === 's3' ? s3Variables(path.basename(folder)) : {}
}

function withoutSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const entries = Object.entries(environment).filter(([name]) => !name.startsWith('SLIPWAY_'))
  return Object.fromEntries(entries)
}

function follow(workspace: Workspace, child: ChildProcess): Omit<ServerProcess, 'host'> {
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
    child.once('error', () => resolve({ code: null, signal: null }))
  })
  const hasExited = () => child.exitCode !== null || child.signalCode !== null
  const server = {
    pid: child.pid ?? 0,
    exited,
    hasExited,
    signal: (signal: NodeJS.Signals) => void child.kill(signal),
    kill: async () => {
      child.kill('SIGKILL')
      await exited
    },
    stop: () => {
      child.kill('SIGTERM')
      return exited
    },
    crashAt: async (order: CrashOrder) => {
      const armed = new Promise((resolve) => child.once('message', resolve))
      child.send(order)
      await Promise.race([armed, exited])
    },
    log: workspace.log,
  }
  workspace.onClose(async () => {
    const overdue = setTimeout(() => child.kill('SIGKILL'), 20_000)
    if (!hasExited()) await server.stop()
    clearTimeout(overdue)
  })
  return server
}

async function endedEarly({ exited, log }: Omit<ServerProcess, 'host'>): Promise<never> {
  const overdue = sleep(START_MS, 'too slow', { ref: false })
  const end = await Promise.race([exited, overdue])
  throw new Error(`the server did not start (${JSON.stringify(end)}):\n${log().slice(-4000)}`)
}
