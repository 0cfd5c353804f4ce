import { RegistryError } from '../../oci/errors.ts'
import { formatScope, type Scope } from './scope.ts'

/** What a 401 tells besides where tokens are to be had. RFC 6750, section 3. */
export interface Challenge {
  /** Left out when nothing was shown: clients take it for a token that was not good. */
  readonly error?: 'invalid_token' | 'insufficient_scope'
  readonly scopes: readonly Scope[]
}

/** The caller should come back with a token, or with another one. */
export class Unauthorized extends RegistryError {
  readonly challenge: Challenge
  /** Whether somebody known asked for what no token would give: then it is a denial. */
  readonly isFinal: boolean

  constructor(
    challenge: Challenge,
    detail: string | readonly string[] = [],
    { cause, isFinal = false }: { readonly cause?: unknown; readonly isFinal?: boolean } = {},
  ) {
    super('UNAUTHORIZED', detail, { cause })
    this.challenge = challenge
    this.isFinal = isFinal
  }
}

export interface TokenSource {
  /** Absolute URL of the token endpoint, as the client reaches it. */
  readonly realm: string
  readonly service: string
}

/** The value of `WWW-Authenticate`. All values are quoted: some clients drop what is not. */
export function formatChallenge({ realm, service }: TokenSource, challenge: Challenge): string {
  const parameters = [`realm="${quotable(realm)}"`, `service="${quotable(service)}"`]
  if (challenge.scopes.length > 0) {
    parameters.push(`scope="${quotable(challenge.scopes.map(formatScope).join(' '))}"`)
  }
  if (challenge.error !== undefined) parameters.push(`error="${challenge.error}"`)
  return `Bearer ${parameters.join(',')}`
}

/** A Host header is the client's to write: nothing of it may end the quotes or the line. */
function quotable(text: string): string {
  return text.replaceAll(/["\\]|[^\x20-\x7e]/g, '')
}
