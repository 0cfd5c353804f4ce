import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
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

const RETRY_MS = 1000

/** Forks the workers, replaces one that dies, and stops them all at a signal. */
export async function runWorkers(options: WorkersOptions): Promise<number> {
  const { config, database, log } = options
  const stop = stopSignal()
  // Each worker accepts by itself. A connection that the primary hands to a worker which dies at
  // that moment would never be answered.
  cluster.schedulingPolicy = cluster.SCHED_NONE
  let ending = false
  const failed = new Promise<'failed'>((resolve) => {
    let ready = false
    const fork = () => {
      if (ending) return
      const worker = cluster.fork()
      let started = false
      worker.on('message', (message: FromWorker) => {
        if ('listening' in message) {
          started = true
          if (!ready) options.onReady(message.listening)
          ready = true
        } else worker.send({ connection: database.connection })
      })
      worker.once('exit', (code, signal) => {
        if (worker.exitedAfterDisconnect || stopping.has(worker)) return
        log.error({ worker: worker.id, code, signal }, 'worker died')
        // When none has served yet, the next would fail as this one did. Later, one that dies on
        // its way up is tried again, though not at once.
        if (!ready) resolve('failed')
        else if (started) fork()
        else setTimeout(fork, RETRY_MS)
      })
    }
    for (let count = 0; count < config.workers; count++) fork()
  })
  const stopping = new Set<Worker>()
  const reason = await Promise.race([stop, failed])
  ending = true
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

/** What a worker tells the primary: that it is there and wants to know, or that it listens. */
type FromWorker = { readonly wants: 'connection' } | { readonly listening: number }

/** In a worker: where the database is, which only the primary knows when it is embedded. */
export async function connectionFromPrimary(): Promise<Database['connection']> {
  // The worker asks, because what is sent before it listens is lost.
  const answer = once(process, 'message')
  tell({ wants: 'connection' })
  const [message]: { connection: Database['connection'] }[] = await answer
  if (message === undefined) throw new Error('the primary did not answer')
  return message.connection
}

/** In a worker. */
export function tellListening(port: number): void {
  tell({ listening: port })
}

function tell(message: FromWorker): void {
  process.send?.(message)
}
