import { z } from 'zod'
import type { Access } from '../../auth/access.ts'
import { type Digest, parseDigest } from '../../oci/digest.ts'
import {
  parseRepositoryName,
  parseTag,
  type RepositoryName,
  type Tag,
} from '../../oci/reference.ts'
import type { Registry } from '../../registry/registry.ts'
import { restoreRun } from '../../registry/undo/restore-run.ts'
import { restoreManifest, restoreTag } from '../../registry/undo/restore-tag.ts'
import { getTagHistory, type NamedDigest, type TagChange } from '../../registry/undo/tag-history.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { instant, rowId, showTime, time } from './fields.ts'
import { limit, pageSchema, showPage } from './page.ts'
import { recorded } from './recorded.ts'

const namedDigest = z.strictObject({
  digest: z.string().nullable().meta({ description: 'null: the caller may not pull the tag.' }),
  restorable: z.boolean().meta({ description: 'Whether the tag can be restored to it.' }),
  until: time.nullable().meta({
    description: 'Until when; null: as long as something names it, or not at all.',
  }),
})

export const tagChangeSchema = z.strictObject({
  id: z.string(),
  at: time,
  tag: z.string(),
  from: namedDigest.nullable().meta({ description: 'null: the tag was new.' }),
  to: namedDigest.nullable().meta({ description: 'null: the tag was deleted.' }),
  actor: z.string().nullable().meta({ description: 'null: nobody, or it is not to be told.' }),
  cause: z.enum(['garbage', 'retention', 'restore']).nullable().meta({
    description: 'Why, when nobody asked for this tag to be pushed or deleted.',
  }),
})

type Shown = z.output<typeof tagChangeSchema>

/** By its digest anything could be pulled: it is for who may pull the tag. */
function showDigest(named: NamedDigest | undefined, isReadable: boolean): Shown['from'] {
  if (named === undefined) return null
  const { isRestorable, until } = named
  const digest = isReadable ? named.digest : null
  return { digest, restorable: isRestorable, until: showTime(until) }
}

/** Who did it is told to who says who asks. */
function showChange(
  { id, at, tag, from, to, actor, cause }: TagChange,
  repository: RepositoryName,
  access: Access,
): Shown {
  const isKnown = access.subject !== undefined || access.isEverybody
  const isReadable = access.allows(repository, 'pull', tag)
  const named = { from: showDigest(from, isReadable), to: showDigest(to, isReadable) }
  const change = { id, at: showTime(at), tag, ...named }
  return { ...change, actor: isKnown ? actor : null, cause }
}

const restoreBody = z
  .strictObject({
    repository: z.string(),
    tag: z.string().optional().meta({ description: 'Left out: the manifest comes back without.' }),
    digest: z.string().optional().meta({
      description: 'What the tag named before. Left out: what it named before its last change.',
    }),
    at: instant.optional().meta({ description: 'What the tag named at that time.' }),
  })
  .refine(({ tag, digest }) => tag !== undefined || digest !== undefined, 'a tag or a digest')
  .refine(({ tag, at }) => at === undefined || tag !== undefined, 'at goes with a tag')
  .refine(({ digest, at }) => at === undefined || digest === undefined, 'a digest or a time')

export const TAGS: readonly Endpoint[] = [
  endpoint({
    id: 'listTagChanges',
    method: 'GET',
    path: '/tags/history',
    summary: 'List what tags of a repository named, the last change first',
    who: 'right',
    query: z.strictObject({
      repository: z.string(),
      tag: z.string().optional(),
      before: rowId.optional().meta({ description: 'The `next` of the page before.' }),
      limit,
    }),
    answer: pageSchema(tagChangeSchema),
    handle: ({ registry, ctx, query }) => {
      const { access } = ctx.state
      const repository = parseRepositoryName(query.repository)
      const tag = query.tag === undefined ? undefined : parseTag(query.tag)
      access.require(repository, 'pull')
      if (tag !== undefined) access.requireTag(repository, 'pull', tag)
      const request = { after: query.before ?? '', limit: query.limit }
      return showPage(ctx, request, {
        list: (page) =>
          getTagHistory(registry, repository, { tag, before: page.after, limit: page.limit }),
        show: (change) => showChange(change, repository, access),
        cursor: ({ id }) => id,
        parameter: 'before',
      })
    },
  }),
  endpoint({
    id: 'restoreTag',
    method: 'POST',
    path: '/tags/restore',
    summary: 'Let a tag name again what it named before, or restore a deleted manifest',
    who: 'right',
    body: restoreBody,
    answer: z.strictObject({
      digest: z.string(),
      changed: z.boolean().meta({ description: 'Whether it was not so before.' }),
      manifests: z.int().meta({ description: 'How many deleted ones came back.' }),
    }),
    conflicts: true,
    handle: (call) => {
      const repository = parseRepositoryName(call.body.repository)
      const tag = call.body.tag === undefined ? undefined : parseTag(call.body.tag)
      const digest = call.body.digest === undefined ? undefined : parseDigest(call.body.digest)
      const deed = { action: 'tag.restore', repository, target: tag ?? digest ?? '' }
      const { access } = call.ctx.state
      return recorded(call, deed, async () => {
        access.require(repository, 'push')
        if (tag !== undefined) {
          const restore = { to: digest, at: call.body.at }
          return restoreOne(call.registry, access, { repository, tag, ...restore })
        }
        // By right of no single tag.
        access.requireWhole(repository, 'push')
        return restoreUntagged(call.registry, repository, digest!)
      })
    },
  }),
  endpoint({
    id: 'restoreRetentionRun',
    method: 'POST',
    path: '/tags/restore-retention',
    summary: 'Restore the tags that retention deleted; tells what became of each',
    who: 'admin',
    body: z.strictObject({
      since: instant.meta({ description: 'The earliest time at which it deleted.' }),
      repositories: z.string().default('**').meta({
        description: 'A glob: `*` within a component, `**` across.',
      }),
    }),
    answer: z.strictObject({
      items: z.array(
        z.strictObject({
          repository: z.string(),
          tag: z.string(),
          digest: z.string(),
          refusal: z.string().nullable().meta({ description: 'null: it is restored.' }),
        }),
      ),
    }),
    handle: (call) => {
      const { since, repositories } = call.body
      const { access } = call.ctx.state
      const deed = { action: 'retention.restore', target: `${repositories} ${showTime(since)}` }
      return recorded(call, deed, async () => {
        const items = await restoreRun(call.registry, {
          since,
          repositories,
          actor: access.subject,
          permits: (repository) => (action, tag) => access.allows(repository, action, tag),
        })
        return { items: items.map(({ refusal = null, ...item }) => ({ ...item, refusal })) }
      })
    },
  }),
]

interface TagToRestore {
  readonly repository: RepositoryName
  readonly tag: Tag
  readonly to: Digest | undefined
  readonly at: Date | undefined
}

async function restoreOne(
  registry: Registry,
  access: Access,
  { repository, tag, to, at }: TagToRestore,
) {
  const { isChanged, ...restored } = await restoreTag(registry, repository, tag, {
    to,
    at,
    actor: access.subject,
    permits: (action, each) => access.allows(repository, action, each),
  })
  return { ...restored, changed: isChanged }
}

async function restoreUntagged(registry: Registry, repository: RepositoryName, digest: Digest) {
  const manifests = await restoreManifest(registry, repository, digest)
  return { digest, changed: manifests > 0, manifests }
}
