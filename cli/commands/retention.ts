import { randomUUID } from 'node:crypto'
import { RegistryError } from '../../oci/errors.ts'
import { checkRepositoryGlob } from '../../oci/glob.ts'
import {
  type Difference,
  getRetentionRuns,
  type JudgedTag,
  type Plan,
  planRetention,
  type RetentionRun,
} from '../../registry/retention/plan.ts'
import {
  RetentionRefused,
  type RetentionRegistry,
  runRetention,
} from '../../registry/retention/run.ts'
import { openRetention } from '../../server/retention.ts'
import { type Access, withAccess } from '../access.ts'
import { showBytes } from '../bytes.ts'
import { contentOf } from '../content.ts'
import { JSON_SWITCH } from '../flags.ts'
import { plural, print, printJson, printTable, remark, type Value } from '../printing.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'

export const RETENTION_COMMANDS: readonly Command[] = [
  {
    name: 'retention plan',
    text: 'show which tags the rules of retention delete, and which they keep',
    more: `It deletes nothing. A plan of all repositories is what runs may do: as many tags as it would delete,
by the same rules. Runs of servers begin an hour later at the earliest.`,
    settings: 'taken',
    words: ['[REPOSITORY-GLOB]'],
    switches: { all: 'Show the tags as well that no rule deletes.', ...JSON_SWITCH },
    run: plan,
  },
  {
    name: 'retention run',
    text: 'delete what the rules delete, if that is no more than was planned',
    more: `What it deletes can be restored: slipway tag restore --retention-since 1h '**'`,
    settings: 'taken',
    values: {
      consent: { value: 'COUNT', text: 'So many tags may go, be it more than the last plan says.' },
    },
    switches: JSON_SWITCH,
    run,
  },
  {
    name: 'retention history',
    text: 'list the plans and runs, the latest first',
    settings: 'taken',
    switches: JSON_SWITCH,
    run: history,
  },
]

/** What plans and runs work on, in a command. */
function registryOf({ control, config }: Access): RetentionRegistry {
  return {
    ...contentOf({ control }),
    retention: openRetention(config, control),
    uploadLocks: { writer: randomUUID() },
    faultPoint: () => {},
  }
}

async function plan(options: CommandOptions): Promise<number> {
  const [glob] = options.words
  if (glob !== undefined) checkGlob(glob)
  const all = options.switches.has('all')
  const isJson = options.switches.has('json')
  const tables = new Tables()
  const onTags = (tags: readonly JudgedTag[]) => {
    for (const tag of tags.filter(({ isNamed }) => isNamed || all)) {
      if (isJson) printJson(documentOf(tag))
      else tables.add(tag)
    }
  }
  await withAccess(options, async (access) => {
    const registry = registryOf(access)
    if (!registry.retention.rules.deletes) remark('no rule of retention deletes anything')
    const made = await planRetention(registry, { actor: access.actor, glob, all, onTags })
    tables.end()
    if (isJson) printJson(sumOf(made))
    else printSum(made)
  })
  return 0
}

/** @throws UsageError */
function checkGlob(glob: string): void {
  try {
    checkRepositoryGlob(glob)
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    throw new UsageError(`${glob}: expected a glob of repositories such as team/**`)
  }
}

function documentOf({ repository, tag, digest, deletes, rule, reason, ...rest }: JudgedTag) {
  const { pushedAt, pulledAt } = rest
  return { repository, tag, digest, deleted: deletes, rule, reason, pushedAt, pulledAt }
}

const ROWS = 1000

/** There may be a million tags: each thousand is a table. */
class Tables {
  #rows: (readonly Value[])[] = []

