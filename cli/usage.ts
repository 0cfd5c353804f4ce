import { parseArgs } from 'node:util'
import { flagOf, SETTINGS } from '../config/settings.ts'

export interface CommandOptions {
  /** Values of flags by setting key. */
  readonly flags: Readonly<Record<string, string>>
  /** A configuration file, when one was named. */
  readonly file: string | undefined
  /** Names of the switches of the command that were given. */
  readonly switches: ReadonlySet<string>
  /** Values of the command's own flags by their names; what a list was given, with commas between. */
  readonly values: Readonly<Record<string, string>>
  /** What is not a flag: as many as the command says. */
  readonly words: readonly string[]
}

export interface Command {
  /** One or two words. */
  readonly name: string
  readonly text: string
  /** A remark below the text in its help. */
  readonly more?: string
  /** Whether it takes the flags of all settings, and whether its help lists them. */
  readonly settings: 'none' | 'taken' | 'listed'
  /** Flags without a value, with what they do. */
  readonly switches?: Readonly<Record<string, string>>
  readonly values?: Readonly<Record<string, ValueFlag>>
  /** What has to follow: `NAME`; the last may be left out, `[NAME]`, or be several, `NAME…`. */
  readonly words?: readonly string[]
  /** @returns the exit code */
  readonly run: (options: CommandOptions) => Promise<number>
}

export interface ValueFlag {
  /** What stands for the value in help. */
  readonly value: string
  readonly text: string
  /** May be repeated, and each may name several with commas between them. */
  readonly isList?: true
}

/** The command line is wrong; the message says what was expected. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export interface ParsedCommand {
  readonly command: Command
  readonly help: boolean
  readonly options: CommandOptions
}

/** Help for all commands, or for those that begin with the same word. */
export interface HelpForSeveral {
  readonly command: undefined
  readonly commands: readonly Command[]
}

/** @throws UsageError */
export function parseCommand(
  commands: readonly Command[],
  words: readonly string[],
): ParsedCommand | HelpForSeveral {
  const command = commands.find(({ name }) => {
    return name.split(' ').every((word, index) => words[index] === word)
  })
  if (command === undefined) return { command, commands: helpedWith(commands, words) }
  const rest = words.slice(command.name.split(' ').length)
  return { command, ...parseRest(command, rest) }
}

/** @throws UsageError where no help was asked for */
function helpedWith(
  commands: readonly Command[],
  [first, second, ...rest]: readonly string[],
): readonly Command[] {
  if (first === undefined || isHelp(first) || first === 'help') return commands
  const related = commands.filter(({ name }) => name.startsWith(`${first} `))
  if (related.length > 0 && second !== undefined && isHelp(second) && rest.length === 0) {
    return related
  }
  const expected = related.length > 0 ? related : commands
  const given = [first, second].filter((word) => word !== undefined).join(' ')
  const names = expected.map(({ name }) => name).join(', ')
  throw new UsageError(`${given}: no such command; expected ${names}`)
}

function isHelp(word: string): boolean {
  return word === '--help' || word === '-h'
}

function parseRest(command: Command, words: readonly string[]): Omit<ParsedCommand, 'command'> {
  const keys = command.settings === 'none' ? [] : Object.keys(SETTINGS)
  const keyOfFlag = new Map(keys.map((key) => [flagOf(key), key]))
  const switchNames = Object.keys(command.switches ?? {})
  const texts = [...Object.keys(command.values ?? {}), ...keyOfFlag.keys()]
  if (command.settings !== 'none') texts.push('config')
  const parsed = parse(command, words, {
    help: { type: 'boolean', short: 'h' },
    ...Object.fromEntries(switchNames.map((name) => [name, { type: 'boolean' } as const])),
    ...Object.fromEntries(texts.map((name) => [name, { type: 'string', multiple: true } as const])),
  })
  const help = parsed.values['help'] === true
  const flags: Record<string, string> = {}
  const values: Record<string, string> = {}
  for (const [name, given] of Object.entries(parsed.values)) {
    if (!Array.isArray(given)) continue
    const isList = command.values?.[name]?.isList === true
    const value: string = isList ? given.join(',') : given.at(-1)
    const key = keyOfFlag.get(name)
    if (key !== undefined) flags[key] = value
    else values[name] = value
  }
  if (!help) checkWords(command, parsed.positionals)
  const { config: file, ...own } = values
  const switches = new Set(switchNames.filter((name) => parsed.values[name] === true))
  const options = { flags, file, switches, values: own, words: parsed.positionals }
  return { help, options }
}

function parse(
  command: Command,
  words: readonly string[],
  options: NonNullable<Parameters<typeof parseArgs>[0]>['options'],
): { readonly values: Record<string, unknown>; readonly positionals: string[] } {
  const allowPositionals = command.words !== undefined
  try {
    return parseArgs({ args: [...words], options: options ?? {}, allowPositionals })
  } catch (error) {
    const message = error instanceof Error ? error.message.split('. ')[0]! : String(error)
    throw wrong(command, message)
  }
}

function checkWords(command: Command, given: readonly string[]): void {
  const { words = [] } = command
  const missing = words[given.length]
  if (missing !== undefined && !missing.startsWith('[')) {
    throw wrong(command, `${missing.replace('…', '')} is missing`)
  }
  const stray = given[words.length]
  if (stray !== undefined && !words.at(-1)?.endsWith('…')) {
    throw wrong(command, `Unexpected argument '${stray}'`)
  }
}

function wrong({ name }: Command, message: string): UsageError {
  return new UsageError(`${name}: ${message}; see slipway ${name} --help`)
}
