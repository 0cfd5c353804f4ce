import { STANDARD_FILE } from '../config/config.ts'
import { flagOf, SETTINGS, type Setting } from '../config/settings.ts'
import type { Command } from './usage.ts'

/** What `--help` prints for the program, or for the commands that begin with the same word. */
export function usageOfAll(commands: readonly Command[]): string {
  const titles = commands.map(titleOf)
  const width = Math.max(...titles.map((title) => title.length))
  const rows = commands.flatMap(({ name, text }, index) => {
    const row = `  ${titles[index]!.padEnd(width)}  ${text}`
    const before = commands[index - 1]?.name
    return before !== undefined && isApart(commands, before, name) ? ['', row] : [row]
  })
  return `Slipway, a private container registry

usage: slipway <command> [flags]

${rows.join('\n')}

slipway <command> --help lists the flags of a command.
`
}

/** What `--help` prints for one command. */
export function usageOf(command: Command): string {
  const lines = [`slipway ${titleOf(command)}: ${command.text}`, '']
  if (command.more !== undefined) lines.push(command.more, '')
  for (const [name, text] of Object.entries(command.switches ?? {})) {
    lines.push(`  --${name}`, `      ${text}`)
  }
  for (const [name, { value, text }] of Object.entries(command.values ?? {})) {
    lines.push(`  --${name} ${value}`, `      ${text}`)
  }
  if (command.settings === 'none') return `${lines.join('\n')}\n`
  lines.push(`  --config FILE`, `      Settings file (default: ${STANDARD_FILE}, if it is there).`)
  const listed = Object.entries<Setting>(SETTINGS).filter(([key]) => {
    return command.settings === 'listed' || OF_THE_DATABASE.has(key)
  })
  for (const [key, { text, standard }] of listed) {
    const suffix = standard ? ` (default: ${standard})` : ''
    lines.push(`  --${flagOf(key)} VALUE`, `      ${text}${suffix}`)
  }
  lines.push('', 'Each setting is also a variable (SLIPWAY_…) and a key of the settings file.')
  if (command.settings === 'taken')
    lines.push('slipway serve --help lists the others; they are taken here as well.')
  return `${lines.join('\n')}\n`
}

/** Which database a command works on. */
const OF_THE_DATABASE: ReadonlySet<string> = new Set(['data', 'database.url'])

function titleOf({ name, words = [] }: Command): string {
  return [name, ...words].join(' ')
}

/** Where commands of one thing end, or begin, when there are several of them. */
function isApart(commands: readonly Command[], before: string, name: string): boolean {
  if (nounOf(before) === nounOf(name)) return false
  return [before, name].some((each) => {
    return commands.filter((other) => nounOf(other.name) === nounOf(each)).length > 1
  })
}

function nounOf(name: string): string {
  return name.split(' ', 1)[0]!
}
