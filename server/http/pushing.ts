import type { RepositoryName } from '../../oci/reference.ts'
import type { RequestContext } from '../state.ts'

/**
 * Whether the client may be asking so as to push only what is missing: clients do so by HEAD, and
 * then go by the answer for as long as the push takes.
 */
export function isPushing(ctx: RequestContext, repository: RepositoryName): boolean {
  return ctx.method === 'HEAD' && ctx.state.access.allows(repository, 'push')
}
