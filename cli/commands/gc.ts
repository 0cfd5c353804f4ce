import { setTimeout as sleep } from 'node:timers/promises'
import { parseDigest } from '../../oci/digest.ts'
import { isRepositoryName, parseTag } from '../../oci/reference.ts'
import {
  type Freed,
  previewCollection,
  type RunTerms,
  runCollection,
  runElsewhere,
} from '../../registry/garbage/run.ts'
import { getGarbageStatus, type QueueState } from '../../registry/garbage/status.ts'
import { type Explanation, explainKeeping, type Keeper } from '../../registry/garbage/why.ts'
import { openBlobStore } from '../../server/blob-store.ts'
import { keepingOf } from '../../server/keeping.ts'
import { insertAuditEvents } from '../../storage/metadata/audit.ts'
import { findTag } from '../../storage/metadata/tags.ts'
import { type Access, withAccess } from '../access.ts'
import { showBytes } from '../bytes.ts'
import { contentOf } from '../content.ts'
import { JSON_SWITCH } from '../flags.ts'
import { parseRepository } from '../images.ts'
import { harmless, plural, print, printJson, printTable, remark } from '../printing.ts'
import { createQuietLog } from '../quiet-log.ts'
import { type Command, type CommandOptions, UsageError } from '../usage.ts'

export const GC_COMMANDS: readonly Command[] = [
  {
    name: 'gc status',
    text: 'show what waits to be collected, and what was freed',
    settings: 'taken',
    switches: JSON_SWITCH,
    run: status,
  },
  {
    name: 'gc why',
    text: 'tell what keeps a manifest or a blob, or when it goes',
    settings: 'taken',
    words: ['REPOSITORY@DIGEST|REPOSITORY:TAG'],
    switches: JSON_SWITCH,
    run: why,
  },
  {
    name: 'gc run',
    text: 'collect now what servers collect by themselves',
    more: `Nothing goes that something keeps: what can be restored stays until it no longer can, and what was
pushed, or found by a client that pushes, stays for gc.graceSeconds.
With REPOSITORY only what is in that one is hurried.`,
    settings: 'taken',
    words: ['[REPOSITORY]'],
    switches: {
      now: 'Do not wait where nothing keeps it: not after a manifest, nor after a failure.',
      'forget-deleted': 'Give up what could be restored. It implies --now.',
      'dry-run': 'Only tell what would be freed.',
      ...JSON_SWITCH,
    },
    run,
  },
]

async function status(options: CommandOptions): Promise<number> {
  const found = await withAccess(options, ({ control }) => getGarbageStatus(control))
  if (options.switches.has('json')) {
    printJson(found)
    return 0
  }
  const titles = ['KIND', 'DUE', 'WAITING', 'FAILING', 'NEXT', 'LAST ERROR']
  printTable(titles, found.queue.map(rowOf), 'nothing waits to be collected')
  const { deleting } = found
  if (deleting.blobs > 0) print(`being deleted: ${showBlobs(deleting)}`)
  print(`freed today: ${showFreed(found.freedToday)}`)
  print(`freed in 30 days: ${showFreed(found.freedLately)}`)
  return 0
}

function rowOf({ kind, due, waiting, failing, nextDueAt, lastError }: QueueState) {
  const next = nextDueAt ?? undefined
  return [kind, `${due}`, `${waiting}`, `${failing}`, next, lastError ?? undefined]
}

function showFreed({ manifests, ...blobs }: Freed): string {
  return `${showBlobs(blobs)}, ${plural(manifests, 'manifest')}`
}

function showBlobs({ blobs, bytes }: Pick<Freed, 'blobs' | 'bytes'>): string {
  return `${showBytes(bytes)} in ${plural(blobs, 'blob')}`
}

async function why(options: CommandOptions): Promise<number> {
  const [word = ''] = options.words
  const explained = await withAccess(options, async ({ control: { db }, config }) => {
    const [repository, digest] = await parseContent(db, word)
    return explainKeeping({ db, keeping: keepingOf(config) }, repository, digest)
  })
  if (options.switches.has('json')) printJson(explained)
  else printExplanation(explained)
  return 0
}

