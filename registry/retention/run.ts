import { insertAuditEvents } from '../../storage/metadata/audit.ts'
import { currentTime } from '../../storage/metadata/retention.ts'
import { findLastPlan, type RetentionRun } from '../../storage/metadata/retention-runs.ts'
import type { Registry } from '../registry.ts'
import { type Claim, claimRun } from './claim.ts'
import { type Deleted, type Deleting, deleteTags } from './delete.ts'
import { documentOf, type Foreseen, foresee } from './foresee.ts'
import { recordRun } from './record.ts'
import type { Requester } from './requester.ts'

/** What runs work on, in a server or in a command. */
export type RetentionRegistry = Deleting & {
  /** Names the process: a UUID. */
  readonly uploadLocks: Pick<Registry['uploadLocks'], 'writer'>
}

export interface RunRequest {
  /** Who wants it. */
  readonly actor: Requester
  /** So many tags may go, whatever the last plan said. */
  readonly consent?: number | undefined
  /** A plan counts only when it is that old: there was time to look at it. */
  readonly planSeconds?: number
  readonly signal?: AbortSignal
}

/** The run did not begin, and nothing was deleted. */
export class RetentionRefused extends Error {
  override readonly name = 'RetentionRefused'
  /** Tags that it would have deleted; undefined when that was not found out. */
  readonly wouldDelete: number | undefined

  constructor(message: string, wouldDelete?: number) {
    super(message)
    this.wouldDelete = wouldDelete
  }
}

/**
 * Does what the rules say now, unless that is more than somebody was shown: a run deletes at most as
 * many tags as the last plan of the same rules was to delete, or as the consent says. What goes can be
 * restored for as long as any deleted tag.
 *
 * @throws RetentionRefused before anything is deleted
 */
export async function runRetention(
  registry: RetentionRegistry,
  request: RunRequest,
): Promise<RetentionRun> {
  const run = await runWhenDue(registry, { ...request, everySeconds: 0 })
  if (run !== undefined) return run
  throw new RetentionRefused('a run is under way, or was cut off within the last five minutes')
}

/**
 * The same unless the last run, whoever did it, ended less than `everySeconds` ago.
 *
 * @returns undefined when it did, or one is under way
 */
export async function runWhenDue(
  registry: RetentionRegistry,
  { everySeconds, ...request }: RunRequest & { readonly everySeconds: number },
): Promise<RetentionRun | undefined> {
  const { db } = registry
  const { subject: actor, address, requestId } = request.actor
  const claim = await claimRun(db, registry.uploadLocks.writer, everySeconds)
  if (claim === undefined) return undefined
  const event = { action: 'retention.run', actor, address, requestId }
  try {
    const run = await runClaimed(registry, request, claim)
    const detail = `${run.deleted} tags deleted`
    await insertAuditEvents(db, [{ ...event, target: run.id, result: 'done', detail }])
    await claim.finish()
    return run
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    const result = error instanceof RetentionRefused ? 'denied' : 'failed'
    // What went wrong may be the database, and is to be told all the same.
    await insertAuditEvents(db, [{ ...event, result, detail }]).catch(() => {})
    if (error instanceof RetentionRefused) await claim.finish()
    throw error
  }
}

async function runClaimed(
  registry: RetentionRegistry,
  { actor, consent, planSeconds = 0, signal }: RunRequest,
  claim: Claim,
): Promise<RetentionRun> {
  const { db, retention } = registry
  const wanted = { rules: retention.rules.fingerprint, glob: undefined }
  const plan = await findLastPlan(db, { ...wanted, olderThanSeconds: planSeconds })
  if (plan === undefined && consent === undefined) {
    throw new RetentionRefused('there is no plan of these rules that somebody could have looked at')
  }
  const terms = { now: await currentTime(db), protects: await retention.protection() }
  const onTags = () => claim.renew()
  const foreseen = await foresee(registry, { terms, wanted: () => true, onTags, signal })
  const most = Math.max(plan?.deleted ?? 0, consent ?? 0)
  if (foreseen.deleted > most) throw beyond(foreseen.deleted, plan, consent)
  const repositories = new Set(foreseen.repositories.map(({ repository }) => repository))
  const limits = { actor: actor.subject, most, terms, claim, signal }
  const deleted = await deleteTags(registry, repositories, limits)
  const run = await record(registry, foreseen, { actor: actor.subject, deleted })
  if (deleted.error !== undefined) throw deleted.error
  return run
}

function beyond(
  wouldDelete: number,
  plan: RetentionRun | undefined,
  consent: number | undefined,
): RetentionRefused {
  const planned = plan && `the last plan was to delete ${plan.deleted}`
  const agreed = consent !== undefined && `the consent is for ${consent}`
  const why = [planned, agreed].filter(Boolean).join(', and ')
  return new RetentionRefused(`it would delete ${wouldDelete} tags; ${why}`, wouldDelete)
}

interface Outcome {
  readonly actor: string | undefined
  readonly deleted: Deleted
}

async function record(
  { db, retention }: Pick<Registry, 'db' | 'retention'>,
  foreseen: Foreseen,
  { actor, deleted }: Outcome,
): Promise<RetentionRun> {
  const { repositories, kept } = foreseen
  return recordRun(db, {
    kind: 'run',
    actor,
    kept: kept + Math.max(0, foreseen.deleted - deleted.count),
    deleted: deleted.count,
    // Of all that was foreseen: what was kept at the last moment is not worth finding out.
    bytes: deleted.count === 0 ? 0 : foreseen.bytes,
    document: documentOf(retention.rules.fingerprint, { ...deleted, repositories }),
  })
}
