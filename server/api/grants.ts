import { z } from 'zod'
import { toGrant } from '../../auth/access-records.ts'
import {
  addGrant,
  editGrant,
  type GrantRecord,
  getGrant,
  getGrants,
  removeGrant,
} from '../../auth/accounts/grants.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import {
  coverageFields,
  description,
  rowId,
  showCoverage,
  shownCoverageFields,
  showTime,
  time,
} from './fields.ts'
import { limit, pageSchema, showPage } from './page.ts'

const effect = z.enum(['allow', 'deny'])

export const grantSchema = z.strictObject({
  id: z.string(),
  effect,
  subject: z.string(),
  ...shownCoverageFields,
  description: z.string(),
  createdAt: time,
  createdBy: z.string().nullable(),
})

function showGrant(grant: GrantRecord): z.output<typeof grantSchema> {
  return {
    id: grant.id,
    effect: grant.effect,
    subject: grant.subject,
    ...showCoverage(toGrant(grant)),
    description: grant.description,
    createdAt: showTime(grant.createdAt),
    createdBy: grant.createdBy,
  }
}

const newGrant = z
  .strictObject({
    effect,
    subject: z.string().meta({
      description: '`user:…`, `robot:…`, `group:…`, `anonymous`, `authenticated` or `everyone`.',
    }),
    ...coverageFields,
    description: description.optional(),
  })
  .transform(({ tags, ...grant }) => ({ ...grant, tags: tags ?? undefined }))

export const GRANTS: readonly Endpoint[] = [
  endpoint({
    id: 'listGrants',
    method: 'GET',
    path: '/grants',
    summary: 'List grants as they were added; those of the access file are not among them',
    who: 'admin',
    query: z.strictObject({
      limit,
      after: rowId.optional().meta({ description: 'The `next` of the page before.' }),
      subject: z.string().optional(),
    }),
    answer: pageSchema(grantSchema),
    handle: ({ control, ctx, query: { after = '', limit: size, subject } }) =>
      showPage(
        ctx,
        { after, limit: size },
        {
          list: (page) => getGrants(control, { subject }, page),
          show: showGrant,
          cursor: ({ id }) => id,
        },
      ),
  }),
  endpoint({
    id: 'createGrant',
    method: 'POST',
    path: '/grants',
    summary: 'Add a grant',
    who: 'admin',
    body: newGrant,
    status: 201,
    answer: grantSchema,
    handle: async ({ control, actor, body }) => showGrant(await addGrant(control, actor, body)),
  }),
  endpoint({
    id: 'getGrant',
    method: 'GET',
    path: '/grants/:id',
    summary: 'Show a grant',
    who: 'admin',
    answer: grantSchema,
    handle: async ({ control, path: { id } }) => showGrant(await getGrant(control, id)),
  }),
  endpoint({
    id: 'replaceGrant',
    method: 'PUT',
    path: '/grants/:id',
    summary: 'Put a grant in the place of another',
    who: 'admin',
    body: newGrant,
    answer: grantSchema,
    handle: async ({ control, actor, path: { id }, body }) =>
      showGrant(await editGrant(control, actor, { id, ...body })),
  }),
  endpoint({
    id: 'deleteGrant',
    method: 'DELETE',
    path: '/grants/:id',
    summary: 'Remove a grant',
    who: 'admin',
    status: 204,
    handle: ({ control, actor, path: { id } }) => removeGrant(control, actor, id),
  }),
]
