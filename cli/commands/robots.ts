import { type Account, addRobot, renewRobotSecret } from '../../auth/accounts/accounts.ts'
import { withAccess } from '../access.ts'
import { DESCRIPTION, EXPIRES, expiryOf, JSON_SWITCH } from '../flags.ts'
import { loginCommand } from '../login-command.ts'
import { printFields, printJson, printSecret } from '../printing.ts'
import type { Command, CommandOptions } from '../usage.ts'
import {
  ADMIN_SWITCH,
  accountCommands,
  documentOf,
  EDIT_FLAGS,
  edit,
  editOf,
  fieldsOf,
} from './accounts.ts'

export const ROBOT_COMMANDS: readonly Command[] = [
  {
    name: 'robot add',
    text: 'add a robot, and print its secret',
    settings: 'taken',
    words: ['NAME'],
    switches: { ...ADMIN_SWITCH, ...JSON_SWITCH },
    values: { ...DESCRIPTION, ...EXPIRES },
    run: add,
  },
  {
    name: 'robot change',
    text: 'change a robot',
    settings: 'taken',
    words: ['NAME'],
    ...EDIT_FLAGS,
    run: (options) => edit('robot', options, editOf(options)),
  },
  {
    name: 'robot renew',
    text: 'give a robot a new secret, and end what it had',
    settings: 'taken',
    words: ['NAME'],
    switches: JSON_SWITCH,
    run: renew,
  },
  ...accountCommands('robot'),
]

async function add(options: CommandOptions): Promise<number> {
  const { switches, values } = options
  const [name = ''] = options.words
  const robot = {
    name,
    description: values['description'],
    admin: switches.has('admin'),
    expiresAt: expiryOf(options),
  }
  return withAccess({ ...options, creates: true }, async ({ control, actor, config }) => {
    const { account, secret } = await addRobot(control, actor, robot)
    return show({ account, secret, login: loginCommand(config, name) }, options)
  })
}

async function renew(options: CommandOptions): Promise<number> {
  const [name = ''] = options.words
  return withAccess(options, async ({ control, actor, config }) => {
    const { account, secret } = await renewRobotSecret(control, actor, name)
    return show({ account, secret, login: loginCommand(config, name) }, options)
  })
}

interface NewSecret {
  readonly account: Account
  readonly secret: string
  readonly login: string
}

function show({ account, secret, login }: NewSecret, { switches }: CommandOptions): number {
  if (switches.has('json')) {
    printJson({ ...documentOf(account), secret })
    return 0
  }
  printFields(fieldsOf(account))
  printSecret(`The secret of ${account.name}`, secret, login)
  return 0
}
