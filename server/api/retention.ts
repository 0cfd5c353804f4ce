import { z } from 'zod'
import { RegistryError } from '../../oci/errors.ts'
import { checkRepositoryGlob } from '../../oci/glob.ts'
import {
  type Difference,
  getRetentionRuns,
  type JudgedTag,
  planRetention,
  type RetentionRun,
} from '../../registry/retention/plan.ts'
import { RetentionRefused, runRetention } from '../../registry/retention/run.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { rowId, showTime, time } from './fields.ts'
import { limit, pageSchema, showPage } from './page.ts'

const runFields = {
  id: z.string(),
  kind: z.enum(['plan', 'run']),
  at: time,
  actor: z.string().nullable(),
  repositories: z.string().nullable().meta({ description: 'A glob; null: all.' }),
  kept: z.number().meta({ description: 'Tags, of repositories of which rules delete some.' }),
  deleted: z.number().meta({ description: 'Tags; of a plan, to be deleted.' }),
  bytes: z.number().meta({ description: 'That this frees in the end.' }),
}

const runSchema = z.strictObject(runFields)

const repositorySum = z.strictObject({
  repository: z.string(),
  kept: z.number(),
  deleted: z.number(),
  bytes: z.number(),
})

const tagSchema = z.strictObject({
  repository: z.string(),
  tag: z.string(),
  digest: z.string(),
  deleted: z.boolean(),
  rule: z.string().nullable().meta({ description: 'The one that decided.' }),
  reason: z.string(),
})

const tagNames = z
  .array(z.string())
  .nullable()
  .meta({ description: '`repository:tag` each; null: too many to tell.' })

const planSchema = z.strictObject({
  ...runFields,
  isAtLeast: z.boolean().meta({ description: 'Whether more bytes may be freed.' }),
  byRepository: z
    .array(repositorySum)
    .meta({ description: 'Those with tags to be deleted: the first 1000 by name.' }),
  tags: z.array(tagSchema).meta({ description: 'That a rule deletes, or that another one keeps.' }),
  more: z.boolean().meta({ description: 'Whether there are more tags than these.' }),
  difference: z
    .strictObject({
      since: time,
      deleted: z.number(),
      bytes: z.number(),
      added: tagNames,
      dropped: tagNames,
    })
    .nullable()
    .meta({ description: 'To the last plan of the same rules; null: there was none.' }),
})

const REPOSITORIES = 1000
const MOST_TAGS = 10_000

const planBody = z.strictObject({
  repositories: z
    .string()
    .refine(isGlob, 'expected a glob of repositories')
    .optional()
    .meta({ description: 'A glob. Such a plan allows no run anything.' }),
  tags: z.int().min(0).max(MOST_TAGS).default(1000).meta({ description: 'So many are told.' }),
})

const runBody = z.strictObject({
  consent: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .optional()
    .meta({ description: 'So many tags may go, be it more than the last plan says.' }),
})

export const RETENTION: readonly Endpoint[] = [
  endpoint({
    id: 'planRetention',
    method: 'POST',
    path: '/retention/plan',
    summary: 'Tell what the rules of retention would delete now; runs may then delete as many tags',
    who: 'admin',
    body: planBody,
    answer: planSchema,
    handle: async ({ registry, actor, body: { repositories: glob, tags: most } }) => {
      const told: JudgedTag[] = []
      const plan = await planRetention(registry, {
        actor,
        glob,
        onTags: (tags) => {
          // One more tells that there are more.
          const named = tags.filter(({ isNamed }) => isNamed)
          told.push(...named.slice(0, most + 1 - told.length))
        },
      })
      return {
        ...showRun(plan.run),
        isAtLeast: plan.isAtLeast,
        byRepository: plan.repositories.slice(0, REPOSITORIES).map((sum) => ({ ...sum })),
        tags: told.slice(0, most).map(showTag),
        more: told.length > most,
        difference: showDifference(plan.difference),
      }
    },
  }),
  endpoint({
    id: 'runRetention',
    method: 'POST',
    path: '/retention/run',
    summary: 'Delete what the rules of retention delete, if that is no more than was planned',
    who: 'admin',
    body: runBody,
    answer: runSchema,
    conflicts: true,
    handle: async ({ registry, actor, body: { consent } }) => {
      try {
        const run = await runRetention(registry, { actor, consent })
        return showRun(run)
      } catch (error) {
        if (!(error instanceof RetentionRefused)) throw error
        throw new RegistryError('UNSUPPORTED', error.message, { cause: error, status: 409 })
      }
    },
  }),
  endpoint({
    id: 'listRetentionRuns',
    method: 'GET',
    path: '/retention/runs',
    summary: 'List plans and runs of retention, the newest first',
    who: 'admin',
    query: z.strictObject({
      before: rowId.optional().meta({ description: 'The `next` of the page before.' }),
      limit,
    }),
    answer: pageSchema(runSchema),
    handle: ({ registry, ctx, query: { before = '', limit: size } }) =>
      showPage(
        ctx,
        { after: before, limit: size },
        {
          list: (page) => getRetentionRuns(registry, { before: page.after, limit: page.limit }),
          show: showRun,
          cursor: ({ id }) => id,
          parameter: 'before',
        },
      ),
  }),
]

function isGlob(text: string): boolean {
  try {
    checkRepositoryGlob(text)
    return true
  } catch (error) {
    if (error instanceof RegistryError) return false
    throw error
  }
}

function showRun({ at, actor, glob, ...run }: RetentionRun): z.output<typeof runSchema> {
  return { ...run, at: showTime(at), actor: actor ?? null, repositories: glob ?? null }
}

function showTag({
  repository,
  tag,
  digest,
  deletes,
  rule,
  reason,
}: JudgedTag): z.output<typeof tagSchema> {
  return { repository, tag, digest, deleted: deletes, rule: rule ?? null, reason }
}

function showDifference(
  difference: Difference | undefined,
): z.output<typeof planSchema>['difference'] {
  if (difference === undefined) return null
  const { since, deleted, bytes, added, dropped } = difference
  return { since: showTime(since), deleted, bytes, added: listOf(added), dropped: listOf(dropped) }
}

function listOf(names: readonly string[] | undefined): string[] | null {
  return names === undefined ? null : [...names]
}
