import { compileGlob } from '../../oci/glob.ts'
import { insertAuditEvents } from '../../storage/metadata/audit.ts'
import { currentTime } from '../../storage/metadata/retention.ts'
import {
  findLastPlan,
  listRetentionRuns,
  type RetentionRun,
} from '../../storage/metadata/retention-runs.ts'
import type { Registry } from '../registry.ts'
import { documentOf, type Foreseen, foresee } from './foresee.ts'
import { recordRun } from './record.ts'
import type { Requester } from './requester.ts'
import type { JudgedTag } from './survey.ts'

export type { JudgedTag, RetentionRun }

export interface PlanRequest {
  readonly actor: Requester
  /** Of repositories; undefined: all. A plan for some repositories allows no run anything. */
  readonly glob?: string | undefined
  /** Whether the tags of repositories of which no rule deletes any are told as well. */
  readonly all?: boolean
  /** Is told each tag, page by page, while the plan is made. */
  readonly onTags?: (tags: readonly JudgedTag[]) => Promise<void> | void
  readonly signal?: AbortSignal
}

export interface Plan extends Foreseen {
  /** As it was recorded. */
  readonly run: RetentionRun
  /** What is other than in the last plan; undefined when there was none of the same rules. */
  readonly difference: Difference | undefined
}

export interface Difference {
  /** When the last plan was made. */
  readonly since: Date
  /** So many more, or fewer, than then. */
  readonly deleted: number
  readonly bytes: number
  /** `repository:tag` each; undefined where either plan has too many to be told. */
  readonly added: readonly string[] | undefined
  /** Those that went meanwhile, or are to stay now. */
  readonly dropped: readonly string[] | undefined
}

/**
 * Judges every tag by the rules, and records what they would do: that, and nothing else, is written.
 * Later runs may delete as many.
 */
export async function planRetention(
  registry: Pick<Registry, 'db' | 'retention'>,
  { actor, glob, ...request }: PlanRequest,
): Promise<Plan> {
  const { db, retention } = registry
  const rules = retention.rules.fingerprint
  const last = await findLastPlan(db, { rules, glob, olderThanSeconds: 0 })
  const foreseen = await foresee(registry, {
    ...request,
    terms: { now: await currentTime(db), protects: await retention.protection() },
    wanted: glob === undefined ? () => true : compileGlob(glob),
  })
  const { kept, deleted, bytes } = foreseen
  const document = documentOf(rules, foreseen, glob)
  const run = await recordRun(db, {
    kind: 'plan',
    actor: actor.subject,
    kept,
    deleted,
    bytes,
    document,
  })
  const { subject, address, requestId } = actor
  const event = { action: 'retention.plan', actor: subject, address, requestId, target: run.id }
  await insertAuditEvents(db, [{ ...event, result: 'done', detail: `${deleted} tags to delete` }])
  return { ...foreseen, run, difference: last && differenceFrom(last, foreseen) }
}

function differenceFrom(
  last: NonNullable<Awaited<ReturnType<typeof findLastPlan>>>,
  { deleted, bytes, tags, isWhole }: Foreseen,
): Difference {
  const isKnown = isWhole && last.document.isWhole
  const [before, now] = [new Set(last.document.tags), new Set(tags)]
  return {
    since: last.at,
    deleted: deleted - last.deleted,
    bytes: bytes - last.bytes,
    added: isKnown ? tags.filter((tag) => !before.has(tag)) : undefined,
    dropped: isKnown ? last.document.tags.filter((tag) => !now.has(tag)) : undefined,
  }
}

/** One page of plans and runs, the newest first: those with ids below `before`, '' to begin. */
export function getRetentionRuns(
  { db }: Pick<Registry, 'db'>,
  page: { readonly before: string; readonly limit: number },
): Promise<RetentionRun[]> {
  return listRetentionRuns(db, page)
}
