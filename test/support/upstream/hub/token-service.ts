import { randomBytes } from 'node:crypto'
import type { Exchange } from '../../proxy/exchange.ts'

export interface TokenServiceOptions {
  readonly target: string
  readonly account: { readonly username: string; readonly password: string } | undefined
  readonly privateRepositories: readonly string[]
  readonly tokenSeconds: number
}

export interface Grant {
  readonly repositories: ReadonlySet<string>
  readonly account: string | undefined
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

export const SERVICE = 'registry.docker.io'

/** `auth.docker.io`: lets pull what there is, the private for the account alone. */
export class TokenService {
  readonly #options: TokenServiceOptions
  readonly #grants = new Map<string, Grant>()

  constructor(options: TokenServiceOptions) {
    this.#options = options
  }

  /** @returns undefined when it is unknown or has expired */
  grantOf(token: string): Grant | undefined {
    const grant = this.#grants.get(token)
    return grant !== undefined && grant.expiresAt > Date.now() ? grant : undefined
  }

  expire(): void {
    this.#grants.clear()
  }

  readonly serve = async (exchange: Exchange): Promise<void> => {
    const { method, url = '', headers } = exchange.incoming
    const { pathname, searchParams: query } = new URL(url, 'http://auth')
    if (pathname !== '/token') return exchange.reply(json(404, { details: 'not found' }))
    if (method !== 'GET') return exchange.reply(json(405, { details: 'method not allowed' }))
    if (query.get('service') !== SERVICE) {
      return exchange.reply(json(400, { details: 'unknown service' }))
    }
    const { account } = this.#options
    const isKnown = account !== undefined && headers.authorization === basic(account)
    if (headers.authorization !== undefined && !isKnown) {
      return exchange.reply(json(401, { details: 'incorrect username or password' }))
    }
    const scopes = query.getAll('scope').flatMap((scope) => scope.split(' '))
    await exchange.reply(json(200, await this.#issue(scopes, isKnown ? account : undefined)))
  }

  async #issue(scopes: readonly string[], account: TokenServiceOptions['account']) {
    const { tokenSeconds } = this.#options
    const asked = scopes.flatMap((scope) => /^repository:(.+):.*\bpull\b/.exec(scope)?.[1] ?? [])
    const repositories = new Set<string>()
    for (const repository of asked) {
      if (await this.#mayPull(repository, account !== undefined)) repositories.add(repository)
    }
    const token = randomBytes(60).toString('base64url')
    this.#grants.set(token, {
      repositories,
      account: account?.username,
      expiresAt: Date.now() + tokenSeconds * 1000,
    })
    return {
      token,
      access_token: token,
      expires_in: tokenSeconds,
      issued_at: new Date().toISOString(),
    }
  }

  /** There are none without a namespace: official images are in `library`. */
  async #mayPull(repository: string, isKnown: boolean): Promise<boolean> {
    const { target, privateRepositories } = this.#options
    if (!repository.includes('/')) return false
    if (privateRepositories.includes(repository) && !isKnown) return false
    const answer = await fetch(`${target}/v2/${repository}/tags/list`)
    await answer.arrayBuffer()
    return answer.ok
  }
}

function basic({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

function json(status: number, body: object) {
  return { status, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }
}
