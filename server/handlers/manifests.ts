import { RegistryError } from '../../oci/errors.ts'
import { MAX_MANIFEST_BYTES } from '../../oci/manifest.ts'
import { parseReference, parseTag } from '../../oci/reference.ts'
import {
  deleteManifest,
  getManifest,
  promiseManifest,
  putManifest,
  type StoredManifest,
} from '../../registry/manifests.ts'
import { pullManifest as pullManifestThrough } from '../../registry/pull-through/manifests.ts'
import type { Registry } from '../../registry/registry.ts'
import type { PermitsTag } from '../../registry/tag-rights.ts'
import { deleteTag } from '../../registry/tags.ts'
import { answerBytes, answerEmpty } from '../http/answer.ts'
import { readBody } from '../http/body.ts'
import { entityTag, isNotModified, precondition } from '../http/conditional.ts'
import { type Provenance, setProvenance } from '../http/provenance.ts'
import { isPushing } from '../http/pushing.ts'
import { listOf } from '../http/query.ts'
import type { RequestContext, Target } from '../state.ts'

/** end-3. What was pushed is what is sent, whatever Accept says: converting would change the digest. */
export async function pullManifest(
  registry: Registry,
  { repository, source, reference }: Target,
  ctx: RequestContext,
): Promise<void> {
  const parsed = parseReference(reference)
  if (parsed.kind === 'tag') ctx.state.access.requireTag(repository, 'pull', parsed.tag)

  const manifest: StoredManifest & Provenance =
    source === undefined
      ? await (isPushing(ctx, repository) ? promiseManifest : getManifest)(
          registry,
          repository,
          parsed,
        )
      : await pullManifestThrough(registry, source, parsed)
  if (source === undefined) notePull(registry, { repository, digest: manifest.digest }, ctx)

  setProvenance(ctx, manifest)
  ctx.res.setHeader('Docker-Content-Digest', manifest.digest)
  ctx.res.setHeader('ETag', entityTag(manifest.digest))
  if (isNotModified(ctx.req.headers, manifest.digest)) return answerEmpty(ctx, 304)
  return answerBytes(ctx, manifest.mediaType, manifest.bytes)
}

/** Takes note of a pull of what is hosted, for retention: in memory, as this is the hottest path. */
function notePull(
  { retention, uses }: Registry,
  { repository, digest }: Pick<Target, 'repository'> & Pick<StoredManifest, 'digest'>,
  { state }: RequestContext,
): void {
  const { ignoresPullsOf } = retention
  if (ignoresPullsOf.size > 0 && ignoresPullsOf.has(state.access.subject ?? 'anonymous')) return
  uses.manifestUsed(repository, digest)
}

/** end-7a, end-7b */
export async function pushManifest(
  registry: Registry,
  { repository, reference }: Target,
  ctx: RequestContext,
): Promise<void> {
  const parsed = parseReference(reference)
  const tags = listOf(ctx, 'tag').map(parseTag)
  if (tags.length > 0 && parsed.kind === 'tag') {
    throw new RegistryError('TAG_INVALID', 'tag parameters go with a push by digest')
  }
  const bytes = await readBody(ctx.req, MAX_MANIFEST_BYTES)
  const access = await ctx.state.authenticateAgain()
  access.require(repository, 'push')

  const manifest = await putManifest(registry, repository, parsed, {
    bytes,
    contentType: ctx.get('Content-Type'),
    tags,
    actor: access.subject,
    precondition: precondition(ctx.req.headers),
    permits: (action, tag) => access.allows(repository, action, tag),
  })

  ctx.set('Location', `/v2/${repository}/manifests/${manifest.digest}`)
  ctx.set('Docker-Content-Digest', manifest.digest)
  if (manifest.subject !== undefined) ctx.set('OCI-Subject', manifest.subject.digest)
  if (tags.length > 0) ctx.set('OCI-Tag', tags.join(', '))
  answerEmpty(ctx, 201)
}

/** end-9: by tag only the tag goes, by digest the manifest with all its tags. */
export async function removeManifest(
  registry: Registry,
  { repository, reference }: Target,
  ctx: RequestContext,
): Promise<void> {
  const parsed = parseReference(reference)
  const { access } = ctx.state
  const actor = access.subject
  const permits: PermitsTag = (action, tag) => access.allows(repository, action, tag)

  if (parsed.kind === 'tag') {
    access.requireTag(repository, 'delete', parsed.tag)
    await deleteTag(registry, repository, parsed.tag, actor)
  } else {
    access.requireWhole(repository, 'delete')
    await deleteManifest(registry, repository, parsed.digest, { actor, permits })
  }

  answerEmpty(ctx, 202)
}
