import { RegistryError } from '../../oci/errors.ts'
import type { PageRequest } from '../../registry/page.ts'
import type { RequestContext } from '../state.ts'

/**
 * Every value of a parameter that may be repeated.
 *
 * @throws RegistryError UNSUPPORTED with status 400 for a NUL, which no name has and no database takes
 */
export function listOf(ctx: RequestContext, name: string): string[] {
  const value = ctx.query[name]
  if (value === undefined) return []
  const values = Array.isArray(value) ? value : [value]
  if (values.some((each) => each.includes('\0'))) {
    throw new RegistryError('UNSUPPORTED', `${name} has a NUL in it`, { status: 400 })
  }
  return values
}

/** The value of a parameter, '' when it is absent. Two different values are `undefined`. */
export function only(ctx: RequestContext, name: string): string | undefined {
  const [first = '', ...others] = listOf(ctx, name)
  return others.every((other) => other === first) ? first : undefined
}

/**
 * The page that `n` and `last` ask for. A larger `n` than `max` is cut to it.
 *
 * @throws RegistryError PAGINATION_NUMBER_INVALID
 */
export function pageRequest(
  ctx: RequestContext,
  { standard, max }: { readonly standard: number; readonly max: number },
): PageRequest {
  const n = only(ctx, 'n')
  const after = only(ctx, 'last') ?? ''
  if (n === '') return { after, limit: standard }
  if (n === undefined || !/^\d{1,15}$/.test(n)) {
    throw new RegistryError('PAGINATION_NUMBER_INVALID', 'n is not a number of results')
  }
  return { after, limit: Math.min(Number(n), max) }
}

/** Points to the next page, of the same `ns`. Relative, so that it holds behind any proxy. */
export function setNextLink(ctx: RequestContext, parameters: readonly [string, string][]): void {
  const namespaces = listOf(ctx, 'ns').map((namespace): [string, string] => ['ns', namespace])
  const query = new URLSearchParams([...namespaces, ...parameters])
  ctx.set('Link', `<${ctx.path}?${query.toString()}>; rel="next"`)
}