/** @throws UsageError, RegistryError TAG_INVALID, DIGEST_INVALID, Error when there is no such tag */
async function parseContent(db: Access['control']['db'], word: string) {
  const [, name = '', separator, reference = ''] = /^([^@:]*)([@:])(.*)$/.exec(word) ?? []
  if (!isRepositoryName(name)) {
    throw new UsageError(`${word}: expected a manifest or blob such as team/app@sha256:…`)
  }
  if (separator === '@') return [name, parseDigest(reference)] as const
  const digest = await findTag(db, name, parseTag(reference))
  if (digest === undefined) throw new Error(`there is no tag ${word}`)
  return [name, digest] as const
}

function printExplanation({ kind, digest, state, path, keeper, ...times }: Explanation): void {
  print(`${kind} ${digest}${state === 'live' ? '' : `, ${state}`}`)
  for (const step of path) print(`  ${step.via} ${step.repository}@${step.digest}`)
  print(`  ${keeper === undefined ? 'kept by nothing' : harmless(showKeeper(keeper))}`)
  if (times.goesAt !== undefined) print(`goes at ${showTime(times.goesAt)}, or a little later`)
  if (times.lastError !== undefined) print(`failed last: ${harmless(times.lastError)}`)
}

function showKeeper({ kind, detail, until }: Keeper): string {
  const end = until === null ? '' : ` until ${showTime(until)}`
  const texts: Record<Keeper['kind'], string> = {
    tag: `tagged ${detail}`,
    policy: 'kept without a tag, as the rules say',
    pinned: `pinned, in ${detail}`,
    history: `was tagged ${detail}, which can be restored${end}`,
    deleted: `deleted${detail === null ? '' : `, with its ${detail}`}, and can be restored${end}`,
    lease: `leased by ${detail}${end}`,
    recent: `pushed or asked for lately, and kept${end}`,
    unnamed: `its last manifest went a short while ago, and it is kept${end}`,
  }
  return texts[kind]
}

function showTime(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`
}

async function run(options: CommandOptions): Promise<number> {
  const terms = termsOf(options)
  const isPreview = options.switches.has('dry-run')
  const freed = await withAccess(options, async (access) => {
    const { control, config, actor } = access
    const keeping = keepingOf(config)
    if (isPreview) return previewCollection({ db: control.db, keeping }, terms)
    const [detail] = options.words
    const event = { actor: actor.subject, action: 'gc.run', result: 'done' as const }
    const how = [...options.switches].filter((name) => name !== 'json').join(', ')
    await insertAuditEvents(control.db, [{ ...event, target: detail ?? '', detail: how }])
    return control.changes === undefined ? runHere(access, terms) : runByServers(access, terms)
  })
  if (options.switches.has('json')) printJson({ dryRun: isPreview, ...freed })
  else print(`${isPreview ? 'would free' : 'freed'} ${showFreed(freed)}`)
  return 0
}

function termsOf({ words: [name], switches }: CommandOptions): RunTerms {
  const forgetsDeleted = switches.has('forget-deleted')
  return {
    repository: name === undefined ? undefined : parseRepository(name),
    now: forgetsDeleted || switches.has('now'),
    forgetsDeleted,
  }
}

/** Without a server: nobody remembers anything. */
async function runHere({ control, config }: Access, terms: RunTerms): Promise<Freed> {
  const { store: blobs, close } = await openBlobStore(config)
  try {
    const rest = { keeping: keepingOf(config), log: createQuietLog(), faultPoint: () => {} }
    return await runCollection({ ...contentOf({ control }), blobs, ...rest }, terms)
  } finally {
    close()
  }
}

const POLL_MS = 500
/** Servers look for garbage more often than that, unless they are told otherwise. */
const PATIENCE_MS = 120_000

/** Servers may go by what they remember, so they do it themselves. */
async function runByServers({ control }: Access, terms: RunTerms): Promise<Freed> {
  const progress = await runElsewhere(control, terms)
  remark('waiting for the servers to collect …')
  let last = await progress()
  let since = performance.now()
  while (!last.isDone) {
    await sleep(POLL_MS)
    const now = await progress()
    if (now.manifests > last.manifests || now.blobs > last.blobs) since = performance.now()
    last = now
    if (performance.now() - since > PATIENCE_MS) {
      throw new Error('no server collects: slipway gc status tells what waits and what fails')
    }
  }
  const { manifests, blobs, bytes } = last
  return { manifests, blobs, bytes }
}
