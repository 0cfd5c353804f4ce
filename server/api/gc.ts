import { z } from 'zod'
import { parseDigest } from '../../oci/digest.ts'
import { parseRepositoryName } from '../../oci/reference.ts'
import { previewCollection, runCollection } from '../../registry/garbage/run.ts'
import { getGarbageStatus } from '../../registry/garbage/status.ts'
import { explainKeeping, type Keeper } from '../../registry/garbage/why.ts'
import { recording } from '../http/trail.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { showTime, time } from './fields.ts'

const freed = z.strictObject({
  manifests: z.number(),
  blobs: z.number(),
  bytes: z.number().meta({ description: 'Of these blobs.' }),
})

const kind = z.enum(['manifest', 'blob', 'repository'])

const status = z.strictObject({
  queue: z.array(
    z.strictObject({
      kind,
      waiting: z.number(),
      due: z.number(),
      failing: z.number(),
      overdueSeconds: z.number().nullable().meta({ description: 'null: nothing is due.' }),
      nextDueAt: time.nullable(),
      lastError: z.string().nullable(),
    }),
  ),
  deleting: z.strictObject({ blobs: z.number(), bytes: z.number() }),
  freedToday: freed,
  freedLately: freed.meta({ description: 'In the last 30 days.' }),
})

const keeper = z.strictObject({
  kind: z.enum(['tag', 'policy', 'pinned', 'history', 'deleted', 'lease', 'recent', 'unnamed']),
  detail: z.string().nullable(),
  until: time.nullable().meta({ description: 'null: for good.' }),
})

const explanation = z.strictObject({
  kind: z.enum(['manifest', 'blob']),
  repository: z.string(),
  digest: z.string(),
  state: z.enum(['live', 'deleted', 'deleting', 'quarantined']),
  keeper: keeper.nullable().meta({ description: 'null: nothing keeps it, and it goes.' }),
  path: z
    .array(z.strictObject({ via: z.string(), repository: z.string(), digest: z.string() }))
    .meta({ description: 'From what was asked for to what the keeper keeps.' }),
  goesAt: time.nullable().meta({ description: 'null: not as long as the keeper is there.' }),
  lastError: z.string().nullable(),
})

const run = z.strictObject({
  repository: z.string().optional().meta({ description: 'Only what is in this one is hurried.' }),
  now: z.boolean().default(false).meta({ description: 'Do not wait where nothing keeps it.' }),
  forgetDeleted: z
    .boolean()
    .default(false)
    .meta({ description: 'Give up what could be restored. It implies `now`.' }),
  dryRun: z.boolean().default(false).meta({ description: 'Only tell what would be freed.' }),
})

/** A run that takes longer goes on in the background. */
const RUN_MS = 30_000

export const GC: readonly Endpoint[] = [
  endpoint({
    id: 'getGarbageStatus',
    method: 'GET',
    path: '/gc',
    summary: 'Show what waits to be collected, and what was freed',
    who: 'admin',
    answer: status,
    handle: async ({ registry }) => {
      const { queue, ...rest } = await getGarbageStatus(registry)
      const shown = queue.map((each) => ({ ...each, nextDueAt: showMaybe(each.nextDueAt) }))
      return { queue: shown, ...rest }
    },
  }),
  endpoint({
    id: 'explainKeeping',
    method: 'GET',
    path: '/gc/why',
    summary: 'Tell what keeps a manifest or a blob of a repository, or when it goes',
    who: 'admin',
    query: z.strictObject({ repository: z.string(), digest: z.string() }),
    answer: explanation,
    handle: async ({ registry, query }) => {
      const repository = parseRepositoryName(query.repository)
      const found = await explainKeeping(registry, repository, parseDigest(query.digest))
      return {
        ...found,
        keeper: showKeeper(found.keeper),
        path: found.path.map((step) => ({ ...step })),
        goesAt: showMaybe(found.goesAt),
        lastError: found.lastError ?? null,
      }
    },
  }),
  endpoint({
    id: 'runCollection',
    method: 'POST',
    path: '/gc/run',
    summary: 'Collect now what is collected anyway, or tell what that would free',
    who: 'admin',
    body: run,
    answer: freed,
    handle: async ({ registry, control, ctx, body }) => {
      const { repository, now, forgetDeleted: forgetsDeleted, dryRun } = body
      const terms = {
        repository: repository === undefined ? undefined : parseRepositoryName(repository),
        now: now || forgetsDeleted,
        forgetsDeleted,
      }
      if (dryRun) return previewCollection(registry, terms)
      let done = { manifests: 0, blobs: 0, bytes: 0 }
      const deed = { action: 'gc.run', target: repository ?? '', isRecorded: true }
      await recording(control.audit, ctx, deed, async () => {
        done = await runCollection(registry, terms, AbortSignal.timeout(RUN_MS))
      })
      return done
    },
  }),
]

function showKeeper(found: Keeper | undefined): z.output<typeof keeper> | null {
  return found === undefined ? null : { ...found, until: showMaybe(found.until) }
}

function showMaybe(at: Date | null | undefined): string | null {
  return at === null || at === undefined ? null : showTime(at)
}
