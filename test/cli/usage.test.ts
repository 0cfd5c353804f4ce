import { describe, expect, it } from 'vitest'
import { COMMANDS } from '../../cli/commands.ts'
import { usageOf, usageOfAll } from '../../cli/help.ts'
import { parseCommand, UsageError } from '../../cli/usage.ts'
import { flagOf, SETTINGS } from '../../config/settings.ts'
import { slipway } from './slipway.ts'

const NAMES = COMMANDS.map(({ name }) => name)
const OF_SETTINGS = new Set([...Object.keys(SETTINGS).map(flagOf), 'config', 'help'])

function parse(words: readonly string[]) {
  const parsed = parseCommand(COMMANDS, words)
  if (parsed.command === undefined) throw new Error('no command')
  return parsed
}

describe('the table of commands', () => {
  it('has each name once', () => {
    expect(new Set(NAMES).size).toBe(NAMES.length)
  })

  it('has no name that hides a longer one', () => {
    const hiding = NAMES.filter((name) => NAMES.some((other) => other.startsWith(`${name} `)))
    expect(hiding).toEqual([])
  })

  it.each(COMMANDS)(
    'gives $name no flag that is a setting as well, or two of a name',
    (command) => {
      const { switches = {}, values = {}, settings } = command
      const flags = [...Object.keys(switches), ...Object.keys(values)]
      expect(new Set(flags).size).toBe(flags.length)
      const taken = settings === 'none' ? new Set(['help']) : OF_SETTINGS
      expect(flags.filter((flag) => taken.has(flag))).toEqual([])
    },
  )
})

describe('help', () => {
  it('for the program names every command with what it is given', () => {
    const help = usageOfAll(COMMANDS)
    for (const { name, words = [], text } of COMMANDS) {
      expect(help).toContain(`\n  ${[name, ...words].join(' ')} `)
      expect(help).toContain(text)
    }
  })

  it.each(COMMANDS)('for $name names its own flags, and where the database is', (command) => {
    const help = usageOf(command)
    expect(help).toContain(`slipway ${command.name}`)
    for (const flag of Object.keys(command.switches ?? {})) expect(help).toContain(`  --${flag}\n`)
    for (const [flag, { value, text }] of Object.entries(command.values ?? {})) {
      expect(help).toContain(`  --${flag} ${value}\n      ${text}\n`)
    }
    expect(help.includes('--database-url VALUE')).toBe(command.settings !== 'none')
  })

  it('for one word lists the commands that begin with it', () => {
    const { status, stdout, stderr } = slipway(['grant', '--help'])
    expect(stderr).toBe('')
    expect(stdout).toContain('grant add SUBJECT ACTIONS REPOSITORIES…')
    expect(stdout).toContain('grant list [SUBJECT]')
    expect(stdout).not.toContain('user add')
    expect(status).toBe(0)
  })

  it('for a command asks for nothing else', () => {
    expect(parse(['token', 'add', '--help']).help).toBe(true)
  })
})

describe('a command line', () => {
  it('has words, switches, values and settings in any order', () => {
    const words = ['user', 'add', '--admin', 'alice', '--data', 'd', '--expires=90d', '--json']
    expect(parse(words).options).toEqual({
      flags: { data: 'd' },
      file: undefined,
      switches: new Set(['admin', 'json']),
      values: { expires: '90d' },
      words: ['alice'],
    })
  })

  it('may repeat a list, and has the last of what is none', () => {
    const words = ['token', 'add', 'u', 'n', '--tags', 'a', '--tags', 'b,c', '--expires', '1d']
    const { values } = parse([...words, '--expires', '2d']).options
    expect(values).toEqual({ tags: 'a,b,c', expires: '2d' })
  })

  it('may end in several words, or leave the last one out', () => {
    const grant = ['grant', 'add', 'everyone', 'pull', 'a/**', 'b/**']
    expect(parse(grant).options.words).toEqual(grant.slice(2))
    expect(parse(['grant', 'list']).options.words).toEqual([])
  })

  it.each([
    [['user'], 'user: no such command; expected user add, user change, '],
    [['user', 'ad'], 'user ad: no such command; expected user add, '],
    [['user', 'add'], 'user add: NAME is missing; see slipway user add --help'],
    [['user', 'add', 'a', 'b'], "user add: Unexpected argument 'b'"],
    [['user', 'add', 'a', '--amdin'], "user add: Unknown option '--amdin'"],
    [['user', 'list', 'a'], "user list: Unexpected argument 'a'"],
    [['grant', 'add', 'everyone', 'pull'], 'grant add: REPOSITORIES is missing'],
    [['grant', 'list', 'a', 'b'], "grant list: Unexpected argument 'b'"],
    [['robot', 'add', 'a', '--password-stdin'], "robot add: Unknown option '--password-stdin'"],
    [['audit', 'list', '--limit'], 'audit list: '],
  ])('%j says what is wrong with it', (words, message) => {
    expect(() => parse(words)).toThrow(UsageError)
    expect(() => parse(words)).toThrow(message)
  })
})

describe('a value', () => {
  it.each([
    [['user', 'add', 'a', '--expires', 'soon'], 'soon: expected a span such as 90d'],
    [['user', 'add', 'a', '--expires', '2020-01-01'], 'expected a time that is not over'],
    [['user', 'change', 'a'], 'nothing to change'],
    [['user', 'change', 'a', '--admin', '--no-admin'], '--admin or --no-admin, not both'],
    [['user', 'change', 'a', '--expires', '1d', '--never-expires'], 'not both'],
    [['user', 'change', 'a', '--password', '--password-stdin'], 'not both'],
    [['robot', 'change', 'a'], 'nothing to change'],
    [['group', 'change', 'a'], 'nothing to change'],
    [['grant', 'add', 'everyone', 'pul', '**'], 'pul: expected pull, push, overwrite, delete'],
    [['grant', 'change', '1'], 'nothing to change'],
    [['grant', 'change', '1', '--allow', '--deny'], '--allow or --deny, not both'],
    [['grant', 'change', '1', '--tags', 'v*', '--no-tags'], '--tags or --no-tags, not both'],
    [['token', 'add', 'a', 'b', '--actions', 'read'], 'read: expected pull, push'],
    [['access', 'explain', 'a', 'read', 'b'], 'read: expected pull, push, overwrite, delete'],
    [['audit', 'list', '--result', 'good'], '--result good: expected done, denied, failed'],
    [['audit', 'list', '--limit', '0'], '--limit 0: expected a number from 1'],
    [['audit', 'list', '--since', 'monday'], 'monday: expected a span'],
  ])('that is wrong is told before anything is opened: %j', async (words, message) => {
    // A folder that would have to be made, and cannot be.
    const { command, options } = parse([...words, '--data', '/dev/null/nowhere'])
    const running = command.run(options)
    await expect(running).rejects.toThrow(UsageError)
    await expect(running).rejects.toThrow(message)
  })
})
