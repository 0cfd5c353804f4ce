import { type Challenge, parseChallenges } from './challenge.ts'
import { type Credentials, formatBasic } from './credentials.ts'
import { unlessAborted } from './deadline.ts'
import { readTokenService } from './realm.ts'
import { secretsIn } from './redact.ts'
import { type FollowedAnswer, follow } from './redirects.ts'
import type { Tokens } from './tokens.ts'
import type { Transport } from './transport.ts'

export interface AuthenticationOptions {
  /** The upstream's name. */
  readonly name: string
  readonly upstream: URL
  readonly transport: Transport
  readonly credentials: Credentials
  readonly tokens: Tokens
}

export interface RegistryRequest {
  /** On the upstream's own origin. */
  readonly url: URL
  readonly method: 'GET' | 'HEAD'
  readonly headers: Readonly<Record<string, string>>
  /** What a token has to be good for: `repository:library/alpine:pull`. */
  readonly scope: string
  readonly signal: AbortSignal
}

export interface AuthenticatedAnswer extends FollowedAnswer {
  /** What was shown to get it. */
  readonly secrets: readonly string[]
}

/** Shows an upstream what it wants to see, and gets a token first where it wants one. */
export class Authentication {
  readonly #options: AuthenticationOptions
  /** Whether the upstream was content with Basic the last time. */
  #isBasic = false

  constructor(options: AuthenticationOptions) {
    this.#options = options
  }

  /** A 401 is the answer when nothing more can be shown. @throws UpstreamFailure */
  async send(request: RegistryRequest): Promise<AuthenticatedAnswer> {
    const first = await this.#kept(request)
    const answer = await this.#ask(request, first)
    // A challenge of where we were sent on to is not one of the upstream.
    if (answer.status !== 401 || !answer.isOwn) return answer
    const next = await this.#meet(answer, request, first)
    if (next === undefined) return answer
    answer.drop()
    return this.#ask(request, next)
  }

  async #ask(
    request: RegistryRequest,
    authorization: string | undefined,
  ): Promise<AuthenticatedAnswer> {
    const answer = await follow(this.#options.transport, { ...request, authorization })
    return Object.assign(answer, { secrets: secretsIn(authorization) })
  }

  async #kept({ scope, signal }: RegistryRequest): Promise<string | undefined> {
    if (this.#isBasic) return this.#basic(signal)
    const token = this.#options.tokens.kept(scope)
    return token === undefined ? undefined : asBearer(token)
  }

  /** @returns what to show instead of `refused`, or undefined when there is nothing else */
  async #meet(
    { headers }: FollowedAnswer,
    request: RegistryRequest,
    refused: string | undefined,
  ): Promise<string | undefined> {
    const challenges = parseChallenges(headers['www-authenticate'])
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer')
    this.#isBasic = bearer === undefined && challenges.some(({ scheme }) => scheme === 'basic')
    if (bearer !== undefined) return this.#bearer(bearer, request, refused)
    return this.#isBasic ? this.#otherBasic(refused, request.signal) : undefined
  }

  async #bearer(
    challenge: Challenge,
    { scope, signal }: RegistryRequest,
    refused: string | undefined,
  ): Promise<string> {
    const { name, upstream, tokens } = this.#options
    const service = readTokenService(challenge, { name, upstream, scope })
    const stale = refused?.startsWith('Bearer ') ? refused.slice('Bearer '.length) : undefined
    return asBearer(await tokens.obtain(scope, service, stale, signal))
  }

  async #otherBasic(refused: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const { credentials } = this.#options
    const current = await unlessAborted(credentials.read(), signal)
    if (current?.kind !== 'password') return undefined
    if (formatBasic(current) !== refused) return formatBasic(current)
    if (!(await credentials.renew(current))) return undefined
    const renewed = await this.#basic(signal)
    return renewed === refused ? undefined : renewed
  }

  async #basic(signal: AbortSignal): Promise<string | undefined> {
    const secret = await unlessAborted(this.#options.credentials.read(), signal)
    return secret?.kind === 'password' ? formatBasic(secret) : undefined
  }
}

function asBearer(token: string): string {
  return `Bearer ${token}`
}
