import type { Coverage } from '../rules/grant.ts'
import { type Claims, claimMatches, claimText, findClaim } from './claims.ts'
import type { IssuerRule } from './issuer.ts'

/** What stands between braces is the name of a claim. */
export const PLACEHOLDER = /\{([^{}]+)\}/g

/**
 * What the rule gives who has these claims, placeholders filled in; undefined when it does not
 * match, and also when a placeholder cannot be filled in safely.
 */
export function applyRule(rule: IssuerRule, claims: Claims): Coverage | undefined {
  const conditions = Object.entries(rule.claims)
  if (conditions.length === 0) return undefined
  if (!conditions.every(([name, globs]) => claimMatches(findClaim(claims, name), globs))) {
    return undefined
  }
  const repositories = fill(rule.repositories, claims, IN_REPOSITORIES)
  const tags = fill(rule.tags ?? [], claims, IN_TAGS)
  if (repositories === undefined || tags === undefined) return undefined
  return { repositories, ...(rule.tags && { tags }), actions: rule.actions }
}

interface Place {
  /** What a value becomes there; undefined when it cannot stand there. */
  readonly partOf: (value: string) => string | undefined
  /** Characters of a glob, as long as what it is to match can be. */
  readonly longest: number
}

const IN_REPOSITORIES: Place = { partOf: repositoryPart, longest: 255 }
const IN_TAGS: Place = { partOf: tagPart, longest: 128 }

function fill(globs: readonly string[], claims: Claims, place: Place): string[] | undefined {
  let complete = true
  const filled = globs.map((glob) =>
    glob.replaceAll(PLACEHOLDER, (_, name: string) => {
      const text = claimText(findClaim(claims, name))
      const part = text === undefined ? undefined : place.partOf(text)
      complete &&= part !== undefined
      return part ?? ''
    }),
  )
  return complete && filled.every(({ length }) => length <= place.longest) ? filled : undefined
}

/**
 * A value that can stand in a repository's name without widening the glob around it. It is checked
 * before it is lowered: some characters outside ASCII become letters of it.
 */
function repositoryPart(value: string): string | undefined {
  if (!/^[A-Za-z0-9._/-]+$/.test(value)) return undefined
  if (value.startsWith('/') || value.endsWith('/') || /\/\/|\.\./.test(value)) return undefined
  return value.toLowerCase()
}

function tagPart(value: string): string | undefined {
  return /^[A-Za-z0-9._-]+$/.test(value) ? value : undefined
}
