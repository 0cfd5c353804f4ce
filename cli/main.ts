import { ConfigError } from '../config/config.ts'
import { checkConfig } from './commands/config.ts'
import { migrateDatabase } from './commands/migrate.ts'
import { serve } from './commands/serve.ts'
import { printVersion } from './commands/version.ts'
import { type Command, parseCommand, UsageError, usage } from './usage.ts'

const COMMANDS: readonly Command[] = [
  { name: 'serve', text: 'run the registry', settings: true, run: serve },
  { name: 'migrate', text: 'bring the database up to date', settings: true, run: migrateDatabase },
  {
    name: 'config check',
    text: 'check the configuration',
    settings: true,
    switches: { probe: 'Try the storage, and the database if it is a server of its own.' },
    run: checkConfig,
  },
  { name: 'version', text: 'print the version', settings: false, run: printVersion },
]

/** Exit codes: 0 done, 1 failed, 2 the command line or the configuration is wrong. */
async function main(words: readonly string[]): Promise<number> {
  try {
    if (words[0] === '--version') return await printVersion()
    const { command, help, options } = parseCommand(COMMANDS, words)
    if (help || command === undefined) {
      process.stdout.write(usage(COMMANDS, command))
      return 0
    }
    return await command.run(options)
  } catch (error) {
    process.stderr.write(`slipway: ${explain(error)}\n`)
    return error instanceof UsageError || error instanceof ConfigError ? 2 : 1
  }
}

/** Errors that are meant for the operator speak for themselves; others show where they came from. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof Error ? `\n  because: ${error.cause.message}` : ''
  return `${error.message}${cause}`
}

process.exitCode = await main(process.argv.slice(2))
