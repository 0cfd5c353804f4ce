import type { Registry } from '../../registry/registry.ts'
import { deleteRepository } from '../../registry/repositories.ts'
import { answerEmpty } from '../http/answer.ts'
import type { RequestContext, Target } from '../state.ts'

/** Our own API: a repository with everything in it. */
export async function removeRepository(
  registry: Registry,
  { repository }: Target,
  ctx: RequestContext,
): Promise<void> {
  await deleteRepository(registry, repository)
  answerEmpty(ctx, 202)
}
