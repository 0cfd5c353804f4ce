import {
  addPersonalToken,
  type Credential,
  getPersonalTokens,
  removePersonalToken,
} from '../../auth/accounts/personal-tokens.ts'
import type { Coverage } from '../../auth/rules/grant.ts'
import { withAccess } from '../access.ts'
import {
  ACTION_LIST,
  coverageOf,
  EXPIRES,
  expiryOf,
  JSON_SWITCH,
  REPOSITORIES,
  TAGS,
} from '../flags.ts'
import { loginCommand } from '../login-command.ts'
import { print, printFields, printJson, printSecret, printTable } from '../printing.ts'
import type { Command, CommandOptions } from '../usage.ts'

export const TOKEN_COMMANDS: readonly Command[] = [
  {
    name: 'token add',
    text: 'make a token that a program logs in with as a user',
    more: 'It may do what the user may, at most what the flags say.',
    settings: 'taken',
    words: ['USER', 'NAME'],
    switches: JSON_SWITCH,
    values: { ...REPOSITORIES, ...TAGS, ...ACTION_LIST, ...EXPIRES },
    run: add,
  },
  {
    name: 'token list',
    text: 'list the tokens of a user, and the logins that clients keep',
    settings: 'taken',
    words: ['USER'],
    switches: JSON_SWITCH,
    run: list,
  },
  {
    name: 'token remove',
    text: 'end a token or a login',
    settings: 'taken',
    words: ['USER', 'ID'],
    run: remove,
  },
]

async function add(options: CommandOptions): Promise<number> {
  const [account = '', name = ''] = options.words
  const coverage = coverageOf(options)
  const expiresAt = expiryOf(options)
  const token = {
    account,
    name,
    coverage: coverage && [coverage],
    seconds: expiresAt && (expiresAt.getTime() - Date.now()) / 1000,
  }
  return withAccess(options, async ({ control, actor, config }) => {
    const { credential, secret } = await addPersonalToken(control, actor, token)
    if (options.switches.has('json')) {
      printJson({ ...documentOf(credential), secret })
      return 0
    }
    printFields({
      token: credential.name,
      id: credential.id,
      user: account,
      'at most': limitsOf(credential),
      expires: credential.expiresAt ?? 'never',
    })
    printSecret(`The token ${name} of ${account}`, secret, loginCommand(config, account))
    return 0
  })
}

async function list(options: CommandOptions): Promise<number> {
  const [account = ''] = options.words
  const { tokens, logins } = await withAccess(options, ({ control }) =>
    getPersonalTokens(control, account),
  )
  const all = [...tokens, ...logins]
  if (options.switches.has('json')) {
    for (const credential of all) printJson(documentOf(credential))
    return 0
  }
  printTable(
    ['ID', 'NAME', 'AT MOST', 'EXPIRES', 'LAST USED', 'CREATED'],
    all.map((credential) => [
      credential.id,
      credential.kind === 'identity' ? '(login)' : credential.name,
      limitsOf(credential),
      credential.expiresAt ?? 'never',
      credential.lastUsedAt ?? 'never',
      credential.createdAt,
    ]),
    `${account} has no tokens`,
  )
  return 0
}

async function remove(options: CommandOptions): Promise<number> {
  const [account = '', id = ''] = options.words
  await withAccess(options, ({ control, actor }) =>
    removePersonalToken(control, actor, { account, id }),
  )
  print(`removed token ${id} of ${account}`)
  return 0
}

function documentOf(credential: Credential) {
  const { id, kind, subject, name, coverage, createdAt, expiresAt, lastUsedAt } = credential
  return { id, kind, subject, name, coverage, createdAt, expiresAt, lastUsedAt }
}

/** `pull, push on team/**`, as grants are worded. */
function limitsOf({ coverage }: Credential): string {
  if (!Array.isArray(coverage)) return 'what the user may'
  return coverage.map(describe).join('; ')
}

function describe(coverage: unknown): string {
  if (!isCoverage(coverage)) return JSON.stringify(coverage)
  const { actions, repositories, tags } = coverage
  const named = tags === undefined ? '' : `, tags ${tags.join(' ')}`
  return `${actions.join(', ')} on ${repositories.join(' ')}${named}`
}

function isCoverage(found: unknown): found is Coverage {
  return (
    typeof found === 'object' && found !== null && 'actions' in found && 'repositories' in found
  )
}
