import { setTimeout as sleep } from 'node:timers/promises'
import type { EmbeddedLog } from './server-log.ts'

const PATIENCE_MS = 10_000
const POLL_MS = 20

/**
 * Ends a postmaster: fast shutdown (SIGINT: sessions are ended, a checkpoint is written), and after 10 s an
 * immediate one (SIGQUIT), which loses nothing either but makes the next start recover from WAL.
 *
 * @throws Error when it still runs 10 s after that, or may not be signalled
 */
export async function shutDownServer(
  pid: number,
  isGone: () => boolean | Promise<boolean>,
  log: EmbeddedLog,
): Promise<void> {
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) {
    if (await isGone()) return
    sendSignal(pid, signal)
    const deadline = performance.now() + PATIENCE_MS
    while (performance.now() < deadline) {
      if (await isGone()) return
      await sleep(POLL_MS)
    }
    log.warn({ pid, signal, patienceMs: PATIENCE_MS }, 'the database does not stop')
  }
  throw new Error(`the Postgres server with pid ${pid} does not stop`)
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return
    throw new Error(`the Postgres server with pid ${pid} cannot be stopped by this user`, {
      cause: error,
    })
  }
}
