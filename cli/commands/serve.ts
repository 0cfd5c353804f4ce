import cluster from 'node:cluster'
import type { Logger } from 'pino'
import type { Config } from '../../config/config.ts'
import { createLog } from '../../observability/log.ts'
import { compose } from '../../server/compose.ts'
import { listen } from '../../server/listen.ts'
import { configurationOf } from '../configuration.ts'
import { bringUpToDate, type Database, openDatabase } from '../database.ts'
import { stopSignal } from '../stop-signal.ts'
import type { CommandOptions } from '../usage.ts'
import { programVersion } from '../version.ts'
import { connectionFromPrimary, runWorkers, tellListening } from '../workers.ts'

/** Runs until a signal ends it. Stops in the reverse order of the start. */
export async function serve(options: CommandOptions): Promise<number> {
  const config = configurationOf(options)
  const log = createLog({ level: config['log.level'], format: config['log.format'] })
  if (cluster.isWorker) {
    const connection = await connectionFromPrimary()
    const code = await serveRequests({ config, connection, ownsDatabase: false, log })
    process.disconnect() // the channel to the primary would keep the worker alive
    return code
  }
  const database = await openDatabase(config, log)
  try {
    const applied = await bringUpToDate(database, log)
    if (applied.length > 0) log.info({ applied }, 'database migrated')
    if (config.workers > 1) {
      return await runWorkers({ config, database, log, onReady: (port) => greet(config, port) })
    }
    const { connection, embedded } = database
    return await serveRequests({ config, connection, ownsDatabase: embedded, log })
  } finally {
    await database.close()
  }
}

interface Serving {
  readonly config: Config
  readonly connection: Database['connection']
  readonly ownsDatabase: boolean
  readonly log: Logger
}

async function serveRequests({ config, log, ...rest }: Serving): Promise<number> {
  const stop = stopSignal()
  const composition = await compose({ config, log, ...rest })
  if (composition.firstPassword !== undefined) showOnce(composition.firstPassword)
  try {
    const listening = await listen(composition.handle, config, log)
    if (cluster.isWorker) tellListening(listening.port)
    else greet(config, listening.port)
    if (!cluster.isWorker && (await composition.isOpen())) warnOpen(config)
    log.info({ port: listening.port }, 'listening')
    log.info({ reason: await stop }, 'stopping')
    await listening.stop()
  } finally {
    await composition.close()
  }
  log.info('stopped')
  return 0
}

/** Not by way of the log, which is kept. */
function showOnce(password: string): void {
  process.stderr.write(`
There was no account yet, so there is now a user admin. Its password is shown only here:

  ${password}

`)
}

function warnOpen(config: Config): void {
  const remedy = config.auth === undefined ? '`slipway user add NAME --admin` ends that.\n' : ''
  process.stderr.write(`Nobody is asked who it is: everybody who reaches this port, also through a proxy, may do everything.
${remedy}
`)
}

/** What to type next, for whoever started it by hand. */
function greet(config: Config, port: number): void {
  const scheme = config['tls.certificate'] === undefined ? 'http' : 'https'
  const host = `localhost:${port}`
  process.stderr.write(`
Slipway ${programVersion()} serves ${scheme}://${host}, data in ${config.data}

  docker tag alpine ${host}/alpine
  docker push ${host}/alpine

`)
}
