import { createHash } from 'node:crypto'
import type { Coverage } from '../rules/grant.ts'

/** An OIDC provider whose ID tokens CI jobs may exchange for credentials of this registry. */
export interface TrustedIssuer {
  /** 1 to 40 of `a-z`, `0-9` and `-`; unique. Part of the subject of those it lets in. */
  readonly name: string
  /** Its URL exactly as `iss` and the discovery document say it; https unless on loopback. */
  readonly issuer: string
  /** Has to be, or to be among, the audiences a token is made out to. */
  readonly audience: string
  readonly rules: readonly IssuerRule[]
}

/**
 * Who may do what. `repositories` and `tags` may have placeholders: `{repository_owner}` stands
 * for the claim of that name. Upper case of it is lowered in repositories, so an issuer that tells
 * `Acme` from `acme` should be given rules that name them.
 */
export interface IssuerRule extends Coverage {
  /**
   * Name of a claim -> glob, or several of which one has to match; every claim listed has to.
   * `*` stands for anything but a slash, `**` for anything. Dots lead into nested objects.
   */
  readonly claims: Readonly<Record<string, string | readonly string[]>>
  /** How long the credential obtained is good for: 60 to 3600. */
  readonly seconds: number
}

/**
 * Of the issuer's URL and audience and of the rule; 43 characters of base64url. A credential that
 * a rule let in is good only while a rule of that revision is configured. The order of claims,
 * globs and actions makes no difference.
 */
export function revisionOf({ issuer, audience }: TrustedIssuer, rule: IssuerRule): string {
  const claims = Object.entries(rule.claims).map(([name, globs]) => [
    name,
    typeof globs === 'string' ? [globs] : globs.toSorted(),
  ])
  const text = JSON.stringify([
    issuer,
    audience,
    claims.toSorted(([left], [right]) => (String(left) < String(right) ? -1 : 1)),
    rule.repositories.toSorted(),
    rule.tags?.toSorted() ?? null,
    rule.actions.toSorted(),
    rule.seconds,
  ])
  return createHash('sha256').update(text).digest('base64url')
}
