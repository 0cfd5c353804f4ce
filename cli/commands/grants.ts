import { toGrant } from '../../auth/access-records.ts'
import {
  addGrant,
  editGrant,
  type GrantRecord,
  getGrant,
  getGrants,
  removeGrant,
} from '../../auth/accounts/grants.ts'
import type { Grant } from '../../auth/rules/grant.ts'
import { checkSubject } from '../../auth/rules/subject.ts'
import { withAccess } from '../access.ts'
import {
  ACTION_LIST,
  choice,
  DESCRIPTION,
  JSON_SWITCH,
  listOf,
  parseActions,
  REPOSITORIES,
  split,
  TAGS,
} from '../flags.ts'
import { allOf, collect } from '../pages.ts'
import { print, printFields, printJson, printTable } from '../printing.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'

const SUBJECTS =
  'SUBJECT is user:NAME, robot:NAME, group:NAME, anonymous, authenticated or everyone.'

export const GRANT_COMMANDS: readonly Command[] = [
  {
    name: 'grant add',
    text: 'allow or deny somebody something',
    more: `${SUBJECTS}
ACTIONS are pull, push, overwrite and delete, with commas between them.
REPOSITORIES are globs: * stands for anything but a slash, ** for anything.

  slipway grant add group:team-a pull,push 'team-a/**'
  slipway grant add everyone overwrite,delete '**' --tags 'v*' --deny`,
    settings: 'taken',
    words: ['SUBJECT', 'ACTIONS', 'REPOSITORIES…'],
    switches: { deny: 'Deny it, whatever other grants allow.', ...JSON_SWITCH },
    values: { ...TAGS, ...DESCRIPTION },
    run: add,
  },
  {
    name: 'grant list',
    text: 'list the grants in force, those of the access file as well',
    more: SUBJECTS,
    settings: 'taken',
    words: ['[SUBJECT]'],
    switches: JSON_SWITCH,
    run: list,
  },
  {
    name: 'grant show',
    text: 'show a grant',
    settings: 'taken',
    words: ['ID'],
    switches: JSON_SWITCH,
    run: show,
  },
  {
    name: 'grant change',
    text: 'change a grant; what no flag names stays',
    more: SUBJECTS,
    settings: 'taken',
    words: ['ID'],
    switches: {
      allow: 'Allow it.',
      deny: 'Deny it, whatever other grants allow.',
      'no-tags': 'Let it be about all tags.',
    },
    values: {
      subject: { value: 'SUBJECT', text: 'Whom it is for.' },
      ...ACTION_LIST,
      ...REPOSITORIES,
      ...TAGS,
      ...DESCRIPTION,
    },
    run: change,
  },
  { name: 'grant remove', text: 'remove a grant', settings: 'taken', words: ['ID'], run: remove },
]

async function add(options: CommandOptions): Promise<number> {
  const [subject = '', actions = '', ...repositories] = options.words
  const grant = {
    effect: options.switches.has('deny') ? 'deny' : 'allow',
    subject,
    actions: parseActions(actions),
    repositories: repositories.flatMap(split),
    tags: listOf(options, 'tags'),
    description: options.values['description'],
  } as const
  const added = await withAccess({ ...options, creates: true }, ({ control, actor }) =>
    addGrant(control, actor, grant),
  )
  return printGrant(added, options)
}

async function show(options: CommandOptions): Promise<number> {
  const [id = ''] = options.words
  return printGrant(await withAccess(options, ({ control }) => getGrant(control, id)), options)
}

async function list(options: CommandOptions): Promise<number> {
  const [subject] = options.words
  if (subject !== undefined) checkSubject(subject)
  const grants = await withAccess(options, async ({ control }) => {
    const stored = allOf(
      (page) => getGrants(control, { subject }, page),
      ({ id }) => id,
    )
    const { rules } = control.records
    const ofFile = rules.grants.filter(
      (grant) => subject === undefined || grant.subject === subject,
    )
    return [...ofFile.map(documentOfFile), ...(await collect(stored)).map(documentOf)]
  })
  if (options.switches.has('json')) {
    grants.forEach(printJson)
    return 0
  }
  printTable(
    ['ID', 'EFFECT', 'SUBJECT', 'ACTIONS', 'REPOSITORIES', 'TAGS', 'DESCRIPTION'],
    grants.map((grant) => [
      grant.id ?? grant.origin,
      grant.effect,
      grant.subject,
      grant.actions.join(','),
      grant.repositories,
      grant.tags ?? [],
      grant.description,
    ]),
    'there are no grants',
  )
  return 0
}

async function change(options: CommandOptions): Promise<number> {
  const [id = ''] = options.words
  const { subject, actions, description } = textsOf(options)
  const allows = choice(options, ['allow', 'deny'])
  const repositories = listOf(options, 'repositories')
  const tags = tagsOf(options)
  const given = { subject, actions, description, allows, repositories, tags }
  if (Object.values(given).every((value) => value === undefined)) {
    throw new UsageError('nothing to change; see slipway grant change --help')
  }
  const parsed = actions === undefined ? undefined : parseActions(actions)
  const changed = await withAccess(options, async ({ control, actor }) => {
    const record = await getGrant(control, id)
    const { origin: _origin, ...grant } = toGrant(record)
    return editGrant(control, actor, {
      id,
      effect: allows === undefined ? grant.effect : allows ? 'allow' : 'deny',
      subject: subject ?? grant.subject,
      actions: parsed ?? grant.actions,
      repositories: repositories ?? grant.repositories,
      tags: tags === undefined ? grant.tags : (tags ?? undefined),
      description: description ?? record.description,
    })
  })
  return printGrant(changed, options)
}

function textsOf({ values }: CommandOptions) {
  return {
    subject: values['subject'],
    actions: values['actions'],
    description: values['description'],
  }
}

/** null: about all tags. Undefined: as it is. @throws UsageError */
function tagsOf(options: CommandOptions): readonly string[] | null | undefined {
  const tags = listOf(options, 'tags')
  if (!options.switches.has('no-tags')) return tags
  if (tags !== undefined) throw new UsageError('--tags or --no-tags, not both')
  return null
}

async function remove(options: CommandOptions): Promise<number> {
  const [id = ''] = options.words
  await withAccess(options, ({ control, actor }) => removeGrant(control, actor, id))
  print(`removed grant ${id}`)
  return 0
}

function printGrant(record: GrantRecord, { switches }: CommandOptions): number {
  if (switches.has('json')) {
    printJson(documentOf(record))
    return 0
  }
  printFields({
    grant: record.id,
    description: record.description,
    effect: record.effect,
    subject: record.subject,
    actions: record.actions.join(','),
    repositories: record.repositories,
    tags: record.tags ?? 'all',
    created: record.createdAt,
    by: record.createdBy ?? undefined,
  })
  return 0
}

function documentOf(record: GrantRecord) {
  const { id, effect, subject, actions, repositories, tags } = record
  const { description, createdAt, createdBy } = record
  const rest = { tags, description, createdAt, createdBy }
  return { id, origin: `grant ${id}`, effect, subject, actions, repositories, ...rest }
}

function documentOfFile({ origin, effect, subject, actions, repositories, tags }: Grant) {
  const rest = { tags, description: '', createdAt: undefined, createdBy: undefined }
  return { id: undefined, origin, effect, subject, actions, repositories, ...rest }
}
