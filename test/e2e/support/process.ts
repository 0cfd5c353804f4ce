import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const execute = promisify(execFile)

const startTimeoutMs = 60_000
const stopTimeoutMs = 30_000

export interface Daemon {
  readonly command: string
  readonly args: readonly string[]
  readonly environment?: NodeJS.ProcessEnv
  /** Receives all that the process writes. */
  readonly logFile: string
  /** Whether the process serves by now; asked again until it does. */
  isReady(this: void): Promise<boolean>
}

export interface RunningDaemon {
  readonly pid: number
  /** Sends SIGTERM and waits for the end. @throws Error when it took SIGKILL to end it */
  stop(this: void): Promise<void>
  /** Ends it at once with SIGKILL, as a crash would. */
  kill(this: void): Promise<void>
}

/**
 * Runs a program to its end and gives its standard output without the final newline.
 *
 * @throws Error with what the program wrote when it fails
 */
export async function run(
  command: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<string> {
  const { stdout } = await execute(command, args, {
    env: { ...process.env, ...environment },
    maxBuffer: 64 * 1024 * 1024,
  })
  return stdout.trimEnd()
}

/** @throws Error with the end of its log when it ends or is not ready within a minute */
export async function startDaemon(daemon: Daemon): Promise<RunningDaemon> {
  const log = openSync(daemon.logFile, 'a')
  const child = spawn(daemon.command, daemon.args, {
    env: { ...process.env, ...daemon.environment },
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  await once(child, 'spawn')
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null

  const kill = async () => {
    child.kill('SIGKILL')
    await ended
  }
  const stop = async () => {
    child.kill('SIGTERM')
    if (await Promise.race([ended.then(() => true), sleep(stopTimeoutMs, false)])) return
    await kill()
    throw new Error(`${daemon.command} did not end within ${stopTimeoutMs} ms of SIGTERM`)
  }

  if (!(await becomesReady(daemon, hasEnded))) {
    if (!hasEnded()) await stop()
    const tail = readFileSync(daemon.logFile, 'utf8').slice(-4000)
    throw new Error(`${daemon.command} did not become ready:\n${tail}`)
  }
  return { pid: child.pid ?? 0, stop, kill }
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

async function becomesReady(daemon: Daemon, hasEnded: () => boolean): Promise<boolean> {
  const deadline = Date.now() + startTimeoutMs
  while (Date.now() < deadline && !hasEnded()) {
    if (await daemon.isReady()) return true
    await sleep(100)
  }
  return false
}
