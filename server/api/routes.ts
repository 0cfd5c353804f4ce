import { Router } from '@koa/router'
import type { Access } from '../../auth/access.ts'
import type { AccessControl } from '../../auth/access-control.ts'
import { RegistryError } from '../../oci/errors.ts'
import type { Registry } from '../../registry/registry.ts'
import { answerEmpty, answerJson } from '../http/answer.ts'
import { only } from '../http/query.ts'
import { recording } from '../http/trail.ts'
import type { RequestContext, RequestState } from '../state.ts'
import type { Endpoint, Who } from './endpoint.ts'
import { readJson } from './json-body.ts'
import { ENDPOINTS } from './table.ts'

/** Our own API, for what the distribution spec has no endpoint for. */
export function apiRoutes(registry: Registry, control: AccessControl): Router<RequestState> {
  const router = new Router<RequestState>({ prefix: '/api/v1', sensitive: true })
  for (const path of new Set(ENDPOINTS.map((each) => each.path))) {
    const endpoints = ENDPOINTS.filter((each) => each.path === path)
    router.all(path, (ctx) => serve({ registry, control }, endpoints, ctx))
  }
  return router
}

interface Parts {
  readonly registry: Registry
  readonly control: AccessControl
}

async function serve(
  parts: Parts,
  endpoints: readonly Endpoint[],
  ctx: RequestContext,
): Promise<void> {
  const method = ctx.method === 'HEAD' ? 'GET' : ctx.method
  const found = endpoints.find((each) => each.method === method)
  if (found === undefined) throw notAllowed(ctx, endpoints)
  ctx.state.route = `api ${found.path.split('/')[1]}`
  // What is done is recorded where it is done, in the same transaction.
  const deed = { action: `api.${found.id}`, target: ctx.path, isRecorded: false }
  return recording(parts.control.audit, ctx, deed, () => answer(parts, found, ctx))
}

async function answer(parts: Parts, found: Endpoint, ctx: RequestContext): Promise<void> {
  requireCaller(ctx.state.access, found.who)
  const path = pathOf(ctx)
  const query = queryOf(ctx)
  const body = found.body === undefined ? undefined : await receive(found.who, ctx)

  const value = await found.run({ ...parts, ctx, path, query, body })

  if (ctx.res.headersSent) return
  ctx.set('Cache-Control', 'no-store')
  if (found.answer === undefined) answerEmpty(ctx, found.status ?? 200)
  else answerJson(ctx, value, { status: found.status ?? 200 })
}

function requireCaller(access: Access, who: Who): void {
  if (who === 'admin') access.requireAdmin()
  else if (who === 'account') access.requireAccount()
}

/** The body, which only those may send who will be let in. */
async function receive(who: Who, ctx: RequestContext): Promise<unknown> {
  const body = await readJson(ctx)
  // A body may take its time. Who was locked out meanwhile must not have kept a foot in the door.
  ctx.state.access = await ctx.state.authenticateAgain()
  requireCaller(ctx.state.access, who)
  return body
}

function pathOf(ctx: RequestContext): Record<string, string> {
  const path: Record<string, string> = ctx['params']
  // Of what no database takes in a text there is none.
  if (Object.values(path).some((value) => value.includes('\0'))) {
    throw new RegistryError('NAME_UNKNOWN', 'there is nothing of that name')
  }
  return path
}

/** Parameters that are there but empty count as left out. */
function queryOf(ctx: RequestContext): Record<string, string> {
  const values = Object.keys(ctx.query).map((name): [string, string] => {
    const value = only(ctx, name)
    if (value !== undefined) return [name, value]
    const detail = `${name.slice(0, 100)}: one value is expected`
    throw new RegistryError('UNSUPPORTED', detail, { status: 400 })
  })
  return Object.fromEntries(values.filter(([, value]) => value !== ''))
}

function notAllowed(ctx: RequestContext, endpoints: readonly Endpoint[]): RegistryError {
  const methods = endpoints.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))
  ctx.set('Allow', methods.join(', '))
  return new RegistryError('UNSUPPORTED', `${ctx.method} is not possible here`)
}
