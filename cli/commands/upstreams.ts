import {
  completeUpstream,
  InvalidUpstream,
  type WrittenUpstream,
} from '../../config/upstream-schema.ts'
import { conflictsOf, parseUpstream, showUpstream } from '../../config/upstream-settings.ts'
import {
  deleteUpstream,
  insertUpstream,
  type StoredUpstream,
  updateUpstream,
} from '../../storage/metadata/upstreams.ts'
import { configurationOf } from '../configuration.ts'
import { JSON_SWITCH } from '../flags.ts'
import { print, printFields, printJson, printTable, remark } from '../printing.ts'
import {
  checkedFields,
  fieldsOf,
  readPassword,
  UPSTREAM_SWITCHES,
  UPSTREAM_VALUES,
} from '../upstream-flags.ts'
import {
  changingUpstreams,
  type KnownUpstream,
  knownUpstreams,
  noUpstream,
  type OutlinedUpstream,
  outline,
} from '../upstreams.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'
import { CLIENT_CONFIG_COMMAND } from './client-config.ts'

export const UPSTREAM_COMMANDS: readonly Command[] = [
  {
    name: 'upstream add',
    text: 'pull through another registry',
    more: `NAME is how its repositories begin here, and its host if no flag says otherwise.
With --username alone it asks for the password.

  slipway upstream add docker.io
  slipway upstream add ghcr.io --username alice --password-stdin --allow 'alice/**' < password`,
    settings: 'taken',
    words: ['NAME'],
    switches: { ...UPSTREAM_SWITCHES, ...JSON_SWITCH },
    values: UPSTREAM_VALUES,
    run: add,
  },
  {
    name: 'upstream change',
    text: 'change an upstream that was added; what no flag names stays',
    settings: 'taken',
    words: ['NAME'],
    switches: {
      ...UPSTREAM_SWITCHES,
      password: 'Ask for a new password.',
      'no-credentials': 'Ask it for everything as nobody.',
      ...JSON_SWITCH,
    },
    values: UPSTREAM_VALUES,
    run: change,
  },
  {
    name: 'upstream list',
    text: 'list the upstreams, those of the configuration as well',
    settings: 'taken',
    switches: JSON_SWITCH,
    run: list,
  },
  {
    name: 'upstream remove',
    text: 'remove an upstream that was added',
    more: 'What was kept of it stays until slipway upstream purge NAME.',
    settings: 'taken',
    words: ['NAME'],
    run: remove,
  },
  CLIENT_CONFIG_COMMAND,
]

async function add(options: CommandOptions): Promise<number> {
  const [name = ''] = options.words
  const fields = fieldsOf(options)
  const { username, passwordFile, passwordVariable } = fields
  const isElsewhere = passwordFile !== undefined || passwordVariable !== undefined
  const asks = options.switches.has('password-stdin') || (username !== undefined && !isElsewhere)
  // Before it is asked for, so that nobody types it in vain.
  checkedFields(name, asks ? { ...fields, password: 'to be asked for' } : fields)
  refuseConfigured(name, options)
  const password = asks ? await readPassword(options) : undefined
  const definition = checkedFields(name, { ...fields, password })
  const adding = { action: 'upstream.add', name, creates: true } as const
  await changingUpstreams(options, adding, async (tx, stored) => {
    refuseConflicts(name, definition, { options, stored })
    await insertUpstream(tx, { name, definition })
  })
  printDefinition(name, definition, options)
  if (!options.switches.has('json')) {
    print(`\nWhat clients need to know: slipway upstream client-config ${name}`)
  }
  return 0
}

async function change(options: CommandOptions): Promise<number> {
  const { switches } = options
  const [name = ''] = options.words
  const fields = fieldsOf(options)
  const asks = switches.has('password') || switches.has('password-stdin')
  const drops = switches.has('no-credentials')
  if (switches.has('password') && switches.has('password-stdin')) {
    throw new UsageError('--password or --password-stdin, not both')
  }
  if (Object.keys(fields).length === 0 && !asks && !drops) {
    throw new UsageError('nothing to change; see slipway upstream change --help')
  }
  refuseConfigured(name, options)
  const given = asks ? { ...fields, password: await readPassword(options) } : fields
  const changing = { action: 'upstream.change', name } as const
  const definition = await changingUpstreams(options, changing, async (tx, stored) => {
    const before = stored.find((each) => each.name === name)
    if (before === undefined) throw noUpstream(name)
    const changed = checkedFields(name, { ...keptOf(before, given, drops), ...given })
    const others = stored.filter((each) => each !== before)
    refuseConflicts(name, changed, { options, stored: others })
    await updateUpstream(tx, { name, definition: changed })
    return changed
  })
  printDefinition(name, definition, options)
  return 0
}

