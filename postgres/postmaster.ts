import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { commandAs } from './account.ts'
import type { Installation } from './cluster.ts'
import { serverEnvironment } from './program.ts'
import { type EmbeddedLog, ServerLog } from './server-log.ts'
import { serverSettings } from './settings.ts'

const POLL_MS = 10

/** One run of the server, from its start to its end. */
export interface Postmaster {
  /** Undefined when the program could not be started. */
  readonly pid: number | undefined
  /** How it ended, in words, once it has. */
  readonly ended: Promise<string>
  hasEnded(): boolean
  /** What it said last. */
  recentLog(): Promise<string>
}

/** The server ended before it took connections; `passing` when a later attempt may well succeed. */
export class StartFailed extends Error {
  override readonly name = 'StartFailed'
  readonly passing: boolean

  constructor(end: string, recentLog: string) {
    super(`the Postgres server did not start (${end}): ${recentLog}`)
    // Backends of a killed postmaster live for a moment longer, and hold its memory.
    this.passing = /shared memory block|lock file/.test(recentLog)
  }
}

/** Starts the server; it does not take connections until `untilReady`. */
export function launchPostmaster(installation: Installation, log: EmbeddedLog): Postmaster {
  const { folders, binaries, account } = installation
  // The order matters: orphan.ts knows a postmaster by "-D <cluster>".
  const args = ['-D', folders.cluster, ...serverSettings(folders.socket)]
  const command = commandAs(account, binaries.postgres, args)
  const child = spawn(command.file, command.args, {
    ...command.identity,
    cwd: '/',
    env: serverEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe'],
    // A process group of its own: Ctrl-C must reach us only, so that open requests can finish on a living database.
    detached: true,
  })
  const serverLog = new ServerLog(log)
  createInterface({ input: child.stderr }).on('line', (line) => serverLog.write(line))

  let over = false
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ?? `exit status ${code}`))
  }).then((end) => {
    over = true
    return end
  })
  // Only the end of the postmaster counts; a backend that hangs may keep stderr open for longer.
  const closed = once(child, 'close').catch(() => {})
  return {
    pid: child.pid,
    ended,
    hasEnded: () => over,
    recentLog: async () => {
      await Promise.race([closed, sleep(250)])
      return serverLog.recent
    },
  }
}

/**
 * Resolves when the server takes connections. Recovery after a crash may take minutes, so there is no limit
 * but the life of the server.
 *
 * @throws StartFailed when it ends before
 */
export async function untilReady(postmaster: Postmaster, cluster: string): Promise<void> {
  const pidFile = path.join(cluster, 'postmaster.pid')
  while (!postmaster.hasEnded()) {
    const lines = (await readFile(pidFile, 'utf8').catch(() => '')).split('\n')
    // Line 8 is the state; the file of an earlier run carries another pid on line 1.
    if (Number(lines[0]) === postmaster.pid && lines[7]?.trim() === 'ready') return
    await sleep(POLL_MS)
  }
  throw new StartFailed(await postmaster.ended, await postmaster.recentLog())
}
