import type { Registry } from '../../registry/registry.ts'
import { getTags } from '../../registry/tags.ts'
import { answerJson } from '../http/answer.ts'
import { pageRequest, setNextLink } from '../http/query.ts'
import type { RequestContext, Target } from '../state.ts'

const PAGE = { standard: 1000, max: 1000 }

/** end-8a, end-8b */
export async function listTags(
  registry: Registry,
  { repository }: Target,
  ctx: RequestContext,
): Promise<void> {
  const request = pageRequest(ctx, PAGE)

  const { names, more } = await getTags(registry, repository, request)

  if (more) {
    setNextLink(ctx, [
      ['n', String(request.limit)],
      ['last', names.at(-1) ?? ''],
    ])
  }
  answerJson(ctx, { name: repository, tags: names })
}
