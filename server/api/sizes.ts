import { z } from 'zod'
import { patternsOf } from '../../auth/rules/policy.ts'
import { parseDigest } from '../../oci/digest.ts'
import { parseRepositoryName, parseTag, type RepositoryName } from '../../oci/reference.ts'
import {
  freedBy,
  type RepositorySizes,
  requireSelection,
  type Selection,
  sizeOfRepository,
  sizesOfRepositories,
  sizesOfTags,
} from '../../registry/sizes.ts'
import type { RequestContext } from '../state.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { count } from './fields.ts'
import { pageSchema, showPage } from './page.ts'

/** Each tag and each repository costs statements of its own. */
const MOST = 100
const STANDARD = 20
const limit = count(MOST)
  .default(STANDARD)
  .meta({ description: `1 to ${MOST}; ${STANDARD} when left out.` })

/** So long the largest repositories are looked for. */
const BUDGET_SECONDS = 5
const MOST_SELECTED = 1000

const bytes = z.int().min(0)

const sizeFields = {
  totalBytes: bytes.meta({ description: 'Of manifests and distinct blobs.' }),
  uniqueBytes: bytes.meta({ description: 'The part that nothing else needs.' }),
  sharedBytes: bytes.meta({ description: 'The rest.' }),
}

const repositorySizes = z.strictObject({
  name: z.string(),
  tags: z.int(),
  manifests: z.int(),
  blobs: z.int(),
  ...sizeFields,
})

const tagSizes = z.strictObject({
  tag: z.string(),
  digest: z.string().nullable().meta({ description: 'null: the caller may not pull the tag.' }),
  ...sizeFields,
  freedBytes: bytes.meta({ description: 'What deleting it frees, with what goes with it.' }),
})

const selectedTag = z.strictObject({ repository: z.string(), tag: z.string() })
const selectedManifest = z.strictObject({ repository: z.string(), digest: z.string() })

const selectionSchema = z
  .strictObject({
    repositories: z.array(z.string()).max(MOST_SELECTED).optional(),
    tags: z.array(selectedTag).max(MOST_SELECTED).optional(),
    manifests: z.array(selectedManifest).max(MOST_SELECTED).optional(),
  })
  .refine((body) => Object.keys(body).length > 0, 'expected repositories, tags or manifests')

export const SIZES: readonly Endpoint[] = [
  endpoint({
    id: 'listRepositorySizes',
    method: 'GET',
    path: '/sizes',
    summary: 'List the largest repositories, or tell the size of one',
    who: 'right',
    query: z.strictObject({
      limit,
      repository: z.string().optional().meta({ description: 'Only this one.' }),
    }),
    answer: z.strictObject({
      items: z.array(repositorySizes).meta({ description: 'Those of which most is unique first.' }),
      examined: z.int().meta({ description: 'How many were looked at, in the order of names.' }),
      complete: z.boolean().meta({
        description: `Whether these were all. No further one is begun after ${BUDGET_SECONDS} s.`,
      }),
    }),
    handle: async ({ registry: { db }, ctx, query }) => {
      if (query.repository !== undefined) {
        const name = readable(ctx, query.repository)
        return { items: [show(await sizeOfRepository(db, name))], examined: 1, complete: true }
      }
      const names = patternsOf(ctx.state.access.requireReadable())
      const request = { limit: query.limit, budgetMs: BUDGET_SECONDS * 1000 }
      const { repositories, ...rest } = await sizesOfRepositories(db, names, request)
      return { items: repositories.map(show), ...rest }
    },
  }),
  endpoint({
    id: 'listTagSizes',
    method: 'GET',
    path: '/sizes/tags',
    summary: 'List the tags of a repository by name, with their sizes',
    who: 'right',
    query: z.strictObject({
      repository: z.string(),
      limit,
      after: z
        .string()
        .regex(/^[\w.-]{0,128}$/)
        .default('')
        .meta({ description: 'The `next` of the page before.' }),
    }),
    answer: pageSchema(tagSizes),
    handle: async ({ registry: { db }, ctx, query: { repository, ...request } }) => {
      const name = readable(ctx, repository)
      return showPage(ctx, request, {
        list: (page) => sizesOfTags(db, name, page),
        show: ({ tag, digest, ...sizes }) => ({
          tag: String(tag),
          // By its digest it could be pulled.
          digest: ctx.state.access.allows(name, 'pull', tag) ? String(digest) : null,
          ...sizes,
        }),
        cursor: ({ tag }) => tag,
      })
    },
  }),
  endpoint({
    id: 'findFreed',
    method: 'POST',
    path: '/sizes/freed',
    summary: 'Tell what deleting a selection would free in the end; nothing is deleted',
    who: 'right',
    body: selectionSchema,
    answer: z.strictObject({ manifests: z.int(), blobs: z.int(), bytes }),
    handle: async ({ registry: { db }, ctx, body }) => {
      const selection = parseSelection(ctx, body)
      await requireSelection(db, selection)
      return { ...(await freedBy(db, selection)) }
    },
  }),
]

/** @throws RegistryError NAME_INVALID, DENIED, Unauthorized unless the caller may pull from it */
function readable({ state: { access } }: RequestContext, text: string): RepositoryName {
  const name = parseRepositoryName(text)
  access.require(name, 'pull')
  return name
}

/** @throws as {@link readable}; RegistryError TAG_INVALID, DIGEST_INVALID */
function parseSelection(
  ctx: RequestContext,
  { repositories = [], tags = [], manifests = [] }: z.output<typeof selectionSchema>,
): Selection {
  return {
    repositories: repositories.map((name) => readable(ctx, name)),
    tags: tags.map(({ repository, tag }) => ({
      repository: readable(ctx, repository),
      tag: parseTag(tag),
    })),
    manifests: manifests.map(({ repository, digest }) => ({
      repository: readable(ctx, repository),
      digest: parseDigest(digest),
    })),
  }
}

function show({ name, ...sizes }: RepositorySizes): z.output<typeof repositorySizes> {
  return { name: String(name), ...sizes }
}
