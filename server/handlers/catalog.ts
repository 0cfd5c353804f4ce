import { patternOf } from '../../auth/rules/glob.ts'
import type { Registry } from '../../registry/registry.ts'
import { getRepositories } from '../../registry/repositories.ts'
import { answerJson } from '../http/answer.ts'
import { pageRequest, setNextLink } from '../http/query.ts'
import type { RequestContext } from '../state.ts'

const PAGE = { standard: 100, max: 1000 }

/** The extension `_catalog`, as registry:2 has it, of what the caller may pull. */
export async function listRepositories(registry: Registry, ctx: RequestContext): Promise<void> {
  const { allow, deny, within } = ctx.state.access.requireCatalog()
  const request = pageRequest(ctx, PAGE)
  const all = within === undefined ? [allow] : [allow, within]

  const { names, more } = await getRepositories(registry, request, {
    all: all.map(patternOf),
    none: deny.length === 0 ? [] : [patternOf(deny)],
  })

  if (more) {
    setNextLink(ctx, [
      ['n', String(request.limit)],
      ['last', names.at(-1) ?? ''],
    ])
  }
  answerJson(ctx, { repositories: names })
}
