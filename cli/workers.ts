import cluster, { type Worker } from 'node:cluster'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import type { Database } from './database.ts'
import { stopSignal } from './stop-signal.ts'

export interface WorkersOptions {
  readonly config: Config
  readonly database: Database
  readonly log: Logger
  /** Called once, when the first worker takes requests. */
  readonly onReady: (port: number) => void
}

/** A worker that dies younger than this failed to start: forking it again would not help. */
const YOUNG_MS = 5000

/** Forks the workers, replaces one that dies, and stops them all at a signal. */
export async function runWorkers(options: WorkersOptions): Promise<number> {
  const { config, database, log } = options
  const stop = stopSignal()
  const failed = new Promise<'failed'>((resolve) => {
    let ready = false
    const fork = () => {
      const startedAt = performance.now()
      const worker = cluster.fork()
      worker.send({ connection: database.connection })
      worker.on('message', (message: { listening?: number }) => {
        if (ready || message.listening === undefined) return
        ready = true
        options.onReady(message.listening)
      })
      worker.once('exit', (code, signal) => {
        if (worker.exitedAfterDisconnect || stopping.has(worker)) return
        log.error({ worker: worker.id, code, signal }, 'worker died')
        if (performance.now() - startedAt < YOUNG_MS) resolve('failed')
        else fork()
      })
    }
    for (let count = 0; count < config.workers; count++) fork()
  })
  const stopping = new Set<Worker>()
  const reason = await Promise.race([stop, failed])
  log.info({ reason }, 'stopping workers')
  const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined)
  await Promise.all(
    workers.map((worker) => {
      stopping.add(worker)
      const ended = new Promise((resolve) => worker.once('exit', resolve))
      worker.process.kill('SIGTERM')
      return ended
    }),
  )
  return reason === 'failed' ? 1 : 0
}

/** In a worker: where the database is, which only the primary knows when it is embedded. */
export function connectionFromPrimary(): Promise<Database['connection']> {
  return new Promise((resolve) => {
    process.once('message', (message: { connection: Database['connection'] }) => {
      resolve(message.connection)
    })
  })
}
