/* The fields of an upstream as flags. Its password is none: other users could see it in the list of processes. */
import path from 'node:path'
import { flagOf } from '../config/settings.ts'
import { isUpstreamField, UPSTREAM_FIELDS, type UpstreamField } from '../config/upstream-fields.ts'
import { checkUpstream, InvalidUpstream, type WrittenUpstream } from '../config/upstream-schema.ts'
import { choice, PASSWORD_STDIN } from './flags.ts'
import { newPassword } from './password.ts'
import { type CommandOptions, UsageError, type ValueFlag } from './usage.ts'

const CHOICES = ['plain', 'library', 'privateAddresses'] as const satisfies UpstreamField[]

/** What stands for a value in help, of every field but choices and the password. */
const PLACEHOLDERS = {
  url: 'URL',
  hosts: 'HOST,…',
  prefix: 'PREFIX',
  username: 'NAME',
  passwordFile: 'FILE',
  passwordVariable: 'VARIABLE',
  credentialCommand: 'COMMAND',
  credentialSeconds: 'SECONDS',
  realms: 'HOST,…',
  ca: 'FILE',
  freshSeconds: 'SECONDS',
  staleSeconds: 'SECONDS',
  negativeSeconds: 'SECONDS',
  maxBytes: 'BYTES',
  concurrency: 'NUMBER',
  reserve: 'NUMBER',
  allow: 'GLOB,…',
  deny: 'GLOB,…',
} as const satisfies Record<Exclude<UpstreamField, (typeof CHOICES)[number] | 'password'>, string>

export const UPSTREAM_VALUES: Readonly<Record<string, ValueFlag>> = Object.fromEntries(
  Object.entries(PLACEHOLDERS).map(([field, value]) => [flagOf(field), valueFlagOf(field, value)]),
)

function valueFlagOf(field: string, value: string): ValueFlag {
  if (!isUpstreamField(field)) throw new Error(`${field} is no field`)
  const setting: { readonly text: string; readonly standard?: string } = UPSTREAM_FIELDS[field]
  const suffix = setting.standard ? ` (default: ${setting.standard})` : ''
  return { value, text: `${setting.text}${suffix}`, ...(value.endsWith('…') && { isList: true }) }
}

export const UPSTREAM_SWITCHES: Readonly<Record<string, string>> = {
  ...PASSWORD_STDIN,
  ...Object.fromEntries(
    CHOICES.flatMap((field) => [
      [flagOf(field), UPSTREAM_FIELDS[field].text],
      [`no-${flagOf(field)}`, `The opposite of --${flagOf(field)}.`],
    ]),
  ),
}

/** What flags say of the fields; files by where they are seen from everywhere. @throws UsageError */
export function fieldsOf(options: CommandOptions): Readonly<Record<string, string | boolean>> {
  const fields: Record<string, string | boolean> = {}
  for (const field of Object.keys(PLACEHOLDERS)) {
    const value = options.values[flagOf(field)]
    if (value === undefined) continue
    fields[field] = field === 'ca' || field === 'passwordFile' ? path.resolve(value) : value
  }
  for (const field of CHOICES) {
    const chosen = choice(options, [flagOf(field), `no-${flagOf(field)}`])
    if (chosen !== undefined) fields[field] = chosen
  }
  return fields
}

/** The definition that fields make, a problem told by its flag. @throws UsageError */
export function checkedFields(name: string, fields: object): WrittenUpstream {
  try {
    return checkUpstream(name, fields)
  } catch (error) {
    if (!(error instanceof InvalidUpstream)) throw error
    throw new UsageError(error.problems.map(toFlag).join('\n  '))
  }
}

function toFlag(problem: string): string {
  const [field = '', ...rest] = problem.split(': ')
  return isUpstreamField(field) ? [`--${flagOf(field)}`, ...rest].join(': ') : problem
}

/** What is on standard input, or is typed twice. @throws UsageError where there is neither */
export async function readPassword({ switches }: CommandOptions): Promise<string> {
  const fromInput = switches.has('password-stdin')
  if (!fromInput && !(process.stdin.isTTY && process.stderr.isTTY)) {
    throw new UsageError(
      'expected --password-stdin, --password-file or --password-variable, as there is no terminal to ask for the password',
    )
  }
  const { password } = await newPassword({ fromInput })
  return password
}
