import { addUser } from '../../auth/accounts/accounts.ts'
import { withAccess } from '../access.ts'
import { DESCRIPTION, EXPIRES, expiryOf, JSON_SWITCH, PASSWORD_STDIN } from '../flags.ts'
import { newPassword } from '../password.ts'
import { printFields, printJson, printSecret } from '../printing.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'
import {
  ADMIN_SWITCH,
  accountCommands,
  documentOf,
  EDIT_FLAGS,
  edit,
  editOf,
  fieldsOf,
} from './accounts.ts'

export const USER_COMMANDS: readonly Command[] = [
  {
    name: 'user add',
    text: 'add a user',
    more: 'Asks for the password on a terminal. Elsewhere one is made up and printed.',
    settings: 'taken',
    words: ['NAME'],
    switches: { ...ADMIN_SWITCH, ...PASSWORD_STDIN, ...JSON_SWITCH },
    values: { ...DESCRIPTION, ...EXPIRES },
    run: add,
  },
  {
    name: 'user change',
    text: 'change a user',
    settings: 'taken',
    words: ['NAME'],
    switches: {
      ...EDIT_FLAGS.switches,
      password:
        'Ask for a new password, or make one up where there is no terminal. Tokens and logins of the user end.',
      ...PASSWORD_STDIN,
    },
    values: EDIT_FLAGS.values,
    run: change,
  },
  ...accountCommands('user'),
]

async function add(options: CommandOptions): Promise<number> {
  const { switches, values } = options
  const [name = ''] = options.words
  const expiresAt = expiryOf(options)
  const { password, isMadeUp } = await newPassword({ fromInput: switches.has('password-stdin') })
  const account = await withAccess({ ...options, creates: true }, ({ control, actor }) =>
    addUser(control, actor, {
      name,
      password,
      description: values['description'],
      admin: switches.has('admin'),
      expiresAt,
    }),
  )
  const shown = isMadeUp ? password : undefined
  if (switches.has('json')) {
    printJson({ ...documentOf(account), password: shown })
    return 0
  }
  printFields(fieldsOf(account))
  if (shown !== undefined) printSecret(`The password of ${name}`, shown)
  return 0
}

async function change(options: CommandOptions): Promise<number> {
  const { switches } = options
  const [name = ''] = options.words
  const fromInput = switches.has('password-stdin')
  const changes = editOf(options)
  if (!fromInput && !switches.has('password')) return edit('user', options, changes)
  if (fromInput && switches.has('password')) {
    throw new UsageError('--password or --password-stdin, not both')
  }
  const { password, isMadeUp } = await newPassword({ fromInput })
  const code = await edit('user', options, { ...changes, password })
  if (isMadeUp) printSecret(`The password of ${name}`, password)
  return code
}
