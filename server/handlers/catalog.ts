import { patternsOf } from '../../auth/rules/policy.ts'
import type { Registry } from '../../registry/registry.ts'
import { getRepositories } from '../../registry/repositories.ts'
import { answerJson } from '../http/answer.ts'
import { pageRequest, setNextLink } from '../http/query.ts'
import type { RequestContext } from '../state.ts'

const PAGE = { standard: 100, max: 1000 }

/** The extension `_catalog`, as registry:2 has it, of what the caller may pull. */
export async function listRepositories(registry: Registry, ctx: RequestContext): Promise<void> {
  const patterns = patternsOf(ctx.state.access.requireCatalog())
  const request = pageRequest(ctx, PAGE)

  const { names, more } = await getRepositories(registry, request, patterns)

  if (more) {
    setNextLink(ctx, [
      ['n', String(request.limit)],
      ['last', names.at(-1) ?? ''],
    ])
  }
  answerJson(ctx, { repositories: names })
}
