import { createLog } from '../../observability/log.ts'
import { configurationOf } from '../configuration.ts'
import { bringUpToDate, openDatabase } from '../database.ts'
import type { CommandOptions } from '../usage.ts'

/** Applies what the database lacks, and says what that was. */
export async function migrateDatabase(options: CommandOptions): Promise<number> {
  const config = configurationOf(options)
  const log = createLog({ level: config['log.level'], format: config['log.format'] })
  const database = await openDatabase(config, log)
  try {
    const applied = await bringUpToDate(database, log)
    const lines = applied.length === 0 ? ['the database is up to date'] : applied
    process.stdout.write(`${lines.join('\n')}\n`)
    return 0
  } finally {
    await database.close()
  }
}
