import { Router } from '@koa/router'
import { type Action, scopeFor } from '../auth/access.ts'
import type { AccessControl } from '../auth/access-control.ts'
import type { AuditTrail } from '../auth/audit.ts'
import { RegistryError } from '../oci/errors.ts'
import { MAX_FULL_NAME_LENGTH, parseRepositoryName } from '../oci/reference.ts'
import type { Registry } from '../registry/registry.ts'
import { checkVersion } from './handlers/base.ts'
import { pullBlob, removeBlob } from './handlers/blobs.ts'
import { listRepositories } from './handlers/catalog.ts'
import { pullManifest, pushManifest, removeManifest } from './handlers/manifests.ts'
import { listReferrers } from './handlers/referrers.ts'
import { listTags } from './handlers/tags.ts'
import { getToken, postToken, publishKeys } from './handlers/token.ts'
import {
  beginUpload,
  cancelUpload,
  completeUpload,
  receiveChunk,
  uploadStatus,
} from './handlers/uploads.ts'
import { recording } from './http/trail.ts'
import { parseV2Path, type Resource, rawPath } from './http/v2-path.ts'
import { RateLimit } from './middleware/rate-limit.ts'
import type { RepositoryHandler, RequestContext, RequestState } from './state.ts'
import { concealed, locateTarget, refuseUpstreams } from './target.ts'

interface RepositoryRoute {
  /** As metrics and the log name it. */
  readonly name: string
  readonly action: Action
  readonly handle: RepositoryHandler
  /** Whether it is recorded in the audit trail when it was done; `pulls`: when pulls are. */
  readonly recorded?: 'always' | 'pulls'
}

type Methods = Readonly<Record<string, RepositoryRoute>>

/** A GET route answers HEAD as well; Node leaves the body out. */
function reading(get: RepositoryRoute): Methods {
  return { GET: get, HEAD: get }
}

/**
 * Every endpoint below `/v2/<name>/`, in the order of the table "Endpoints" of the distribution
 * spec. This is the only way to one of them, and it checks the name and the access first, so
 * that a handler cannot forget to.
 */
export const REPOSITORY_ROUTES: Readonly<Record<Resource, Methods>> = {
  blob: {
    ...reading({ name: 'blob', action: 'pull', handle: pullBlob }), // end-2
    DELETE: { name: 'blob', action: 'delete', handle: removeBlob, recorded: 'always' }, // end-10
  },
  manifest: {
    ...reading({ name: 'manifest', action: 'pull', handle: pullManifest, recorded: 'pulls' }), // end-3
    PUT: { name: 'manifest', action: 'push', handle: pushManifest, recorded: 'always' }, // end-7a, end-7b
    DELETE: { name: 'manifest', action: 'delete', handle: removeManifest, recorded: 'always' }, // end-9
  },
  uploads: {
    POST: { name: 'uploads', action: 'push', handle: beginUpload }, // end-4a to 4c, end-11
  },
  upload: {
    ...reading({ name: 'upload', action: 'push', handle: uploadStatus }), // end-13
    PATCH: { name: 'upload', action: 'push', handle: receiveChunk }, // end-5
    PUT: { name: 'upload', action: 'push', handle: completeUpload }, // end-6
    DELETE: { name: 'upload', action: 'push', handle: cancelUpload }, // end-14
  },
  tags: reading({ name: 'tags', action: 'pull', handle: listTags }), // end-8a, end-8b
  referrers: reading({ name: 'referrers', action: 'pull', handle: listReferrers }), // end-12a, 12b
}

/** Answers everything below `/v2`. */
export async function handleV2(
  registry: Registry,
  ctx: RequestContext,
  { trail, recordsPulls }: Recording,
): Promise<void> {
  ctx.res.setHeader('Docker-Distribution-Api-Version', 'registry/2.0')
  const path = parseV2Path(rawPath(ctx.req))
  if (path === undefined) return handleRoot(registry, ctx)
  const methods = REPOSITORY_ROUTES[path.resource]
  const route = methods[ctx.method]
  if (route === undefined) throw notAllowed(ctx, Object.keys(methods))
  ctx.state.route = route.name
  const name = parseRepositoryName(
    path.name,
    MAX_FULL_NAME_LENGTH - ctx.state.origin.host.length - 1,
  )
  const { action } = route
  const { resource, reference } = path
  const located = locateTarget(registry, ctx, { name, resource, reference, action })
  const target = located instanceof Promise ? await located : located
  const { repository } = target
  const deed = {
    action: `${route.name}.${action}`,
    repository,
    target: reference,
    isRecorded: isRecorded(route, ctx.method, recordsPulls),
  }
  return recording(trail, ctx, deed, async () => {
    const { access } = ctx.state
    access.require(repository, action)
    try {
      refuseUpstreams(target, action)
      await route.handle(registry, target, ctx)
    } catch (error) {
      const scopes = [scopeFor(repository, action)]
      throw access.worded(concealed(error, target, ctx.state), scopes)
    }
  })
}

interface Recording {
  readonly trail: Pick<AuditTrail, 'record'>
  readonly recordsPulls: boolean
}

function isRecorded({ recorded }: RepositoryRoute, method: string, recordsPulls: boolean): boolean {
  return recorded === 'always' || (recorded === 'pulls' && recordsPulls && method === 'GET')
}

async function handleRoot(registry: Registry, ctx: RequestContext): Promise<void> {
  const known = ctx.path === '/v2/' || ctx.path === '/v2' || ctx.path === '/v2/_catalog'
  if (!known) {
    throw new RegistryError('UNSUPPORTED', 'there is nothing at this address', { status: 404 })
  }
  if (ctx.method !== 'GET' && ctx.method !== 'HEAD') throw notAllowed(ctx, ['GET', 'HEAD'])
  if (ctx.path === '/v2/_catalog') {
    ctx.state.route = 'catalog'
    return listRepositories(registry, ctx)
  }
  ctx.state.route = 'base' // end-1
  return checkVersion(ctx)
}

/** Where tokens are had, and the keys they are signed with. */
export function tokenRoutes(access: AccessControl, perMinute: number): Router<RequestState> {
  const limit = new RateLimit(perMinute)
  const router = new Router<RequestState>({ sensitive: true })
  const on = (method: 'get' | 'post', handle: typeof getToken) =>
    router[method]('/token', async (ctx) => {
      ctx.state.route = 'token'
      limit.take(ctx.state.address)
      await handle(access, ctx)
    })
  on('get', getToken)
  on('post', postToken)
  router.get('/.well-known/jwks.json', async (ctx) => {
    ctx.state.route = 'keys'
    await publishKeys(access, ctx)
  })
  return router
}

function notAllowed(ctx: RequestContext, methods: readonly string[]): RegistryError {
  ctx.set('Allow', methods.join(', '))
  return new RegistryError('UNSUPPORTED', `${ctx.method} is not possible here`)
}
