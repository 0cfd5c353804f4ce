import { isRepositoryName, parseTag, type RepositoryName, type Tag } from '../../oci/reference.ts'
import { pin, unpin } from '../../registry/pull-through/pins.ts'
import { type Purged, purge } from '../../registry/pull-through/purge.ts'
import { refresh } from '../../registry/pull-through/refresh.ts'
import { insertAuditEvents } from '../../storage/metadata/audit.ts'
import {
  findUsage,
  listKnownUpstreams,
  type UpstreamUsage,
} from '../../storage/metadata/cached-content.ts'
import { findActivity, type StoredActivity } from '../../storage/metadata/upstream-activity.ts'
import { type Access, withAccess } from '../access.ts'
import { showBytes } from '../bytes.ts'
import { contentOf } from '../content.ts'
import { JSON_SWITCH } from '../flags.ts'
import { plural, print, printJson, printTable, type Value } from '../printing.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'

const REPOSITORIES = 'REPOSITORY is what it is called here, such as docker.io/library/alpine.'

export const UPSTREAM_CONTENT_COMMANDS: readonly Command[] = [
  {
    name: 'upstream stats',
    text: 'show what is kept of upstreams, and how they are doing',
    more: `Bytes are those that nobody pushed here as well; saved are those that were served and did not
have to be fetched. Servers bring the numbers up to date every half a minute.`,
    settings: 'taken',
    words: ['[NAME]'],
    switches: JSON_SWITCH,
    run: stats,
  },
  {
    name: 'upstream refresh',
    text: 'let tags be asked for again at their next pull',
    more: REPOSITORIES,
    settings: 'taken',
    words: ['NAME|REPOSITORY[:TAG]'],
    run: refreshTags,
  },
  {
    name: 'upstream pin',
    text: 'keep what was pulled, whatever room is needed',
    more: `${REPOSITORIES}
With a tag only what it names is kept, as far as it was pulled.`,
    settings: 'taken',
    words: ['REPOSITORY[:TAG]'],
    run: (options) => setPinned(options, true),
  },
  {
    name: 'upstream unpin',
    text: 'let what was pinned be evicted again',
    more: REPOSITORIES,
    settings: 'taken',
    words: ['REPOSITORY[:TAG]'],
    run: (options) => setPinned(options, false),
  },
  {
    name: 'upstream purge',
    text: 'remove what is kept of an upstream, pinned or not',
    more: `${REPOSITORIES}
Nothing that was pushed here goes. Servers delete the bytes soon afterwards.`,
    settings: 'taken',
    words: ['NAME|REPOSITORY'],
    switches: JSON_SWITCH,
    run: purgeContent,
  },
]

const TITLES = [
  'NAME',
  'REPOSITORIES',
  'MANIFESTS',
  'BLOBS',
  'SIZE',
  'HITS',
  'MISSES',
  'HIT RATIO',
  'SAVED',
  'BUDGET',
  'STATE',
  'LAST ERROR',
]

interface Statistics {
  readonly name: string
  readonly usage: UpstreamUsage
  /** Undefined when nothing was asked of it. */
  readonly activity: StoredActivity | undefined
}

async function stats(options: CommandOptions): Promise<number> {
  const [wanted] = options.words
  const all = await withAccess(options, async (access) => {
    const { db } = access.control
    const known = await upstreamNames(access)
    if (wanted !== undefined && !known.includes(wanted)) {
      throw new Error(`there is no upstream ${wanted}`)
    }
    const names = known.filter((name) => wanted === undefined || name === wanted)
    const found: Statistics[] = []
    for (const name of names) {
      found.push({ name, usage: await findUsage(db, name), activity: await findActivity(db, name) })
    }
    return found
  })
  if (options.switches.has('json')) {
    for (const each of all) printJson(documentOf(each))
    return 0
  }
  printTable(TITLES, all.map(rowOf), 'there are no upstreams')
  return 0
}

/** Those of the configuration, and all of which anything is known, in byte order. */
async function upstreamNames({ control, config }: Access): Promise<string[]> {
  const known = await listKnownUpstreams(control.db)
  return [...new Set([...known, ...config.upstreams.map(({ name }) => name)])].toSorted()
}

function rowOf({ name, usage, activity }: Statistics): readonly Value[] {
  const { hits = 0, misses = 0, budget, lastError } = activity ?? {}
  return [
    name,
    String(usage.repositories),
    String(usage.manifests),
    String(usage.blobs),
    showBytes(usage.bytes),
    String(hits),
    String(misses),
    hits + misses === 0 ? undefined : `${Math.round(ratioOf(hits, misses) * 100)} %`,
    showBytes(savedBytes(activity)),
    budget && `${budget.left} of ${budget.limit}`,
    stateOf(activity),
    lastError && `${lastError.at.toISOString().slice(0, 19)}Z ${lastError.message}`,
  ]
}

