import { ConfigError } from '../config/config.ts'
import { RegistryError } from '../oci/errors.ts'
import { printVersion } from './commands/version.ts'
import { COMMANDS } from './commands.ts'
import { usageOf, usageOfAll } from './help.ts'
import { harmless } from './printing.ts'
import { parseCommand, UsageError } from './usage.ts'

/** Exit codes: 0 done, 1 failed or denied, 2 the command line or the configuration is wrong. */
async function main(words: readonly string[]): Promise<number> {
  try {
    if (words[0] === '--version') return await printVersion()
    const parsed = parseCommand(COMMANDS, words)
    if (parsed.command === undefined) {
      process.stdout.write(usageOfAll(parsed.commands))
      return 0
    }
    if (parsed.help) {
      process.stdout.write(usageOf(parsed.command))
      return 0
    }
    return await parsed.command.run(parsed.options)
  } catch (error) {
    process.stderr.write(`slipway: ${explain(error)}\n`)
    return error instanceof UsageError || error instanceof ConfigError ? 2 : 1
  }
}

/** Errors that are meant for the operator speak for themselves; others show where they came from. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof RegistryError && error.details.length > 0) {
    return harmless(error.details.join('; '))
  }
  const cause = error.cause instanceof Error ? `\n  because: ${error.cause.message}` : ''
  return `${error.message}${cause}`
}

// Whoever reads what a command prints may have seen enough, as `head` has.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

process.exitCode = await main(process.argv.slice(2))
