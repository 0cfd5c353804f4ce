import { z } from 'zod'
import { patternsOf } from '../../auth/rules/policy.ts'
import { patternOf } from '../../oci/glob.ts'
import { parseRepositoryName, type RepositoryName } from '../../oci/reference.ts'
import { getRepositories } from '../../registry/repositories.ts'
import { removeRepository } from '../handlers/repositories.ts'
import { recording } from '../http/trail.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { pageFields, pageSchema, showPage } from './page.ts'

/** What may stand in a name: a text with anything else in it is in none. */
const IN_NAMES = /^[a-z0-9._/-]*$/

export const repositorySchema = z.strictObject({ name: z.string() })

export const REPOSITORIES: readonly Endpoint[] = [
  endpoint({
    id: 'listRepositories',
    method: 'GET',
    path: '/repositories',
    summary: 'List repositories by name, of those that the caller may pull from',
    who: 'right',
    query: z.strictObject({
      ...pageFields,
      q: z.string().default('').meta({ description: 'A text that the names have in them.' }),
    }),
    answer: pageSchema(repositorySchema),
    handle: ({ registry, ctx, query: { q, ...request } }) => {
      const { all, ...rest } = patternsOf(ctx.state.access.requireReadable())
      const text = q.toLowerCase()
      const found = text === '' ? [] : [patternOf([`**${text}**`])]
      const patterns = { ...rest, all: [...all, ...found] }
      return showPage(ctx, request, {
        list: async (page): Promise<readonly RepositoryName[]> => {
          if (!IN_NAMES.test(text)) return []
          return (await getRepositories(registry, page, patterns)).names
        },
        show: (name) => ({ name: String(name) }),
        cursor: ({ name }) => name,
      })
    },
  }),
  endpoint({
    id: 'deleteRepository',
    method: 'DELETE',
    path: '/repositories/*name',
    summary: 'Delete a repository with everything in it; slashes of its name stay as they are',
    who: 'right',
    status: 202,
    handle: ({ registry, control, ctx, path: { name } }) => {
      const repository = parseRepositoryName(name)
      const deed = { action: 'repository.delete', repository, target: '', isRecorded: true }
      return recording(control.audit, ctx, deed, () => {
        ctx.state.access.require(repository, 'delete')
        return removeRepository(registry, { repository }, ctx)
      })
    },
  }),
]
