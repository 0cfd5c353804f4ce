import type { Registry } from '../../registry/registry.ts'
import { deleteRepository } from '../../registry/repositories.ts'
import { answerEmpty } from '../http/answer.ts'
import type { RequestContext, Target } from '../state.ts'

/** Our own API: a repository with everything in it. */
export async function removeRepository(
  registry: Registry,
  { repository }: Pick<Target, 'repository'>,
  ctx: RequestContext,
): Promise<void> {
  const { access } = ctx.state
  access.requireWhole(repository, 'delete')

  await deleteRepository(registry, repository, {
    actor: access.subject,
    permits: (action, tag) => access.allows(repository, action, tag),
  })

  answerEmpty(ctx, 202)
}