function documentOf({ name, usage, activity }: Statistics) {
  const { hits = 0, misses = 0, stale = 0, servedBytes = 0, fetchedBytes = 0 } = activity ?? {}
  return {
    name,
    ...usage,
    hits,
    misses,
    stale,
    hitRatio: hits + misses === 0 ? undefined : ratioOf(hits, misses),
    servedBytes,
    fetchedBytes,
    savedBytes: savedBytes(activity),
    evictedBytes: activity?.evictedBytes ?? 0,
    budget: activity?.budget,
    brokenUntil: brokenUntil(activity),
    lastError: activity?.lastError,
  }
}

function ratioOf(hits: number, misses: number): number {
  return hits / (hits + misses)
}

/** A client that asks for less than was fetched for it saves nothing. */
function savedBytes(activity: StoredActivity | undefined): number {
  return Math.max(0, (activity?.servedBytes ?? 0) - (activity?.fetchedBytes ?? 0))
}

function stateOf(activity: StoredActivity | undefined): string {
  const until = brokenUntil(activity)
  return until === undefined ? 'ok' : `broken until ${until.toISOString().slice(0, 19)}Z`
}

/** Undefined when that is over. */
function brokenUntil(activity: StoredActivity | undefined): Date | undefined {
  const until = activity?.brokenUntil
  return until !== undefined && until.getTime() > Date.now() ? until : undefined
}

async function refreshTags(options: CommandOptions): Promise<number> {
  const [word = ''] = options.words
  const refreshed = await onContent(options, 'upstream.refresh', async (registry, access) => {
    return refresh(registry, await targetOf(access, word))
  })
  print(`${plural(refreshed, 'tag')} of ${word} will be asked for again`)
  return 0
}

async function setPinned(options: CommandOptions, pinned: boolean): Promise<number> {
  const [word = ''] = options.words
  const { repository, tag } = parseContent(word)
  const action = pinned ? 'upstream.pin' : 'upstream.unpin'
  await onContent(options, action, (registry) => {
    return pinned ? pin(registry, repository, tag) : unpin(registry, repository, tag)
  })
  print(`${pinned ? 'pinned' : 'unpinned'} ${word}`)
  return 0
}

async function purgeContent(options: CommandOptions): Promise<number> {
  const [word = ''] = options.words
  const purged: Purged = await onContent(options, 'upstream.purge', async (registry, access) => {
    const target = await targetOf(access, word)
    if ('tag' in target) throw new UsageError(`${word}: expected an upstream or a repository`)
    return purge(registry, target)
  })
  if (options.switches.has('json')) {
    printJson({ name: word, ...purged })
    return 0
  }
  const blobs = `${plural(purged.blobs, 'blob')} of ${showBytes(purged.bytes)}`
  print(`purged ${word}: ${plural(purged.manifests, 'manifest')}, ${blobs}`)
  return 0
}

/** What the operations on content work on, in a command. */
function onContent<T>(
  options: CommandOptions,
  action: string,
  work: (registry: ContentRegistry, access: Access) => Promise<T>,
): Promise<T> {
  return withAccess(options, async (access) => {
    const registry = contentOf(access)
    const { db } = registry
    const result = await work(registry, access)
    const [target = ''] = options.words
    await insertAuditEvents(db, [{ actor: access.actor.subject, action, target, result: 'done' }])
    return result
  })
}

type ContentRegistry = ReturnType<typeof contentOf>

type Target =
  | { readonly upstream: string }
  | { readonly repository: RepositoryName; readonly tag?: Tag }

/** @throws Error for an upstream that nobody knows, UsageError, RegistryError TAG_INVALID */
async function targetOf(access: Access, word: string): Promise<Target> {
  const names = await upstreamNames(access)
  if (names.includes(word)) return { upstream: word }
  if (!word.includes('/')) throw new Error(`there is no upstream ${word}`)
  return parseContent(word)
}

/** `docker.io/library/alpine:3.20` @throws UsageError, RegistryError TAG_INVALID */
function parseContent(word: string): { readonly repository: RepositoryName; readonly tag?: Tag } {
  const [repository = '', tag, ...rest] = word.split(':')
  if (!isRepositoryName(repository) || !repository.includes('/') || rest.length > 0) {
    throw new UsageError(`${word}: expected a repository such as docker.io/library/alpine`)
  }
  return tag === undefined ? { repository } : { repository, tag: parseTag(tag) }
}
