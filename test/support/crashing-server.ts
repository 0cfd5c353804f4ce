/*
 * The registry as one process, which dies by SIGKILL at a step that its parent names. It is
 * started with the values of its settings as JSON, and speaks to its parent by messages.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { bringUpToDate, openDatabase } from '../../cli/database.ts'
import { stopSignal } from '../../cli/stop-signal.ts'
import { loadConfig } from '../../config/config.ts'
import { createLog } from '../../observability/log.ts'
import type { FaultPoint } from '../../registry/registry.ts'
import { compose } from '../../server/compose.ts'
import { listen } from '../../server/listen.ts'

/** What the parent sends. */
export interface CrashOrder {
  readonly step: FaultPoint
  /** How often the step must be come to; 1 for the next time. */
  readonly nth: number
  /** Kills the postmaster of the embedded database as well, just before. */
  readonly withDatabase: boolean
}

/** What the parent gets: the port once requests are taken, and `armed` for each order. */
export type CrashReport = { readonly listening: number } | { readonly armed: FaultPoint }

let order: CrashOrder | undefined
let visits = 0

process.on('message', (message: CrashOrder) => {
  order = message
  visits = 0
  report({ armed: message.step })
})

const flags = JSON.parse(process.argv[2] ?? '{}') as Record<string, string>
const config = loadConfig({ flags, environment: process.env, file: undefined })
const log = createLog({ level: config['log.level'], format: config['log.format'] })
const stop = stopSignal()
const database = await openDatabase(config, log)
try {
  await bringUpToDate(database, log)
  const { connection, embedded: ownsDatabase } = database
  const composition = await compose({ config, connection, ownsDatabase, log, faultPoint })
  const listening = await listen(composition.handle, config, log)
  report({ listening: listening.port })
  await stop
  await listening.stop()
  await composition.close()
} finally {
  await database.close()
}
process.disconnect()

function faultPoint(step: FaultPoint): Promise<void> | void {
  if (order?.step !== step || ++visits < order.nth) return undefined
  if (order.withDatabase) process.kill(postmasterPid(), 'SIGKILL')
  process.kill(process.pid, 'SIGKILL')
  // The signal may take a moment; not one more step must be made.
  return new Promise(() => {})
}

function postmasterPid(): number {
  const file = path.resolve(config.data, 'postgres', 'cluster', 'postmaster.pid')
  return Number.parseInt(readFileSync(file, 'utf8'), 10)
}

function report(message: CrashReport): void {
  process.send?.(message)
}
