import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'

export type Algorithm = 'RS256' | 'PS256' | 'ES256' | 'ES384' | 'EdDSA'
/** Where it is asked for its configuration, and for its keys. */
export type Endpoint = 'discovery' | 'keys'

/** Says something else than the provider would. */
export type Answer = (response: ServerResponse) => void

export interface ProviderKey {
  readonly kid: string
  readonly algorithm: Algorithm
  readonly privateKey: CryptoKey
  readonly publicJwk: JWK
}

export interface IssueOptions {
  /** Besides `alg`, `typ` and `kid`, or in their place; undefined leaves one out. */
  readonly header?: Readonly<Record<string, unknown>>
  /** In place of the newest. */
  readonly key?: Pick<ProviderKey, 'kid' | 'algorithm' | 'privateKey'>
}

/**
 * An OpenID provider on loopback that signs what it is asked to. It fails as providers do: with
 * {@link answerWith}, {@link stop}, {@link start} and {@link rotate}.
 */
export class OidcProvider {
  /** How often each was asked for since the last time these were set. */
  readonly requests: Record<Endpoint, number> = { discovery: 0, keys: 0 }
  readonly #server = createServer((request, response) => this.#serve(request.url, response))
  readonly #now: () => Date
  #keys: ProviderKey[] = []
  #answers: Partial<Record<Endpoint, Answer>> = {}
  #port = 0

  private constructor(now: () => Date) {
    this.#now = now
  }

  static async open({
    algorithm = 'ES256',
    now = () => new Date(),
  }: {
    algorithm?: Algorithm
    now?: () => Date
  } = {}): Promise<OidcProvider> {
    const provider = new OidcProvider(now)
    await provider.rotate({ algorithm })
    await provider.start()
    return provider
  }

  get issuer(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  get audience(): string {
    return 'https://registry.example'
  }

  /** The newest. */
  get key(): ProviderKey {
    const key = this.#keys[0]
    if (key === undefined) throw new Error('the provider has no key')
    return key
  }

  /** What it publishes at the moment. */
  get publicKeys(): JWK[] {
    return this.#keys.map(({ publicJwk }) => publicJwk)
  }

  /**
   * An ID token of a build, good for five minutes, no two the same. A claim that is undefined is
   * left out.
   */
  issue(claims: Record<string, unknown> = {}, options: IssueOptions = {}): Promise<string> {
    const iat = Math.floor(this.#now().getTime() / 1000)
    const { kid, algorithm, privateKey } = options.key ?? this.key
    const payload = {
      iss: this.issuer,
      aud: this.audience,
      sub: 'repo:acme/shop:ref:refs/heads/main',
      repository: 'acme/shop',
      repository_owner: 'acme',
      iat,
      exp: iat + 300,
      jti: randomUUID(),
      ...claims,
    }
    return new SignJWT(payload)
      .setProtectedHeader({
        alg: algorithm,
        typ: 'JWT',
        kid,
        ...options.header,
      })
      .sign(privateKey)
  }

  /** Signs with a new key from now on, and publishes the old ones besides if they are kept. */
  async rotate({
    algorithm = this.#keys[0]?.algorithm ?? 'ES256',
    keep = false,
  }: {
    algorithm?: Algorithm
    keep?: boolean
  } = {}): Promise<ProviderKey> {
    const key = await generateKey(algorithm)
    this.#keys = [key, ...(keep ? this.#keys : [])]
    return key
  }

  answerWith(endpoint: Endpoint, answer: Answer | undefined): void {
    if (answer === undefined) delete this.#answers[endpoint]
    else this.#answers[endpoint] = answer
  }

  /** Refuses connections until {@link start}; who waits for an answer is cut off. */
  async stop(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  /** On the same port as before. */
  async start(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  /** Safe to repeat, and after {@link stop}. */
  async close(): Promise<void> {
    if (this.#server.listening) await this.stop()
  }

  #serve(path: string | undefined, response: ServerResponse): void {
    if (path === '/.well-known/openid-configuration') {
      return this.#answer('discovery', response, {
        issuer: this.issuer,
        jwks_uri: `${this.issuer}/keys`,
        id_token_signing_alg_values_supported: [this.key.algorithm],
      })
    }
    if (path === '/keys') return this.#answer('keys', response, { keys: this.publicKeys })
    response.writeHead(404).end()
  }

  #answer(endpoint: Endpoint, response: ServerResponse, usual: object): void {
    this.requests[endpoint]++
    const answer = this.#answers[endpoint] ?? answerJson(usual)
    answer(response)
  }
}

export function answerJson(body: unknown, status = 200): Answer {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(body))
  }
}

export function redirectTo(location: string): Answer {
  return (response) => response.writeHead(302, { location }).end()
}

/** Begins, and never ends. */
export const hang: Answer = (response) => {
  response.writeHead(200, { 'content-type': 'application/json' }).write('{')
}

/** An object, made to be so large by a member that says nothing. */
export function answerLarge(body: object, bytes: number): Answer {
  const padding = bytes - JSON.stringify({ ...body, padding: '' }).length
  return answerJson({ ...body, padding: 'x'.repeat(padding) })
}

/** Breaks off in the middle. */
export const breakOff: Answer = (response) => {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.write('{', () => response.destroy())
}

async function generateKey(algorithm: Algorithm): Promise<ProviderKey> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const kid = randomUUID()
  const publicJwk = { ...(await exportJWK(publicKey)), kid, alg: algorithm, use: 'sig' }
  return { kid, algorithm, privateKey, publicJwk }
}
