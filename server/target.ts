import { RegistryError } from '../oci/errors.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { UpstreamError } from '../registry/pull-through/failure.ts'
import { type Located, locate } from '../registry/pull-through/locate.ts'
import type { Registry } from '../registry/registry.ts'
import { only } from './http/query.ts'
import type { Resource } from './http/v2-path.ts'
import type { RequestContext, Target } from './state.ts'

export interface AskedTarget {
  readonly name: RepositoryName
  readonly resource: Resource
  readonly reference: string
  readonly action: 'pull' | 'push' | 'delete' | 'overwrite'
}

export type LocatedTarget = Target & Located

/**
 * What a name stands for: itself, or a repository of an upstream. From then on the rules of that
 * repository count, and a token that was issued for the name counts for it.
 */
export function locateTarget(
  registry: Registry,
  ctx: RequestContext,
  asked: AskedTarget,
): LocatedTarget | Promise<LocatedTarget> {
  const { upstreams } = registry.pullThrough
  if (upstreams.all.length > 0) return locateAmong(registry, ctx, asked)
  return unlocated(asked)
}

/** Itself, and nothing outside. */
function unlocated({ name, reference }: AskedTarget): LocatedTarget {
  return { asked: name, repository: name, source: undefined, reference }
}

async function locateAmong(
  registry: Registry,
  ctx: RequestContext,
  target: AskedTarget,
): Promise<LocatedTarget> {
  const { name, resource, reference, action } = target
  const namespace = namespaceOf(ctx)
  const content = resource === 'manifest' ? 'manifest' : 'other content'
  const wants = action === 'pull' ? content : 'change'
  const located = await locate(registry, { name, namespace, wants })
  const { repository, isScoped, isAmbiguous } = located
  if (isScoped && namespace !== undefined) ctx.set('OCI-Namespace', namespace)
  const access = ctx.state.access.standingFor(name, repository)
  // Who may not pull what is outside is answered as if there were nothing outside.
  if (isAmbiguous && !access.allows(repository, 'pull')) {
    return unlocated(target)
  }
  if (repository !== name) ctx.state.access = access
  return { asked: name, reference, ...located }
}

/** The registry that `?ns=` names; '' when it names two. */
function namespaceOf(ctx: RequestContext): string | undefined {
  const named = only(ctx, 'ns')
  return named === '' ? undefined : (named ?? '')
}

/**
 * @throws RegistryError DENIED for a push, as what an upstream has is changed there; NAME_UNKNOWN
 *   for a pull of what is not to be asked for any more, be it kept here
 */
export function refuseUpstreams(
  { upstream, source, repository }: LocatedTarget,
  action: AskedTarget['action'],
): void {
  if (upstream === undefined) return
  if (action === 'push') {
    throw new RegistryError(
      'DENIED',
      `${repository} is kept of ${upstream}, and cannot be pushed to`,
    )
  }
  if (action === 'pull' && source === undefined) {
    throw new RegistryError('NAME_UNKNOWN', `${repository} is not to be asked for`)
  }
}

/**
 * What to throw for a name that was asked for outside in vain, where it could have been that of
 * something hosted: to who may not pull such a name here it looks as what is private does.
 */
export function concealed(
  error: unknown,
  { isAmbiguous, asked }: LocatedTarget,
  { access }: RequestContext['state'],
): unknown {
  const isTelling =
    error instanceof UpstreamError || (error instanceof RegistryError && error.status === 404)
  if (!isAmbiguous || !isTelling) return error
  try {
    access.require(asked, 'pull')
    return error
  } catch (refusal) {
    return refusal
  }
}
