import { parseDigest } from '../../oci/digest.ts'
import { OCI_INDEX } from '../../oci/media-types.ts'
import { pullReferrers } from '../../registry/pull-through/referrers.ts'
import { getReferrers } from '../../registry/referrers.ts'
import type { Registry } from '../../registry/registry.ts'
import { answerJson } from '../http/answer.ts'
import { setProvenance } from '../http/provenance.ts'
import { listOf, only, setNextLink } from '../http/query.ts'
import type { RequestContext, Target } from '../state.ts'

/** end-12a, end-12b. Several types are united, as containerd asks for them. */
export async function listReferrers(
  registry: Registry,
  { repository, source, reference }: Target,
  ctx: RequestContext,
): Promise<void> {
  const subject = parseDigest(reference)
  const artifactTypes = listOf(ctx, 'artifactType').filter((type) => type !== '')
  const last = only(ctx, 'last') ?? ''
  const after = /^\d{1,18}$/.test(last) ? last : '0'

  const request = { artifactTypes, after }
  const answer =
    source === undefined
      ? await getReferrers(registry, repository, subject, request)
      : await pullReferrers(registry, source, subject, request)

  if (source !== undefined) setProvenance(ctx, { from: 'upstream', ...answer })
  if (answer.next !== undefined) {
    const filters = artifactTypes.map((type): [string, string] => ['artifactType', type])
    setNextLink(ctx, [...filters, ['last', answer.next]])
  }
  if (artifactTypes.length > 0) ctx.set('OCI-Filters-Applied', 'artifactType')
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: answer.descriptors }
  answerJson(ctx, index, { contentType: OCI_INDEX })
}
