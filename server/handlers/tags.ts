import { pullTags } from '../../registry/pull-through/tags.ts'
import type { Registry } from '../../registry/registry.ts'
import { getTags } from '../../registry/tags.ts'
import { answerJson } from '../http/answer.ts'
import { setProvenance } from '../http/provenance.ts'
import { pageRequest, setNextLink } from '../http/query.ts'
import type { RequestContext, Target } from '../state.ts'

const PAGE = { standard: 1000, max: 1000 }

/** end-8a, end-8b */
export async function listTags(
  registry: Registry,
  { repository, source, asked }: Target,
  ctx: RequestContext,
): Promise<void> {
  const request = pageRequest(ctx, PAGE)

  const page =
    source === undefined
      ? await getTags(registry, repository, request)
      : await pullTags(registry, source, request)

  const { names, more } = page
  if (source !== undefined) setProvenance(ctx, { from: 'upstream', ...page })
  // A page without names has no last one to go on from.
  if (more && names.length > 0) {
    setNextLink(ctx, [
      ['n', String(request.limit)],
      ['last', names.at(-1) ?? ''],
    ])
  }
  answerJson(ctx, { name: asked, tags: names })
}
