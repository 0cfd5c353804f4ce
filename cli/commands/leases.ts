import { addLease, getLeases, type Lease, removeLease } from '../../registry/leases.ts'
import { JSON_SWITCH } from '../flags.ts'
import { parseImageDigest, parseRepository } from '../images.ts'
import { allOf, collect } from '../pages.ts'
import { print, printFields, printJson, printTable } from '../printing.ts'
import { withRestoring } from '../restoring.ts'
import { parseExpiry } from '../times.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'

const HOLDER = {
  holder: { value: 'NAME', text: 'Who needs it, such as cluster:prod.' },
} as const

export const LEASE_COMMANDS: readonly Command[] = [
  {
    name: 'lease add',
    text: 'keep a manifest or a blob for some time, or renew that',
    more: 'It is kept whatever becomes of the tags that name it. What is deleted stays deleted.',
    settings: 'taken',
    words: ['REPOSITORY@DIGEST'],
    switches: JSON_SWITCH,
    values: {
      ...HOLDER,
      for: { value: 'SPAN', text: 'How long from now, such as 7d, or until when.' },
    },
    run: add,
  },
  {
    name: 'lease list',
    text: 'list leases that are not over, the oldest first',
    settings: 'taken',
    words: ['[REPOSITORY]'],
    switches: JSON_SWITCH,
    run: list,
  },
  {
    name: 'lease remove',
    text: 'end a lease before its time',
    settings: 'taken',
    words: ['REPOSITORY@DIGEST'],
    values: HOLDER,
    run: remove,
  },
]

async function add(options: CommandOptions): Promise<number> {
  const image = parseImageDigest(options.words[0] ?? '')
  const holder = required(options, 'holder')
  const seconds = (parseExpiry(required(options, 'for')).getTime() - Date.now()) / 1000
  const lease = await withRestoring(options, async ({ registry, actor, record }) => {
    const added = await addLease(registry, { ...image, holder, seconds, actor })
    await record({ action: 'lease.add', repository: image.repository, target: image.digest })
    return added
  })
  if (options.switches.has('json')) printJson(lease)
  else printFields(fieldsOf(lease))
  return 0
}

function fieldsOf({ repository, digest, holder, expiresAt, createdAt, createdBy }: Lease) {
  const by = createdBy ?? undefined
  return { repository, digest, holder, expires: expiresAt, created: createdAt, by }
}

async function list(options: CommandOptions): Promise<number> {
  const [word] = options.words
  const repository = word === undefined ? undefined : parseRepository(word)
  const leases = await withRestoring(options, ({ registry }) =>
    collect(
      allOf(
        (page) => getLeases(registry, repository, page),
        ({ id }) => id,
      ),
    ),
  )
  if (options.switches.has('json')) {
    leases.forEach(printJson)
    return 0
  }
  printTable(
    ['REPOSITORY', 'DIGEST', 'HOLDER', 'EXPIRES', 'CREATED', 'BY'],
    leases.map((lease) => Object.values(fieldsOf(lease))),
    'there are no leases',
  )
  return 0
}

async function remove(options: CommandOptions): Promise<number> {
  const word = options.words[0] ?? ''
  const image = parseImageDigest(word)
  const holder = required(options, 'holder')
  await withRestoring(options, async ({ registry, record }) => {
    await removeLease(registry, { ...image, holder })
    await record({ action: 'lease.remove', repository: image.repository, target: image.digest })
  })
  print(`removed the lease of ${holder} on ${word}`)
  return 0
}

/** @throws UsageError when the flag was not given */
function required({ values }: CommandOptions, flag: string): string {
  const value = values[flag]
  if (value === undefined || value === '') throw new UsageError(`--${flag} is missing`)
  return value
}
