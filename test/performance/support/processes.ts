import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pino } from 'pino'
import { loadConfig } from '../../../config/config.ts'
import { compose } from '../../../server/compose.ts'
import { listen } from '../../../server/listen.ts'
import { Client } from '../../acceptance/client.ts'
import { until } from '../../durability/support/workspace.ts'
import { openTestDatabase } from '../../support/database.ts'
import { StatementCounter } from './statements.ts'

/** A whole server as it is composed, whose statements are counted. */
export interface CountedServer {
  readonly client: Client
  readonly counter: StatementCounter
  close(this: void): Promise<void>
}

/** @param ownsDatabase that of the only process; otherwise that of one among several */
export async function openCountedServer(ownsDatabase: boolean): Promise<CountedServer> {
  const database = await openTestDatabase()
  const root = await mkdtemp(path.join(tmpdir(), 'slipway-budgets-'))
  // Statements are counted: those of the collector would be among them.
  const flags = { data: root, listen: '127.0.0.1:0', 'gc.intervalSeconds': '3600' }
  const config = loadConfig({ flags, environment: {} })
  const log = pino({ level: 'silent' })
  const { connection } = database
  const composition = await compose({ config, connection, ownsDatabase, log })
  const counter = new StatementCounter(composition.registry.db)
  const listening = await listen(composition.handle, config, log)
  const client = new Client(`127.0.0.1:${listening.port}`)
  await until('changes elsewhere are heard', async () => {
    const { statements } = await counter.during(() => client.get('/v2/'))
    return statements.length === 0
  })
  return {
    client,
    counter,
    close: async () => {
      client.close()
      await listening.stop()
      await composition.close()
      await database.close()
      await rm(root, { recursive: true, force: true })
    },
  }
}
