import type { ParameterizedContext } from 'koa'
import type { Access } from '../auth/access.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { UpstreamRepository } from '../registry/pull-through/upstreams.ts'
import type { Registry } from '../registry/registry.ts'

/** What middleware and the route table put on `ctx.state`. */
export interface RequestState {
  requestId: string
  /** The client's address, behind trusted proxies the one they report. */
  address: string
  /** The scheme and host the client used, behind trusted proxies as they report them. */
  origin: { readonly scheme: string; readonly host: string }
  /** Where the proxy that asks has the folder of the blobs; undefined: it cannot send them itself. */
  accelPath: string | undefined
  access: Access
  /** Asks once more who it is, when a body took its time; a token that expired meanwhile will do. */
  authenticateAgain: () => Access | Promise<Access>
  /** The route's name for metrics and the log; undefined when no route matched. */
  route: string | undefined
}

export type RequestContext = ParameterizedContext<RequestState>

/** What the address of a request names. */
export interface Target {
  /** Valid, and the caller has access to it. */
  readonly repository: RepositoryName
  /** What the client calls it. */
  readonly asked: RepositoryName
  /** Where it comes from, when it is a repository of an upstream. */
  readonly source: UpstreamRepository | undefined
  /** The last segment of the path, '' where the route has none; raw, for the handler to parse. */
  readonly reference: string
}

/** A handler of one endpoint below `/v2/<name>/`. */
export type RepositoryHandler = (
  registry: Registry,
  target: Target,
  ctx: RequestContext,
) => Promise<void>
