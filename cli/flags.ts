/* Flags that several commands have, and what they mean. */
import { ACTIONS, type Action, type Coverage } from '../auth/rules/grant.ts'
import { parseExpiry } from './times.ts'
import { type CommandOptions, UsageError, type ValueFlag } from './usage.ts'

export const JSON_SWITCH = { json: 'Answer in JSON, one document a line.' } as const

export const DESCRIPTION = {
  description: { value: 'TEXT', text: 'What it is for.' },
} as const satisfies Record<string, ValueFlag>

export const EXPIRES = {
  expires: {
    value: 'WHEN',
    text: 'When it ends: 90d or 12h from now, or 2027-01-31, at the beginning of that day in UTC.',
  },
} as const satisfies Record<string, ValueFlag>

const STANDARD_LIMIT = 100
const MOST = 1_000_000

export const LIMIT = {
  limit: { value: 'COUNT', text: `So many at most (default: ${STANDARD_LIMIT}).` },
} as const satisfies Record<string, ValueFlag>

/** @throws UsageError */
export function limitOf({ values }: Pick<CommandOptions, 'values'>): number {
  const text = values['limit'] ?? String(STANDARD_LIMIT)
  const limit = Number(text)
  if (/^\d+$/.test(text) && limit >= 1 && limit <= MOST) return limit
  throw new UsageError(`--limit ${text}: expected a number from 1 to ${MOST}`)
}

export const PASSWORD_STDIN = {
  'password-stdin': 'Read the password from standard input.',
} as const

export const TAGS = {
  tags: {
    value: 'GLOB,…',
    text: 'Only tags that match, such as v*; may be repeated.',
    isList: true,
  },
} as const satisfies Record<string, ValueFlag>

export const REPOSITORIES = {
  repositories: {
    value: 'GLOB,…',
    text: 'Repositories that match, such as team/**; may be repeated.',
    isList: true,
  },
} as const satisfies Record<string, ValueFlag>

export const ACTION_LIST = {
  actions: { value: 'ACTION,…', text: `Of ${ACTIONS.join(', ')}.`, isList: true },
} as const satisfies Record<string, ValueFlag>

/** True or false by which of the two was given, undefined for neither. @throws UsageError for both */
export function choice(
  { switches }: Pick<CommandOptions, 'switches'>,
  [yes, no]: readonly [string, string],
): boolean | undefined {
  if (switches.has(yes) && switches.has(no)) throw new UsageError(`--${yes} or --${no}, not both`)
  if (switches.has(yes)) return true
  return switches.has(no) ? false : undefined
}

/** Undefined when the flag was not given. @throws UsageError */
export function expiryOf({ values }: Pick<CommandOptions, 'values'>): Date | undefined {
  const text = values['expires']
  return text === undefined ? undefined : parseExpiry(text)
}

/** Undefined when the flag was not given. */
export function listOf(
  { values }: Pick<CommandOptions, 'values'>,
  flag: string,
): readonly string[] | undefined {
  const text = values[flag]
  return text === undefined ? undefined : split(text)
}

export function split(text: string): readonly string[] {
  return text.split(/[\s,]+/).filter(Boolean)
}

/** `pull,push`. @throws UsageError */
export function parseActions(text: string): readonly Action[] {
  const words = split(text)
  const actions = ACTIONS.filter((action) => words.includes(action))
  const stray = words.find((word) => !ACTIONS.some((action) => action === word))
  if (stray !== undefined || actions.length === 0) {
    throw new UsageError(`${stray ?? 'actions'}: expected ${ACTIONS.join(', ')}`)
  }
  return actions
}

/** @throws UsageError */
export function parseAction(text: string): Action {
  const action = ACTIONS.find((each) => each === text)
  if (action === undefined) throw new UsageError(`${text}: expected ${ACTIONS.join(', ')}`)
  return action
}

/** What `--repositories`, `--tags` and `--actions` narrow it to; undefined when none was given. */
export function coverageOf(options: Pick<CommandOptions, 'values'>): Coverage | undefined {
  const repositories = listOf(options, 'repositories')
  const tags = listOf(options, 'tags')
  const actions = options.values['actions']
  if (repositories === undefined && tags === undefined && actions === undefined) return undefined
  return {
    repositories: repositories ?? ['**'],
    tags,
    actions: actions === undefined ? ACTIONS : parseActions(actions),
  }
}
