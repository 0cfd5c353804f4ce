import { createPublicKey } from 'node:crypto'
import {
  type CryptoKey,
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  type JSONWebKeySet,
  type JWK,
  type JWSHeaderParameters,
} from 'jose'
import type { Logger } from 'pino'
import { KeysUnavailable } from '../tokens/token-invalid.ts'
import { WatchedFile } from '../watched-file.ts'
import { ALGORITHMS, algorithmsOf, KEYS_FILE } from './public-key.ts'

/** What is read of a token's header to find the key. */
interface KeyHeader {
  readonly alg: string
  readonly kid: string | undefined
}

/** A JSON Web Key Set, RFC 7517. */
export interface KeySet {
  /**
   * The public keys a token with this header may be signed with; without a `kid`, all that fit.
   * @throws KeysUnavailable when they have to be fetched and cannot be
   */
  find(header: KeyHeader): Promise<CryptoKey[]>
  close(): void
}

/** @throws Error when `location` is a file that cannot be read or has no usable key */
export async function openKeySet(
  location: string,
  log: Pick<Logger, 'info' | 'warn'>,
): Promise<KeySet> {
  if (/^https?:/i.test(location)) return new RemoteKeySet(parseUrl(location), log)
  const file = await WatchedFile.open({
    path: location,
    name: KEYS_FILE,
    parse: (bytes) => parseKeySet(bytes.toString('utf8')),
    log,
  })
  return {
    find: (header) => collectKeys(() => file.content(nameable(header))),
    close: () => file.close(),
  }
}

const COOLDOWN_MS = 30_000
const CACHE_AGE_MS = 600_000
const TIMEOUT_MS = 5000
const RETRY_AFTER_MS = 1000
const WARN_EVERY_MS = 60_000

/**
 * Fetched when first needed, again every 10 minutes, and when a token names a key that is not
 * in it, but then not within 30 seconds of the last time. jose's clock is the machine's.
 */
class RemoteKeySet implements KeySet {
  readonly #keys: ReturnType<typeof createRemoteJWKSet>
  readonly #url: string
  readonly #log: Pick<Logger, 'warn'>
  #retryAt = 0
  #warnAt = 0

  constructor(url: URL, log: Pick<Logger, 'warn'>) {
    this.#url = url.origin + url.pathname
    this.#log = log
    this.#keys = createRemoteJWKSet(url, {
      cooldownDuration: COOLDOWN_MS,
      cacheMaxAge: CACHE_AGE_MS,
      timeoutDuration: TIMEOUT_MS,
    })
  }

  async find(header: KeyHeader): Promise<CryptoKey[]> {
    // jose would try at every token, and the service may be down because it has too much to do.
    if (!this.#keys.fresh && Date.now() < this.#retryAt) throw this.#unavailable()
    try {
      return await collectKeys(() => this.#keys(nameable(header)))
    } catch (cause) {
      this.#retryAt = Date.now() + RETRY_AFTER_MS
      const error = this.#unavailable(cause)
      this.#warn(error)
      throw error
    }
  }

  close(): void {}

  #unavailable(cause?: unknown): KeysUnavailable {
    return new KeysUnavailable(`no usable key set from ${this.#url}`, { cause })
  }

  #warn(err: KeysUnavailable): void {
    if (Date.now() < this.#warnAt) return
    this.#warnAt = Date.now() + WARN_EVERY_MS
    this.#log.warn({ err }, 'keys of the token service cannot be fetched')
  }
}

/** jose takes a `kid` of undefined for one left out; its types do not. */
function nameable({ alg, kid }: KeyHeader): JWSHeaderParameters & { alg: string } {
  return kid === undefined ? { alg } : { alg, kid }
}

/** None and several are answers like any other here. */
async function collectKeys(find: () => Promise<CryptoKey>): Promise<CryptoKey[]> {
  try {
    return [await find()]
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) return []
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    const keys: CryptoKey[] = []
    for await (const key of error) keys.push(key)
    return keys
  }
}

function parseUrl(location: string): URL {
  const url = new URL(location)
  if (url.username !== '' || url.password !== '') {
    throw new Error('the URL of the key set must not have a password in it')
  }
  return url
}

function parseKeySet(text: string): ReturnType<typeof createLocalJWKSet> {
  const set = createLocalJWKSet(parseJson(text))
  if (!set.jwks().keys.some(isUsable)) {
    throw new Error('the key set of the token service holds no usable key')
  }
  return set
}

/** The parser's own message quotes the text, and it may be a private key by mistake. */
function parseJson(text: string): JSONWebKeySet {
  try {
    return JSON.parse(text)
  } catch {
    throw new Error('the key set of the token service is not JSON')
  }
}

function isUsable(jwk: JWK): boolean {
  if (jwk.use !== undefined && jwk.use !== 'sig') return false
  if (jwk.alg !== undefined && !ALGORITHMS.includes(jwk.alg)) return false
  if (jwk.kty === 'oct' || jwk.d !== undefined) return false
  try {
    return algorithmsOf(createPublicKey({ key: { ...jwk }, format: 'jwk' })).length > 0
  } catch {
    return false
  }
}
