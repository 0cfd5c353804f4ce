import {
  addGroup,
  addMember,
  editGroup,
  type Group,
  getGroup,
  getGroups,
  removeGroup,
  removeMember,
} from '../../auth/accounts/groups.ts'
import { withAccess } from '../access.ts'
import { DESCRIPTION, JSON_SWITCH } from '../flags.ts'
import { allOf, collect } from '../pages.ts'
import { print, printFields, printJson, printTable } from '../printing.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'

const NAMED = { settings: 'taken', words: ['NAME'] } as const
const MEMBER = { settings: 'taken', words: ['GROUP', 'ACCOUNT'] } as const

export const GROUP_COMMANDS: readonly Command[] = [
  {
    name: 'group add',
    text: 'add a group',
    ...NAMED,
    switches: JSON_SWITCH,
    values: DESCRIPTION,
    run: add,
  },
  { name: 'group change', text: 'describe a group', ...NAMED, values: DESCRIPTION, run: change },
  {
    name: 'group list',
    text: 'list the groups',
    settings: 'taken',
    switches: JSON_SWITCH,
    run: list,
  },
  {
    name: 'group show',
    text: 'show a group and who is in it',
    ...NAMED,
    switches: JSON_SWITCH,
    run: show,
  },
  {
    name: 'group remove',
    text: 'remove a group and the grants that name it',
    ...NAMED,
    run: remove,
  },
  { name: 'group join', text: 'put a user or a robot in a group', ...MEMBER, run: join },
  { name: 'group leave', text: 'take a user or a robot out of a group', ...MEMBER, run: leave },
]

async function add(options: CommandOptions): Promise<number> {
  const [name = ''] = options.words
  const description = options.values['description']
  const group = await withAccess({ ...options, creates: true }, ({ control, actor }) =>
    addGroup(control, actor, { name, description }),
  )
  return printGroup(group, options)
}

async function change(options: CommandOptions): Promise<number> {
  const [name = ''] = options.words
  const description = options.values['description']
  if (description === undefined) {
    throw new UsageError('nothing to change; see slipway group change --help')
  }
  const group = await withAccess(options, ({ control, actor }) =>
    editGroup(control, actor, { name, description }),
  )
  return printGroup(group, options)
}

async function show(options: CommandOptions): Promise<number> {
  const [name = ''] = options.words
  return printGroup(await withAccess(options, ({ control }) => getGroup(control, name)), options)
}

async function list(options: CommandOptions): Promise<number> {
  await withAccess(options, async ({ control }) => {
    const groups = allOf(
      (page) => getGroups(control, page),
      ({ name }) => name,
    )
    if (options.switches.has('json')) {
      for await (const group of groups) printJson(documentOf(group))
      return
    }
    printTable(
      ['NAME', 'MEMBERS', 'DESCRIPTION'],
      (await collect(groups)).map(({ name, members, description }) => [
        name,
        String(members.length),
        description,
      ]),
      'there are no groups',
    )
  })
  return 0
}

async function remove(options: CommandOptions): Promise<number> {
  const [name = ''] = options.words
  await withAccess(options, ({ control, actor }) => removeGroup(control, actor, name))
  print(`removed group ${name}`)
  return 0
}

async function join(options: CommandOptions): Promise<number> {
  const [group = '', account = ''] = options.words
  await withAccess(options, ({ control, actor }) => addMember(control, actor, { group, account }))
  print(`${account} is in ${group}`)
  return 0
}

async function leave(options: CommandOptions): Promise<number> {
  const [group = '', account = ''] = options.words
  await withAccess(options, ({ control, actor }) =>
    removeMember(control, actor, { group, account }),
  )
  print(`${account} is not in ${group} any more`)
  return 0
}

function printGroup(group: Group, { switches }: CommandOptions): number {
  const { name, description, members, createdAt, createdBy } = group
  if (switches.has('json')) printJson(documentOf(group))
  else printFields({ group: name, description, members, created: createdAt, by: createdBy })
  return 0
}

function documentOf({ name, description, members, createdAt, createdBy }: Group) {
  return { name, description, members, createdAt, createdBy }
}
