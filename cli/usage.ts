import { parseArgs } from 'node:util'
import { STANDARD_FILE } from '../config/config.ts'
import { flagOf, SETTINGS, type Setting } from '../config/settings.ts'

export interface CommandOptions {
  /** Values of flags by setting key. */
  readonly flags: Readonly<Record<string, string>>
  /** A configuration file, when one was named. */
  readonly file: string | undefined
  /** Names of the switches of the command that were given. */
  readonly switches: ReadonlySet<string>
}

export interface Command {
  /** One or two words. */
  readonly name: string
  readonly text: string
  /** Whether it takes the flags of all settings. */
  readonly settings: boolean
  /** Flags without a value, with what they do. */
  readonly switches?: Readonly<Record<string, string>>
  /** @returns the exit code */
  readonly run: (options: CommandOptions) => Promise<number>
}

/** The command line is wrong; the message says what was expected. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export interface ParsedCommand {
  /** Undefined only with help for the program as a whole. */
  readonly command: Command | undefined
  readonly help: boolean
  readonly options: CommandOptions
}

/** @throws UsageError */
export function parseCommand(
  commands: readonly Command[],
  words: readonly string[],
): ParsedCommand {
  const command = commands.find(({ name }) => {
    return name.split(' ').every((word, index) => words[index] === word)
  })
  if (command === undefined) {
    const [first] = words
    const options = { flags: {}, file: undefined, switches: new Set<string>() }
    if (first === undefined || first === '--help' || first === '-h' || first === 'help') {
      return { command, help: true, options }
    }
    const names = commands.map(({ name }) => name).join(', ')
    throw new UsageError(`${words.slice(0, 2).join(' ')}: no such command; expected ${names}`)
  }
  const rest = words.slice(command.name.split(' ').length)
  return { command, ...parseFlags(command, rest) }
}

function parseFlags(command: Command, words: readonly string[]): Omit<ParsedCommand, 'command'> {
  const keys = command.settings ? Object.keys(SETTINGS) : []
  const keyOfFlag = new Map(keys.map((key) => [flagOf(key), key]))
  const text = { type: 'string' } as const
  const options = {
    help: { type: 'boolean', short: 'h' } as const,
    ...Object.fromEntries(
      Object.keys(command.switches ?? {}).map((name) => [name, { type: 'boolean' } as const]),
    ),
    ...(command.settings ? { config: text } : {}),
    ...Object.fromEntries([...keyOfFlag.keys()].map((flag) => [flag, text])),
  }
  const values = parsed(command, words, options)
  const flags: Record<string, string> = {}
  for (const [flag, value] of Object.entries(values)) {
    const key = keyOfFlag.get(flag)
    if (key !== undefined) flags[key] = String(value)
  }
  const { config, help } = values
  const file = typeof config === 'string' ? config : undefined
  const switches = new Set(Object.keys(command.switches ?? {}).filter((name) => values[name]))
  return { help: help === true, options: { flags, file, switches } }
}

function parsed(
  { name }: Command,
  words: readonly string[],
  options: NonNullable<Parameters<typeof parseArgs>[0]>['options'],
): Record<string, unknown> {
  try {
    return parseArgs({ args: [...words], options: options ?? {}, allowPositionals: false }).values
  } catch (error) {
    const message = error instanceof Error ? error.message.split('. ')[0] : String(error)
    throw new UsageError(`${name}: ${message}; see slipway ${name} --help`)
  }
}

/** What `--help` prints, for one command or for all. */
export function usage(commands: readonly Command[], command: Command | undefined): string {
  if (command === undefined) {
    const rows = commands.map(({ name, text }) => `  ${name.padEnd(14)} ${text}`)
    return `Slipway, a private container registry

usage: slipway <command> [flags]

${rows.join('\n')}

slipway <command> --help lists the flags of a command.
`
  }
  const lines = [`slipway ${command.name}: ${command.text}`, '']
  for (const [name, text] of Object.entries(command.switches ?? {})) {
    lines.push(`  --${name}`, `      ${text}`)
  }
  if (!command.settings) return `${lines.join('\n')}\n`
  lines.push(`  --config FILE`, `      Settings file (default: ${STANDARD_FILE}, if it is there).`)
  for (const [key, { text, standard }] of Object.entries<Setting>(SETTINGS)) {
    const suffix = standard ? ` (default: ${standard})` : ''
    lines.push(`  --${flagOf(key)} VALUE`, `      ${text}${suffix}`)
  }
  lines.push('', 'Each flag is also a variable (SLIPWAY_…) and a key of the settings file.')
  return `${lines.join('\n')}\n`
}