  add({ repository, tag, deletes, rule, reason }: JudgedTag): void {
    this.#rows.push([deletes ? 'delete' : 'keep', `${repository}:${tag}`, rule, reason])
    if (this.#rows.length === ROWS) this.end()
  }

  end(): void {
    if (this.#rows.length > 0) printTable(['WHAT', 'TAG', 'RULE', 'WHY'], this.#rows, '')
    this.#rows = []
  }
}

function printSum({ run: { glob, deleted, kept }, bytes, isAtLeast, ...made }: Plan): void {
  const { repositories, difference } = made
  if (repositories.length > 0) {
    print('')
    printTable(
      ['REPOSITORY', 'DELETED', 'KEPT', 'FREED'],
      repositories.map((sum) => [
        sum.repository,
        `${sum.deleted}`,
        `${sum.kept}`,
        showBytes(sum.bytes),
      ]),
      '',
    )
    print('')
  }
  const freed = `${isAtLeast ? 'at least ' : ''}${showBytes(bytes)}`
  print(`${plural(deleted, 'tag')} to delete, ${kept} to keep; that frees ${freed}`)
  if (difference !== undefined) printDifference(difference)
  if (glob !== undefined) print('This is a part: it does not say how much a run may delete.')
}

const SHOWN_CHANGES = 20

function printDifference({ since, deleted, bytes, added, dropped }: Difference): void {
  const at = `${since.toISOString().slice(0, 19).replace('T', ' ')}Z`
  const more = `${deleted < 0 ? '' : '+'}${deleted}`
  const freed = `${bytes < 0 ? '-' : '+'}${showBytes(Math.abs(bytes))}`
  print(`Since the last plan, of ${at}: ${more} to delete, ${freed}`)
  printChanges('now to be deleted', added)
  printChanges('not any more', dropped)
}

function printChanges(what: string, tags: readonly string[] | undefined): void {
  if (tags === undefined || tags.length === 0) return
  const shown = tags.slice(0, SHOWN_CHANGES)
  const others = tags.length > shown.length ? [`and ${tags.length - shown.length} others`] : []
  print(`  ${what}: ${[...shown, ...others].join(', ')}`)
}

function sumOf({ run: { id, at, glob, kept, deleted }, bytes, isAtLeast, ...made }: Plan) {
  const { repositories, difference } = made
  return { plan: id, at, glob, kept, deleted, bytes, isAtLeast, repositories, difference }
}

async function run(options: CommandOptions): Promise<number> {
  const consent = consentOf(options)
  const done = await withAccess(options, async (access) => {
    try {
      return await runRetention(registryOf(access), { actor: access.actor, consent })
    } catch (error) {
      if (!(error instanceof RetentionRefused)) throw error
      throw advised(error)
    }
  })
  if (options.switches.has('json')) printJson(done)
  else
    print(`deleted ${plural(done.deleted, 'tag')}; in the end that frees ${showBytes(done.bytes)}`)
  return 0
}

function advised({ message, wouldDelete }: RetentionRefused): Error {
  const lines = [
    `nothing was deleted: ${message}`,
    'slipway retention plan shows what it would delete, and allows it',
  ]
  if (wouldDelete !== undefined) {
    lines.push(`slipway retention run --consent ${wouldDelete} deletes it without a look`)
  }
  return new Error(lines.join('\n  '))
}

const MOST = 2 ** 31 - 1

/** @throws UsageError */
function consentOf({ values: { consent: text } }: CommandOptions): number | undefined {
  if (text === undefined) return undefined
  const count = Number(text)
  if (/^\d{1,10}$/.test(text) && count <= MOST) return count
  throw new UsageError(`--consent ${text}: expected a number of tags`)
}

const PAGE = 100

async function history(options: CommandOptions): Promise<number> {
  const runs: RetentionRun[] = []
  await withAccess(options, async ({ control }) => {
    for (let before = ''; ; ) {
      const page = await getRetentionRuns(control, { before, limit: PAGE })
      runs.push(...page)
      if (page.length < PAGE) return
      before = page.at(-1)?.id ?? ''
    }
  })
  if (options.switches.has('json')) {
    for (const each of runs) printJson(each)
    return 0
  }
  printTable(
    ['ID', 'WHAT', 'TIME', 'BY', 'REPOSITORIES', 'DELETED', 'KEPT', 'FREED'],
    runs.map(({ id, kind, at, actor, glob, deleted, kept, bytes }) => [
      id,
      kind,
      at,
      actor ?? 'anonymous',
      glob ?? 'all',
      `${deleted}`,
      `${kept}`,
      showBytes(bytes),
    ]),
    'there are no plans and no runs',
  )
  return 0
}
