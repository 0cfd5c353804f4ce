import { parseDigest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'
import { restoreRun } from '../../registry/undo/restore-run.ts'
import { restoreManifest, restoreTag } from '../../registry/undo/restore-tag.ts'
import { getTagHistory, type NamedDigest, type TagChange } from '../../registry/undo/tag-history.ts'
import { JSON_SWITCH, LIMIT, limitOf } from '../flags.ts'
import { parseImage } from '../images.ts'
import { print, printJson, printTable } from '../printing.ts'
import { PERMITTED, withRestoring } from '../restoring.ts'
import { parseMoment } from '../times.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'

const PAGE = 1000

export const TAG_COMMANDS: readonly Command[] = [
  {
    name: 'tag history',
    text: 'list what tags named, the last change first',
    more: 'RESTORABLE tells how long the tag can be restored to what it named before.',
    settings: 'taken',
    words: ['REPOSITORY[:TAG]'],
    switches: JSON_SWITCH,
    values: {
      ...LIMIT,
    },
    run: history,
  },
  {
    name: 'tag restore',
    text: 'let a tag name again what it named before',
    more: `A tag that was deleted comes back, one that was moved goes back. With a digest a manifest comes
back that was deleted by it, without a tag.

  slipway tag restore team/app:1.0
  slipway tag restore team/app:1.0 --at 24h
  slipway tag restore team/app@sha256:…
  slipway tag restore --retention-since 24h 'team/**'`,
    settings: 'taken',
    words: ['[REPOSITORY:TAG|REPOSITORY@DIGEST|GLOB]'],
    switches: JSON_SWITCH,
    values: {
      to: { value: 'DIGEST', text: 'What it named at any time before.' },
      at: { value: 'WHEN', text: 'What it named 24h ago as 24h, or at 2027-01-31, in UTC.' },
      'retention-since': {
        value: 'WHEN',
        text: 'Restore what retention deleted since then, in repositories that match the glob.',
      },
    },
    run: restore,
  },
]

async function history(options: CommandOptions): Promise<number> {
  const [word = ''] = options.words
  const { repository, tag, digest } = parseImage(word)
  if (digest !== undefined) throw new UsageError(`${word}: expected REPOSITORY[:TAG]`)
  const limit = limitOf(options)
  const changes: TagChange[] = []
  await withRestoring(options, async ({ registry }) => {
    for (let left = limit; left > 0; ) {
      const before = changes.at(-1)?.id ?? ''
      const request = { tag, before, limit: Math.min(left, PAGE) }
      const page = await getTagHistory(registry, repository, request)
      changes.push(...page)
      left = page.length < PAGE ? 0 : left - page.length
    }
  })
  if (options.switches.has('json')) {
    changes.map(documentOf).forEach(printJson)
    return 0
  }
  printTable(
    ['TIME', 'TAG', 'FROM', 'TO', 'ACTOR', 'CAUSE', 'RESTORABLE'],
    changes.map((change) => [
      change.at,
      change.tag,
      change.from?.digest,
      change.to?.digest,
      change.actor ?? undefined,
      change.cause ?? undefined,
      change.from && restorable(change.from),
    ]),
    'nothing was changed',
  )
  return 0
}

function restorable({ isRestorable, until }: NamedDigest): string | Date {
  if (!isRestorable) return 'no'
  return until ?? 'yes'
}

function documentOf({ id, at, tag, from, to, actor, cause }: TagChange) {
  return { id, at, tag, from: named(from), to: named(to), actor, cause }
}

function named(each: NamedDigest | undefined) {
  return each && { digest: each.digest, restorable: each.isRestorable, until: each.until ?? null }
}

function restore(options: CommandOptions): Promise<number> {
  const { words, values } = options
  const since = values['retention-since']
  if (since !== undefined) return restoreRetention(options, parseMoment(since))
  const [word] = words
  if (word === undefined) throw new UsageError('what is to be restored? See tag restore --help')
  const { tag, digest } = parseImage(word)
  if (tag !== undefined) return restoreOne(options, word)
  if (digest !== undefined) return restoreUntagged(options, word)
  throw new UsageError(`${word}: expected REPOSITORY:TAG or REPOSITORY@DIGEST`)
}

async function restoreOne(options: CommandOptions, word: string): Promise<number> {
  const { repository, tag } = parseImage(word)
  const { to, at } = options.values
  if (to !== undefined && at !== undefined) throw new UsageError('--to or --at, not both')
  const which = { to: to && parseDigest(to), at: at === undefined ? undefined : parseMoment(at) }
  const restored = await withRestoring(options, async ({ registry, actor, record }) => {
    const terms = { to: which.to || undefined, at: which.at, actor, permits: PERMITTED }
    const done = await restoreTag(registry, repository, tag!, terms)
    await record({ action: 'tag.restore', repository, target: tag })
    return done
  })
  const { digest, isChanged, manifests } = restored
  if (options.switches.has('json')) {
    printJson({ repository, tag, digest, changed: isChanged, manifests })
    return 0
  }
  print(isChanged ? `${word} names ${digest} again` : `${word} names ${digest} already`)
  return 0
}

async function restoreUntagged(options: CommandOptions, word: string): Promise<number> {
  const { repository, digest } = parseImage(word)
  const { to, at } = options.values
  if (to !== undefined || at !== undefined) throw new UsageError('--to and --at go with a tag')
  const manifests = await withRestoring(options, async ({ registry, record }) => {
    const count = await restoreManifest(registry, repository, digest!)
    await record({ action: 'tag.restore', repository, target: digest })
    return count
  })
  if (options.switches.has('json')) {
    printJson({ repository, tag: undefined, digest, changed: manifests > 0, manifests })
    return 0
  }
  print(manifests > 0 ? `restored ${word}` : `${word} was there`)
  return 0
}

/** @returns 1 when one of them could not be restored */
async function restoreRetention(options: CommandOptions, since: Date): Promise<number> {
  const { to, at } = options.values
  if (to !== undefined || at !== undefined) throw new UsageError('--to and --at go with a tag')
  const [repositories = '**'] = options.words
  const outcomes = await withRestoring(options, async ({ registry, actor, record }) => {
    const run = { since, repositories, actor, permits: () => PERMITTED }
    const done = await restoreRun(registry, run).catch((error: unknown) => {
      if (error instanceof RegistryError && error.code === 'NAME_INVALID') {
        throw new UsageError(error.details.join('; '))
      }
      throw error
    })
    await record({ action: 'retention.restore', target: `${repositories} ${since.toISOString()}` })
    return done
  })
  if (options.switches.has('json')) {
    outcomes.forEach(printJson)
  } else {
    printTable(
      ['REPOSITORY', 'TAG', 'DIGEST', 'OUTCOME'],
      outcomes.map(({ repository, tag, digest, refusal }) => [
        repository,
        tag,
        digest,
        refusal ?? 'restored',
      ]),
      'retention deleted nothing there since then',
    )
  }
  return outcomes.some(({ refusal }) => refusal !== undefined) ? 1 : 0
}
