import {
  type Account,
  type AccountEdit,
  type AccountKind,
  editAccount,
  getAccount,
  getAccounts,
  removeAccount,
} from '../../auth/accounts/accounts.ts'
import { withAccess } from '../access.ts'
import { choice, DESCRIPTION, EXPIRES, expiryOf, JSON_SWITCH } from '../flags.ts'
import { allOf, collect } from '../pages.ts'
import { print, printFields, printJson, printTable } from '../printing.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'

export const ADMIN_SWITCH = {
  admin: 'Let it administer, and do everything that no grant denies.',
} as const

/** Flags of `user change` and `robot change`. */
export const EDIT_FLAGS = {
  switches: {
    ...ADMIN_SWITCH,
    'no-admin': 'Take that away.',
    'never-expires': 'Let it be good for ever.',
  },
  values: { ...DESCRIPTION, ...EXPIRES },
} as const

/** What is done with users and robots alike. */
export function accountCommands(kind: AccountKind): readonly Command[] {
  const named = { settings: 'taken', words: ['NAME'] } as const
  return [
    {
      name: `${kind} list`,
      text: `list the ${kind}s`,
      settings: 'taken',
      switches: JSON_SWITCH,
      run: (options) => list(kind, options),
    },
    {
      name: `${kind} show`,
      text: `show a ${kind}`,
      ...named,
      switches: JSON_SWITCH,
      run: (options) => show(kind, options),
    },
    {
      name: `${kind} disable`,
      text: `let a ${kind} in no more, and end its tokens`,
      ...named,
      run: (options) => edit(kind, options, { disabled: true }),
    },
    {
      name: `${kind} enable`,
      text: `let a disabled ${kind} in again`,
      ...named,
      run: (options) => edit(kind, options, { disabled: false }),
    },
    {
      name: `${kind} remove`,
      text: `remove a ${kind}, its tokens, and the grants that name it`,
      ...named,
      run: (options) => remove(kind, options),
    },
  ]
}

/** What {@link EDIT_FLAGS} ask for; what they leave alone is undefined. @throws UsageError */
export function editOf(options: CommandOptions): AccountEdit {
  const expiresAt = expiryOf(options)
  const forEver = options.switches.has('never-expires')
  if (expiresAt !== undefined && forEver) {
    throw new UsageError('--expires or --never-expires, not both')
  }
  return {
    description: options.values['description'],
    admin: choice(options, ['admin', 'no-admin']),
    expiresAt: forEver ? null : expiresAt,
  }
}

/** @throws UsageError when nothing would change */
export async function edit(
  kind: AccountKind,
  options: CommandOptions,
  change: AccountEdit,
): Promise<number> {
  if (Object.values(change).every((value) => value === undefined)) {
    throw new UsageError(`nothing to change; see slipway ${kind} change --help`)
  }
  const [name = ''] = options.words
  const account = await withAccess(options, ({ control, actor }) =>
    editAccount(control, actor, { kind, name }, change),
  )
  printFields(fieldsOf(account))
  return 0
}

/** What programs get to see of an account. */
export function documentOf(account: Account) {
  const { kind, name, description, admin, disabled, groups } = account
  const { expiresAt, lastUsedAt, createdAt, createdBy } = account
  const times = { expiresAt, lastUsedAt, createdAt, createdBy }
  return { kind, name, description, admin, disabled, groups, ...times }
}

/** And what people do. */
export function fieldsOf(account: Account) {
  return {
    [account.kind]: account.name,
    description: account.description,
    state: stateOf(account),
    admin: account.admin,
    groups: account.groups,
    expires: account.expiresAt ?? 'never',
    'last used': account.lastUsedAt ?? 'never',
    created: account.createdAt,
    by: account.createdBy,
  }
}

async function list(kind: AccountKind, options: CommandOptions): Promise<number> {
  await withAccess(options, async ({ control }) => {
    const accounts = allOf(
      (page) => getAccounts(control, kind, page),
      ({ name }) => name,
    )
    if (options.switches.has('json')) {
      for await (const account of accounts) printJson(documentOf(account))
      return
    }
    printTable(
      ['NAME', 'ADMIN', 'STATE', 'EXPIRES', 'LAST USED', 'GROUPS', 'DESCRIPTION'],
      (await collect(accounts)).map((account) => [
        account.name,
        account.admin,
        stateOf(account),
        account.expiresAt ?? 'never',
        account.lastUsedAt ?? 'never',
        account.groups,
        account.description,
      ]),
      `there are no ${kind}s`,
    )
  })
  return 0
}

async function show(kind: AccountKind, options: CommandOptions): Promise<number> {
  const [name = ''] = options.words
  const account = await withAccess(options, ({ control }) => getAccount(control, { kind, name }))
  if (options.switches.has('json')) printJson(documentOf(account))
  else printFields(fieldsOf(account))
  return 0
}

async function remove(kind: AccountKind, options: CommandOptions): Promise<number> {
  const [name = ''] = options.words
  await withAccess(options, ({ control, actor }) => removeAccount(control, actor, { kind, name }))
  print(`removed ${kind} ${name}`)
  return 0
}

function stateOf({ disabled, expiresAt }: Account): string {
  if (disabled) return 'disabled'
  return expiresAt !== undefined && expiresAt <= new Date() ? 'expired' : 'active'
}
