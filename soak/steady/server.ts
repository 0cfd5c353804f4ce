import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, createReadStream, openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { variableOf } from '../../config/settings.ts'
import { freePort } from '../../test/durability/support/server.ts'
import type { Workspace } from '../../test/durability/support/workspace.ts'
import { s3Variables } from '../../test/support/s3.ts'
import { openS3Store } from '../../test/support/s3-store.ts'
import type { Settings } from '../stage.ts'
import type { Options } from './options.ts'
import { pidsOf, type ServerPids } from './processes.ts'

const PROGRAM = fileURLToPath(new URL('../../bin/slipway.cjs', import.meta.url))
const START_MS = 60_000
const STOP_MS = 60_000

/** What nobody needs goes within seconds, so that something is collected all the time. */
const SETTINGS: Settings = {
  auth: 'token',
  'log.format': 'json',
  'gc.undoSeconds': '2',
  'gc.untaggedSeconds': '2',
  'gc.blobSeconds': '2',
  // No push may take longer, from its first blob to its manifest.
  'gc.graceSeconds': '30',
  'gc.intervalSeconds': '1',
  'gc.sweepSeconds': '20',
  'limits.uploadExpirySeconds': '20',
}

export interface Server {
  /** `127.0.0.1:port` */
  readonly host: string
  readonly adminPassword: string
  /** Those that serve: the workers, or the only process. */
  readonly pids: ServerPids
  readonly logFile: string
  /** Of the object storage, which runs on this machine; undefined where blobs are files. */
  readonly storagePort: number | undefined
  /** Where the debugger of the only process would listen. */
  readonly inspectPort: number
  /** Why it is not there any more; undefined while it is. */
  ended(this: void): string | undefined
  /** @returns the exit code, or the signal that ended it */
  stop(this: void): Promise<number | NodeJS.Signals | null>
}

/**
 * The built program as it is installed, run by its own first line, with the embedded database.
 *
 * @throws Error with the end of its log when it is not ready within a minute
 */
export async function startServer(workspace: Workspace, options: Options): Promise<Server> {
  const adminPassword = randomUUID()
  const inspectPort = await freePort()
  const bucket = options.storage === 's3' ? openBucket(workspace) : undefined
  const log = openSync(workspace.logFile, 'a')
  const settings = Object.entries({ ...SETTINGS, adminPassword })
  const child = spawn(
    PROGRAM,
    [
      'serve',
      '--data',
      workspace.data,
      '--listen',
      '127.0.0.1:0',
      ...(options.workers > 1 ? ['--workers', String(options.workers)] : []),
    ],
    {
      env: {
        ...withoutSettings(),
        ...Object.fromEntries(settings.map(([key, value]) => [variableOf(key), value])),
        ...(bucket === undefined ? {} : s3Variables(bucket.prefix)),
        // Where a debugger would listen, were there one: nothing else changes. Workers count up.
        NODE_OPTIONS: `--inspect-port=${inspectPort}`,
      },
      stdio: ['ignore', log, log],
    },
  )
  closeSync(log)
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  await once(child, 'spawn')
  const stop = async () => {
    child.kill('SIGTERM')
    const overdue = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    const [code, signal] = await exited
    clearTimeout(overdue)
    return signal ?? code
  }
  workspace.onClose(stop)
  const ended = () => {
    if (child.exitCode === null && child.signalCode === null) return undefined
    return `the server ended: ${child.signalCode ?? child.exitCode}`
  }
  const host = await hostOf(workspace, ended)
  await untilReady(host, options.workers, workspace)
  const pids = pidsOf(child.pid ?? 0, workspace, options.workers)
  const { logFile } = workspace
  return { host, adminPassword, pids, logFile, storagePort: bucket?.port, inspectPort, ended, stop }
}

/** What is left there goes when the workspace closes. */
function openBucket({ onClose }: Workspace): { readonly prefix: string; readonly port: number } {
  // As bin/slipway.cjs does it.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true'
  const stored = openS3Store()
  onClose(() => stored.close())
  return {
    prefix: stored.settings.prefix,
    port: Number(new URL(stored.settings.endpoint ?? '').port),
  }
}

/** Of level error or worse. */
export async function errorsIn(logFile: string): Promise<string[]> {
  const errors: string[] = []
  for await (const line of createInterface({ input: createReadStream(logFile) })) {
    if (ERROR.test(line)) errors.push(line.slice(0, 1500))
  }
  return errors
}

const ERROR = /^\{"level":[56]0,/

async function hostOf(workspace: Workspace, ended: () => string | undefined): Promise<string> {
  const deadline = performance.now() + START_MS
  for (;;) {
    const match = /Slipway .* serves https?:\/\/localhost:(\d+)/.exec(workspace.log())
    if (match !== null) return `127.0.0.1:${match[1]}`
    const problem = ended() ?? (performance.now() > deadline ? 'it is too slow' : undefined)
    if (problem !== undefined) throw new Error(`${problem}:\n${workspace.log().slice(-4000)}`)
    await sleep(50)
  }
}

async function untilReady(host: string, workers: number, { log }: Workspace): Promise<void> {
  const deadline = performance.now() + START_MS
  // Each worker says so once.
  const listening = () => log().split('"msg":"listening"').length - 1
  for (;;) {
    const isThere = listening() >= workers
    if (isThere && (await fetch(`http://${host}/readyz`)).ok) return
    if (performance.now() > deadline) throw new Error(`not ready:\n${log().slice(-4000)}`)
    await sleep(50)
  }
}

/** Settings come from here alone. */
function withoutSettings(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => !name.startsWith('SLIPWAY_'))
  return Object.fromEntries(entries)
}
