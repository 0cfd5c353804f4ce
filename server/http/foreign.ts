import type { AuthMode } from '../../auth/access-control.ts'
import { RegistryError } from '../../oci/errors.ts'
import type { RequestContext } from '../state.ts'

/**
 * Refuses what a web page makes a browser send: with the password that the browser keeps for us, or
 * to a server of this machine that asks nobody who he is.
 *
 * @throws RegistryError DENIED
 */
export function refuseForeign(ctx: RequestContext, mode: AuthMode): void {
  const { headers, method } = ctx.req
  if (method !== 'GET' && method !== 'HEAD' && isOfOtherSite(headers)) {
    throw new RegistryError('DENIED', 'a page of another site asked for this')
  }
  if (mode !== 'first account' || !ctx.state.access.isEverybody) return
  const isForwarded = 'x-forwarded-for' in headers || 'forwarded' in headers
  if (!isForwarded && isThisMachine(headers.host ?? 'localhost')) return
  throw new RegistryError(
    'DENIED',
    'there is no account yet, so only this machine is served, by its own name: add a user, or say auth: none',
  )
}

/** Fetch Metadata, and RFC 6454 for browsers that do not send it. */
function isOfOtherSite(headers: RequestContext['req']['headers']): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  const { origin } = headers
  if (origin === undefined) return false
  return !URL.canParse(origin) || new URL(origin).host !== headers.host
}

/** A name that no other machine answers to: what DNS says of others, anybody can have said. */
function isThisMachine(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host)
}
