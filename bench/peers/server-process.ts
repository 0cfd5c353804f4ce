import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { processTree } from '../measure/process-tree.ts'

const startTimeoutMs = 60_000
const stopTimeoutMs = 20_000

export interface ServerCommand {
  readonly command: string
  readonly arguments: readonly string[]
  readonly environment?: NodeJS.ProcessEnv
  /** Receives `server.log` with all that the server writes. */
  readonly directory: string
  /** Answers 200 when the server is ready. */
  readonly readyUrl: string
}

export interface ServerProcess {
  readonly pid: number
  stop(this: void): Promise<void>
}

/** @throws Error with the end of its log when the server ends or is not ready within a minute */
export async function startServer(server: ServerCommand): Promise<ServerProcess> {
  const logFile = path.join(server.directory, 'server.log')
  const log = openSync(logFile, 'a')
  const child = spawn(server.command, server.arguments, {
    env: { ...process.env, ...server.environment },
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  await once(child, 'spawn')
  const terminate = () => child.kill('SIGTERM')
  // A driver that ends early, even while a server starts, leaves none behind.
  process.prependOnceListener('exit', terminate)
  const ended = once(child, 'exit').then(() => process.off('exit', terminate))
  const stop = async () => {
    terminate()
    const inTime = await Promise.race([ended.then(() => true), sleep(stopTimeoutMs, false)])
    if (!inTime) {
      console.error(`${server.command} ${server.arguments[0]} did not stop in time: killed`)
      killTree(child.pid)
    }
    await ended
  }

  const hasEnded = () => child.exitCode !== null || child.signalCode !== null
  if (!(await becomesReady(server.readyUrl, hasEnded))) {
    await stop()
    const tail = readFileSync(logFile, 'utf8').slice(-2000)
    throw new Error(`${server.command} did not become ready:\n${tail}`)
  }
  return { pid: child.pid ?? 0, stop }
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

function killTree(root: number | undefined): void {
  if (root === undefined) return
  for (const pid of processTree([root])) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // it has ended meanwhile
    }
  }
}

async function becomesReady(url: string, hasEnded: () => boolean): Promise<boolean> {
  const deadline = Date.now() + startTimeoutMs
  while (Date.now() < deadline && !hasEnded()) {
    const status = await fetch(url).then(
      async (response) => {
        await response.arrayBuffer()
        return response.status
      },
      () => 0, // not listening yet
    )
    if (status === 200) return true
    await sleep(50)
  }
  return false
}
