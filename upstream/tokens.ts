import { asAnswerFailure } from './answer-failure.ts'
import { type Credentials, formatBasic, type Secret } from './credentials.ts'
import { Deadline, unlessAborted } from './deadline.ts'
import { UpstreamFailure } from './failure.ts'
import { mayHaveCredentials, type TokenService } from './realm.ts'
import { secretsIn } from './redact.ts'
import { type FollowedAnswer, follow } from './redirects.ts'
import { parseToken, type Token } from './token-answer.ts'
import { readWhole, type Transport } from './transport.ts'

const CLIENT_ID = 'slipway'
const MAX_ANSWER_BYTES = 65_536
const MAX_KEPT = 1000
/** Before its end a token is not used any more for a quarter of its life, and no longer than this. */
const LONGEST_MARGIN_SECONDS = 30

export interface TokensOptions {
  readonly transport: Transport
  readonly upstream: URL
  readonly realms: readonly string[]
  readonly credentials: Credentials
  readonly limitMs: number
  readonly now: () => number
  /** Aborted when all ends. */
  readonly closed: AbortSignal
}

interface Entry {
  readonly promise: Promise<string>
  /** Undefined while it is asked for. */
  token: string | undefined
  until: number
}

/** The tokens of one upstream, by what they are for. All who want the same one ask once. */
export class Tokens {
  readonly #options: TokensOptions
  readonly #entries = new Map<string, Entry>()

  constructor(options: TokensOptions) {
    this.#options = options
  }

  /** One that is here and good for a while. */
  kept(key: string): string | undefined {
    const entry = this.#entries.get(key)
    return entry !== undefined && this.#options.now() < entry.until ? entry.token : undefined
  }

  /**
   * @param refused one that was shown and did not help
   * @throws UpstreamFailure, or the reason of the signal; the asking itself goes on for others
   */
  obtain(
    key: string,
    service: TokenService,
    refused: string | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const known = this.#entries.get(key)
    const isPending = known !== undefined && known.token === undefined
    const kept = this.kept(key)
    if (known !== undefined && (isPending || (kept !== undefined && kept !== refused))) {
      return unlessAborted(known.promise, signal)
    }
    return unlessAborted(this.#ask(key, service), signal)
  }

  #ask(key: string, service: TokenService): Promise<string> {
    const asked = this.#fetchInTime(service)
    const entry: Entry = { promise: asked.then(({ token }) => token), token: undefined, until: 0 }
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MAX_KEPT) break
      this.#entries.delete(oldest)
    }
    const keep = ({ token, seconds, askedAt }: Token & { askedAt: number }) => {
      const margin = Math.min(LONGEST_MARGIN_SECONDS, seconds / 4)
      entry.token = token
      entry.until = askedAt + (seconds - margin) * 1000
    }
    const forget = () => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key)
    }
    asked.then(keep, forget)
    return entry.promise
  }

  async #fetchInTime(service: TokenService): Promise<Token & { askedAt: number }> {
    const { closed, limitMs, transport, now } = this.#options
    const deadline = new Deadline([closed])
    const who = transport.describe(service.realm)
    deadline.limit(
      limitMs,
      () => new UpstreamFailure('unavailable', `${who}: gave no token in time`),
    )
    try {
      const askedAt = now()
      return { ...(await this.#fetch(service, deadline.signal)), askedAt }
    } finally {
      deadline.end()
    }
  }

  async #fetch(service: TokenService, signal: AbortSignal): Promise<Token> {
    const { upstream, realms, credentials } = this.#options
    const isTrusted = mayHaveCredentials(service.realm, upstream, realms)
    const secret = isTrusted ? await unlessAborted(credentials.read(), signal) : undefined
    let shown = secret
    let answer = await this.#request(service, secret, signal)
    if (answer.status === 401 && secret !== undefined && (await credentials.renew(secret))) {
      answer.drop()
      shown = await unlessAborted(credentials.read(), signal)
      answer = await this.#request(service, shown, signal)
    }
    if (answer.status !== 200) throw await this.#failure(answer, shown)
    return parseToken(answer.who, await readWhole(answer, MAX_ANSWER_BYTES))
  }

  /** Distribution, "Token Authentication Specification"; with an identity token, its OAuth2 form. */
  #request(
    { realm, service, scopes }: TokenService,
    secret: Secret | undefined,
    signal: AbortSignal,
  ): Promise<FollowedAnswer> {
    const { transport } = this.#options
    const headers = { accept: 'application/json' }
    if (secret?.kind !== 'identity token') {
      const url = new URL(realm)
      if (service !== undefined) url.searchParams.set('service', service)
      for (const scope of scopes) url.searchParams.append('scope', scope)
      const authorization = secret && formatBasic(secret)
      return follow(transport, { url, method: 'GET', headers, authorization, signal })
    }
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: secret.token,
      client_id: CLIENT_ID,
      scope: scopes.join(' '),
    })
    if (service !== undefined) form.set('service', service)
    const type = { 'content-type': 'application/x-www-form-urlencoded' }
    const body = form.toString()
    return transport
      .send({ url: realm, method: 'POST', headers: { ...headers, ...type }, body, signal })
      .then((answer) => Object.assign(answer, { isOwn: true }))
  }

  async #failure(answer: FollowedAnswer, secret: Secret | undefined): Promise<UpstreamFailure> {
    const secrets =
      secret?.kind === 'identity token' ? [secret.token] : secretsIn(secret && formatBasic(secret))
    const failure = await asAnswerFailure(answer, { secrets, now: this.#options.now() })
    // That there is no such page says nothing of what a token was wanted for.
    if (failure.reason !== 'unknown') return failure
    return new UpstreamFailure('invalid', failure.message)
  }
}
