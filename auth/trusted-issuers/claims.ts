import { compileGlob } from '../../oci/glob.ts'

export type Claims = Readonly<Record<string, unknown>>

/**
 * The claim of that name. If there is none, the name leads through objects: of what ends at one of
 * its dots the longest that is a claim is entered, and the rest is looked for in there. So
 * `kubernetes.io.namespace` is found in `{"kubernetes.io": {"namespace": …}}`.
 */
export function findClaim(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  for (let dot = name.lastIndexOf('.'); dot > 0; dot = name.lastIndexOf('.', dot - 1)) {
    const first = name.slice(0, dot)
    if (!Object.hasOwn(claims, first)) continue
    const inner = claims[first]
    return isObject(inner) ? findClaim(inner, name.slice(dot + 1)) : undefined
  }
  return undefined
}

/** Whether the claim, or a member of it when it is a list, matches one of the globs. */
export function claimMatches(value: unknown, globs: string | readonly string[]): boolean {
  const texts = (Array.isArray(value) ? value : [value])
    .map(claimText)
    .filter((text) => text !== undefined)
  return [globs].flat().some((glob) => texts.some(compileGlob(glob)))
}

/**
 * A single value as text. Whole numbers beyond 2^53 have none: several would have the same, for
 * JSON numbers are read as doubles.
 */
export function claimText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value === 'boolean') return String(value)
  if (typeof value !== 'number') return undefined
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? undefined : String(value)
}

function isObject(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
