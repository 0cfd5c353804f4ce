import { z } from 'zod'
import type { Access } from '../../auth/access.ts'
import { patternsOf } from '../../auth/rules/policy.ts'
import { RegistryError } from '../../oci/errors.ts'
import { parseRepositoryName, type RepositoryName } from '../../oci/reference.ts'
import { locate } from '../../registry/pull-through/locate.ts'
import type { Registry } from '../../registry/registry.ts'
import {
  getDeletedRepositories,
  restoreRepository,
} from '../../registry/undo/restore-repository.ts'
import { type Endpoint, endpoint } from './endpoint.ts'
import { showTime, time } from './fields.ts'
import { pageFields, pageSchema, showPage } from './page.ts'
import { recorded } from './recorded.ts'

export const deletedRepositorySchema = z.strictObject({
  name: z.string(),
  deletedAt: time,
  deletedBy: z.string().nullable().meta({ description: 'null: nobody, or it is not to be told.' }),
  until: time.meta({ description: 'When it cannot be restored any more.' }),
})

export const DELETED_REPOSITORIES: readonly Endpoint[] = [
  endpoint({
    id: 'listDeletedRepositories',
    method: 'GET',
    path: '/deleted-repositories',
    summary: 'List repositories that can be restored, of those that the caller may pull from',
    who: 'right',
    query: z.strictObject(pageFields),
    answer: pageSchema(deletedRepositorySchema),
    handle: ({ registry, ctx, query }) => {
      const { access } = ctx.state
      const patterns = patternsOf(access.requireReadable())
      const isKnown = access.subject !== undefined || access.isEverybody
      return showPage(ctx, query, {
        list: (page) => getDeletedRepositories(registry, page, patterns),
        show: ({ name, deletedAt, deletedBy, until }) => ({
          name: String(name),
          deletedAt: showTime(deletedAt),
          deletedBy: isKnown ? deletedBy : null,
          until: showTime(until),
        }),
        cursor: ({ name }) => name,
      })
    },
  }),
  endpoint({
    id: 'restoreRepository',
    method: 'POST',
    path: '/deleted-repositories/restore',
    summary: 'Restore the repository of a name that was deleted last',
    who: 'right',
    body: z.strictObject({
      name: z.string(),
      as: z.string().optional().meta({ description: 'Another name than it had.' }),
    }),
    answer: z.strictObject({ name: z.string() }),
    conflicts: true,
    handle: (call) => {
      const name = parseRepositoryName(call.body.name)
      const as = call.body.as === undefined ? name : parseRepositoryName(call.body.as)
      const deed = { action: 'repository.restore', repository: name, target: as }
      const { access } = call.ctx.state
      return recorded(call, deed, async () => {
        requireRights(access, name, as)
        if (as !== name) await refuseUpstream(call.registry, as)
        await restoreRepository(call.registry, name, {
          as,
          permits: (tag) =>
            access.allows(as, 'push', tag) && (as === name || access.allows(name, 'pull', tag)),
        })
        return { name: as }
      })
    },
  }),
]

/** By another name others may read it: that takes the right to read it. */
function requireRights(access: Access, name: RepositoryName, as: RepositoryName): void {
  access.require(name, 'push')
  access.requireWhole(name, 'push')
  if (as === name) return
  access.require(name, 'pull')
  access.requireWhole(name, 'pull')
  access.require(as, 'push')
  access.requireWhole(as, 'push')
}

/** As for a push. @throws RegistryError DENIED for the name of what an upstream has */
async function refuseUpstream(registry: Registry, name: RepositoryName): Promise<void> {
  const asked = { name, namespace: undefined, wants: 'change' } as const
  const { upstream, repository } = await locate(registry, asked)
  if (upstream === undefined) return
  throw new RegistryError('DENIED', `${repository} is a name of ${upstream}`)
}
