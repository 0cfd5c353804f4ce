import { deleteRepository } from '../../registry/repositories.ts'
import {
  type DeletedRepository,
  getDeletedRepositories,
  restoreRepository,
} from '../../registry/undo/restore-repository.ts'
import { JSON_SWITCH } from '../flags.ts'
import { parseRepository } from '../images.ts'
import { allOf, collect } from '../pages.ts'
import { print, printJson, printTable } from '../printing.ts'
import { PERMITTED, withRestoring } from '../restoring.ts'
import type { Command, CommandOptions } from '../usage.ts'

export const REPOSITORY_COMMANDS: readonly Command[] = [
  {
    name: 'repository delete',
    text: 'delete a repository with all it holds',
    more: 'It can be restored for a while, unless it keeps what was pulled from an upstream.',
    settings: 'taken',
    words: ['NAME'],
    run: remove,
  },
  {
    name: 'repository deleted',
    text: 'list repositories that can be restored',
    more: 'Of several of one name the one that was deleted last.',
    settings: 'taken',
    switches: JSON_SWITCH,
    run: list,
  },
  {
    name: 'repository restore',
    text: 'restore the repository of a name that was deleted last',
    settings: 'taken',
    words: ['NAME'],
    values: { as: { value: 'NAME', text: 'Another name than it had.' } },
    run: restore,
  },
]

const EVERY_NAME = { all: [], none: [] }

async function remove(options: CommandOptions): Promise<number> {
  const repository = parseRepository(options.words[0] ?? '')
  await withRestoring(options, async ({ registry, actor, record }) => {
    await deleteRepository(registry, repository, { actor, permits: PERMITTED })
    await record({ action: 'repository.delete', repository })
  })
  print(`deleted ${repository}`)
  return 0
}

async function list(options: CommandOptions): Promise<number> {
  const deleted: DeletedRepository[] = await withRestoring(options, ({ registry }) =>
    collect(
      allOf(
        (page) => getDeletedRepositories(registry, page, EVERY_NAME),
        ({ name }) => name,
      ),
    ),
  )
  if (options.switches.has('json')) {
    deleted.forEach(printJson)
    return 0
  }
  printTable(
    ['NAME', 'DELETED', 'BY', 'RESTORABLE UNTIL'],
    deleted.map(({ name, deletedAt, deletedBy, until }) => [
      name,
      deletedAt,
      deletedBy ?? undefined,
      until,
    ]),
    'there are no deleted repositories',
  )
  return 0
}

async function restore(options: CommandOptions): Promise<number> {
  const repository = parseRepository(options.words[0] ?? '')
  const as = parseRepository(options.values['as'] ?? repository)
  await withRestoring(options, async ({ registry, record }) => {
    await restoreRepository(registry, repository, { as, permits: PERMITTED })
    await record({ action: 'repository.restore', repository, target: as })
  })
  print(as === repository ? `restored ${repository}` : `restored ${repository} as ${as}`)
  return 0
}
