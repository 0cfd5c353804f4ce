import { errors, type JWTPayload, jwtVerify } from 'jose'
import type { Logger } from 'pino'
import type { Pool } from '../storage/metadata/database.ts'
import { insertUsedAssertion } from '../storage/metadata/used-assertions.ts'
import type { Coverage } from './rules/grant.ts'
import { KeysUnavailable, TokenInvalid } from './tokens/token-invalid.ts'
import { ALGORITHMS, hashSigningInput, readUnverified } from './trusted-issuers/compact-token.ts'
import { type IssuerRule, revisionOf, type TrustedIssuer } from './trusted-issuers/issuer.ts'
import { IssuerKeys } from './trusted-issuers/keys.ts'
import { applyRule } from './trusted-issuers/rules.ts'

export type { IssuerRule, TrustedIssuer }
export { revisionOf }

const LEEWAY_SECONDS = 60
const LONGEST_SECONDS = 24 * 3600
const LONGEST_SUBJECT = 255
const TIMEOUT_MS = 5000
// What would not show, or show as something else, where the subject is printed.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

/** Errors whose message is of use to who has the token, and quotes nothing of it. */
const SAYS_WHY = [
  errors.JWTClaimValidationFailed,
  errors.JWTExpired,
  errors.JWSSignatureVerificationFailed,
  errors.JWKSNoMatchingKey,
  errors.JWKSMultipleMatchingKeys,
]

/** A CI job's ID token that was found good, with what its issuer's rules give. */
export interface Assertion {
  /** `ci:<name of the issuer>:<sub>`; at most 255 characters, all of them visible. */
  readonly subject: string
  readonly issuerName: string
  /** Of every rule that matches, placeholders filled in. */
  readonly coverage: readonly Coverage[]
  /** {@link revisionOf} the matching rules, each once. */
  readonly revisions: readonly string[]
  /** How long a credential may be good for: the least of the matching rules, 60 to 3600. */
  readonly seconds: number
  /** When the ID token itself expires: its `exp`, in seconds since the epoch. */
  readonly expiresAt: number
}

export interface TrustedIssuersOptions {
  /** Asked on each exchange, so that issuers may be added and removed meanwhile. */
  readonly issuers: () => readonly TrustedIssuer[]
  readonly db: Pool
  readonly log: Pick<Logger, 'info' | 'warn'>
  readonly now?: () => Date
  /** How long an issuer may take to answer one request; 5000. */
  readonly timeoutMs?: number
}

/** Accepts ID tokens of other issuers, each one once. Only issuers configured are contacted. */
export class TrustedIssuers {
  readonly #options: TrustedIssuersOptions
  readonly #now: () => Date
  /** By the URL of the issuer. */
  readonly #keys = new Map<string, IssuerKeys>()

  constructor(options: TrustedIssuersOptions) {
    this.#options = options
    this.#now = options.now ?? (() => new Date())
  }

  /**
   * Checks the token and records that it was used. Whoever it is made out to besides us does not
   * matter. A token that is refused for another reason is not used up.
   *
   * @throws TokenInvalid, KeysUnavailable
   */
  async exchange(token: string): Promise<Assertion> {
    const issuers = this.#options.issuers()
    const issuer = selectIssuer(issuers, readUnverified(token))
    const payload = await this.#verify(token, issuer, this.#keysOf(issuer, issuers))
    const assertion = applyRules(issuer, payload)
    const first = await insertUsedAssertion(this.#options.db, {
      hash: hashSigningInput(token),
      expiresAt: new Date(assertion.expiresAt * 1000),
    })
    if (!first) throw new TokenInvalid('the token was used before')
    return assertion
  }

  async #verify(token: string, issuer: TrustedIssuer, keys: IssuerKeys): Promise<JWTPayload> {
    const now = this.#now()
    try {
      const { payload } = await jwtVerify(token, (header) => keys.find(header), {
        algorithms: ALGORITHMS,
        issuer: issuer.issuer,
        audience: issuer.audience,
        requiredClaims: ['exp', 'iat', 'sub'],
        clockTolerance: LEEWAY_SECONDS,
        currentDate: now,
      })
      checkLifetime(payload, now.getTime() / 1000)
      return payload
    } catch (error) {
      if (error instanceof KeysUnavailable || error instanceof TokenInvalid) throw error
      // Without a cause: it would carry all claims into the log.
      if (SAYS_WHY.some((kind) => error instanceof kind)) throw new TokenInvalid(messageOf(error))
      this.#options.log.info({ issuer: issuer.name, err: error }, 'token not verified')
      throw new TokenInvalid('the token cannot be verified')
    }
  }

  #keysOf({ issuer }: TrustedIssuer, issuers: readonly TrustedIssuer[]): IssuerKeys {
    const known = this.#keys.get(issuer)
    if (known !== undefined) return known
    for (const url of this.#keys.keys()) {
      if (!issuers.some((one) => one.issuer === url)) this.#keys.delete(url)
    }
    const { log, timeoutMs = TIMEOUT_MS } = this.#options
    const keys = new IssuerKeys(issuer, { now: this.#now, timeoutMs, log })
    this.#keys.set(issuer, keys)
    return keys
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** One URL may be configured several times, for several audiences: the first that suits. */
function selectIssuer(
  issuers: readonly TrustedIssuer[],
  { iss, aud = [] }: JWTPayload,
): TrustedIssuer {
  const candidates = issuers.filter(({ issuer }) => issuer === iss)
  if (candidates.length === 0) throw new TokenInvalid('the issuer of the token is not trusted')
  const issuer = candidates.find(({ audience }) => [aud].flat().includes(audience))
  if (issuer === undefined) throw new TokenInvalid('the token is made out to another audience')
  return issuer
}

/** Written so that what is no number fails: JSON numbers may be too large to be finite. */
function checkLifetime({ exp = NaN, iat = NaN }: JWTPayload, nowSeconds: number): void {
  if (!(iat <= nowSeconds + LEEWAY_SECONDS)) throw new TokenInvalid('the token is of the future')
  if (!(nowSeconds - iat <= LONGEST_SECONDS)) throw new TokenInvalid('the token is too old')
  if (!(exp > iat && exp - iat <= LONGEST_SECONDS)) {
    throw new TokenInvalid('the token is good for more than 24 hours, or for none')
  }
}

/** @throws TokenInvalid when no rule matches */
function applyRules(issuer: TrustedIssuer, payload: JWTPayload): Assertion {
  const subject = subjectOf(issuer, payload)
  const matches = issuer.rules.flatMap((rule) => {
    const coverage = applyRule(rule, payload)
    return coverage === undefined ? [] : [{ rule, coverage }]
  })
  if (matches.length === 0) throw new TokenInvalid('no rule matches the claims of the token')
  return {
    subject,
    issuerName: issuer.name,
    coverage: matches.map(({ coverage }) => coverage),
    revisions: [...new Set(matches.map(({ rule }) => revisionOf(issuer, rule)))],
    seconds: Math.min(...matches.map(({ rule }) => rule.seconds)),
    expiresAt: payload.exp ?? 0,
  }
}

/** Never cut: two jobs would be one. */
function subjectOf({ name }: TrustedIssuer, { sub }: JWTPayload): string {
  if (typeof sub !== 'string' || sub === '') throw new TokenInvalid('the token has no subject')
  const subject = `ci:${name}:${sub}`
  if (subject.length > LONGEST_SUBJECT) throw new TokenInvalid('the subject is too long')
  if (INVISIBLE.test(subject)) throw new TokenInvalid('the subject has invisible characters')
  return subject
}