const PASSWORDS = ['password', 'passwordFile', 'passwordVariable']
const OF_COMMAND = ['credentialCommand', 'credentialSeconds']

/** What stays of a definition: of credentials only what goes with those that are given. */
function keptOf({ definition }: StoredUpstream, given: object, drops: boolean): object {
  const replaced = new Set<string>()
  if (drops || 'credentialCommand' in given) {
    for (const field of ['username', ...PASSWORDS, ...OF_COMMAND]) replaced.add(field)
  }
  if ('username' in given || PASSWORDS.some((field) => field in given)) {
    for (const field of OF_COMMAND) replaced.add(field)
  }
  if (PASSWORDS.some((field) => field in given)) {
    for (const field of PASSWORDS) replaced.add(field)
  }
  const entries = Object.entries(definition ?? {})
  return Object.fromEntries(entries.filter(([field]) => !replaced.has(field)))
}

/** @throws Error when the configuration has one of that name: it goes before the database */
function refuseConfigured(name: string, options: CommandOptions): void {
  const { upstreams } = configurationOf(options)
  if (upstreams.every((upstream) => upstream.name !== name)) return
  throw new Error(
    `${name} is an upstream of the configuration: change it there, in slipway.yml or SLIPWAY_UPSTREAMS`,
  )
}

interface Neighbours {
  readonly options: CommandOptions
  readonly stored: readonly StoredUpstream[]
}

/** @throws Error that says what another upstream has already */
function refuseConflicts(
  name: string,
  definition: WrittenUpstream,
  { options, stored }: Neighbours,
): void {
  if (stored.some((other) => other.name === name)) {
    throw new Error(`there is an upstream ${name} already; slipway upstream change changes it`)
  }
  const { upstreams } = configurationOf(options)
  const others = stored.map((each) => outline(each, []).upstream)
  const known = [...upstreams, ...others.filter((other) => other !== undefined)]
  const problems = conflictsOf(completeUpstream(name, definition), known)
  if (problems.length > 0) throw new Error(problems.join('\n  '))
}

function printDefinition(
  name: string,
  definition: WrittenUpstream,
  { switches }: CommandOptions,
): void {
  const complete = completeUpstream(name, definition)
  const { url, hosts, prefix, plain } = complete
  const shown = showUpstream(complete)
  if (switches.has('json')) printJson({ name, origin: 'database', ...shown })
  else {
    const user = userOf(shown)
    printFields({ upstream: name, url, hosts, prefix, 'plain paths': plain, 'logs in as': user })
  }
  try {
    parseUpstream(name, definition)
  } catch (error) {
    if (!(error instanceof InvalidUpstream)) throw error
    // The server may run elsewhere, or as somebody else.
    for (const problem of error.problems) remark(`${problem}; see to it where the server runs`)
  }
}

function userOf({ username, credentialCommand }: OutlinedUpstream['shown']): string | undefined {
  if (Array.isArray(credentialCommand)) return `what ${String(credentialCommand[0])} says`
  return typeof username === 'string' ? username : undefined
}

async function list(options: CommandOptions): Promise<number> {
  const known = await knownUpstreams(options)
  if (options.switches.has('json')) {
    for (const { name, origin, createdAt, upstream, problems } of known) {
      printJson({ name, origin, createdAt, problems, ...upstream?.shown })
    }
    return 0
  }
  printTable(
    ['NAME', 'FROM', 'USED', 'URL', 'HOSTS', 'PREFIX', 'PLAIN', 'LOGS IN AS'],
    known.map(({ name, origin, upstream, problems }) => [
      name,
      origin,
      problems.length === 0,
      upstream?.url,
      upstream?.hosts,
      upstream?.prefix,
      upstream?.plain,
      upstream && userOf(upstream.shown),
    ]),
    'there are no upstreams; slipway upstream add docker.io adds one',
  )
  remarkProblems(known)
  return 0
}

function remarkProblems(known: readonly KnownUpstream[]): void {
  for (const { name, origin, problems } of known) {
    for (const problem of problems) remark(`${name} of the ${origin} is not used: ${problem}`)
  }
}

async function remove(options: CommandOptions): Promise<number> {
  const [name = ''] = options.words
  const { upstreams } = configurationOf(options)
  await changingUpstreams(options, { action: 'upstream.remove', name }, async (tx) => {
    if (await deleteUpstream(tx, name)) return
    if (upstreams.some((upstream) => upstream.name === name)) refuseConfigured(name, options)
    throw noUpstream(name)
  })
  print(`removed upstream ${name}`)
  print(`What was kept of it stays until slipway upstream purge ${name}`)
  return 0
}
