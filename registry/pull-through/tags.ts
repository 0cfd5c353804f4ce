import type { Tag } from '../../oci/reference.ts'
import { listTags } from '../../storage/metadata/tags.ts'
import { UpstreamFailure } from '../../upstream/failure.ts'
import { type Page, type PageRequest, pageOf } from '../page.ts'
import type { Registry } from '../registry.ts'
import { asUpstreamError } from './failure.ts'
import { within } from './patience.ts'
import type { UpstreamRepository } from './upstreams.ts'

export interface PulledTags extends Page<Tag> {
  /** Why these are only the tags that are kept here; undefined when the upstream could be asked. */
  readonly staleBecause?: string | undefined
}

/**
 * One page of the tags that the upstream has, in its order; when it fails, of those kept here.
 *
 * @throws UpstreamError when none are kept
 */
export async function pullTags(
  { db, pullThrough }: Registry,
  { upstream, remote, repository }: UpstreamRepository,
  request: PageRequest,
): Promise<PulledTags> {
  try {
    const { tags, more } = await within(upstream, pullThrough.patience.content, (signal) =>
      upstream.client.listTags(remote, request, { signal }),
    )
    return { names: [...tags], more }
  } catch (error) {
    if (!(error instanceof UpstreamFailure)) throw error
    const kept = await pageOf(request, async (page) => (await listTags(db, repository, page)) ?? [])
    if (kept.names.length === 0) throw asUpstreamError(error, 'NAME_UNKNOWN')
    return { ...kept, staleBecause: error.message }
  }
}
