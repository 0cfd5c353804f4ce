import { KeyObject } from 'node:crypto'
import { type CryptoKey, errors, type JWTPayload, jwtVerify } from 'jose'
import type { Logger } from 'pino'
import { type KeySet, openKeySet } from './external-tokens/key-set.ts'
import { ALGORITHMS, algorithmsOf } from './external-tokens/public-key.ts'
import { RootCertificates } from './external-tokens/root-certificates.ts'
import type { Scope } from './tokens/scope.ts'
import { KeysUnavailable, TokenInvalid } from './tokens/token-invalid.ts'

/** What a token of another token service says, once it is known to be good. */
interface ExternalToken {
  /** The `sub` claim; empty for anonymous, and for services that name nobody. */
  readonly subject: string
  readonly access: readonly Scope[]
  /** Seconds since the epoch, as the token has it: without the leeway, and it may be a fraction. */
  readonly expiresAt: number
}

export interface ExternalTokens {
  /**
   * Costs a signature check at least; nothing is remembered.
   * @throws TokenInvalid
   * @throws KeysUnavailable when the token may be good, and the keys cannot be fetched
   */
  verify(token: string): Promise<ExternalToken>
  close(): void
}

export interface ExternalTokensOptions {
  /** The `iss` claim, to the letter. */
  readonly issuer: string
  /** What has to be among the `aud` claim. */
  readonly service: string
  /** A JSON Web Key Set: an `https://` or `http://` URL, or a file. */
  readonly jwks?: string
  /** A PEM file. This or `jwks` has to be there, or both. */
  readonly rootCertificates?: string
  readonly log: Pick<Logger, 'info' | 'warn'>
  readonly now?: () => Date
}

const MOST_CHARACTERS = 16 * 1024
const LEEWAY_SECONDS = 60

/**
 * Files are read now, and again when they change; a URL is fetched when it is first needed.
 * @throws Error when a file cannot be read or has no usable key, and when nothing is configured
 */
export async function openExternalTokens(options: ExternalTokensOptions): Promise<ExternalTokens> {
  const { issuer, service, jwks, rootCertificates, log } = options
  if (issuer === '' || service === '') throw new Error('issuer and service must not be empty')
  if (jwks === undefined && rootCertificates === undefined) {
    throw new Error('a key set or root certificates of the token service are needed')
  }
  const keySet = jwks === undefined ? undefined : await openKeySet(jwks, log)
  try {
    const roots =
      rootCertificates === undefined
        ? undefined
        : await RootCertificates.open(rootCertificates, log)
    return new TokenVerifier({ ...options, keySet, roots })
  } catch (error) {
    keySet?.close()
    throw error
  }
}

interface VerifierOptions extends ExternalTokensOptions {
  readonly keySet: KeySet | undefined
  readonly roots: RootCertificates | undefined
}

/** What of the header is looked at: never `jwk`, `jku` or `x5u`, by which a token vouches for itself. */
interface Header {
  readonly alg: string
  readonly kid?: unknown
  readonly x5c?: unknown
}

type Key = CryptoKey | KeyObject

class TokenVerifier implements ExternalTokens {
  readonly #options: VerifierOptions

  constructor(options: VerifierOptions) {
    this.#options = options
  }

  async verify(token: string): Promise<ExternalToken> {
    if (token.length > MOST_CHARACTERS) throw new TokenInvalid('it is longer than 16 KiB')
    const now = this.#options.now?.() ?? new Date()
    try {
      const { payload } = await jwtVerify(token, (header) => this.#findKey(header, now), {
        algorithms: [...ALGORITHMS],
        issuer: this.#options.issuer,
        audience: this.#options.service,
        requiredClaims: ['exp'],
        clockTolerance: LEEWAY_SECONDS,
        currentDate: now,
      })
      return readClaims(payload)
    } catch (error) {
      if (error instanceof TokenInvalid || error instanceof KeysUnavailable) throw error
      throw new TokenInvalid(describeRefusal(error))
    }
  }

  close(): void {
    this.#options.keySet?.close()
    this.#options.roots?.close()
  }

  async #findKey({ alg, kid, x5c }: Header, now: Date): Promise<Key> {
    if (x5c !== undefined) return this.#findLeafKey(alg, x5c, now)
    if (kid !== undefined && typeof kid !== 'string') throw new TokenInvalid('its kid is no text')
    const keys = distinct(await this.#findKeys(alg, kid))
    if (keys.length === 1) return keys[0]!
    throw new TokenInvalid(keys.length === 0 ? 'no key fits it' : 'more than one key fits it')
  }

  #findLeafKey(alg: string, x5c: unknown, now: Date): Key {
    const { roots } = this.#options
    if (roots === undefined) throw new TokenInvalid('it has an x5c, and there are no roots for it')
    const key = roots.verifyChain(x5c, now)
    if (algorithmsOf(key).includes(alg)) return key
    throw new TokenInvalid('the key of its certificate does not fit its algorithm')
  }

  async #findKeys(alg: string, kid: string | undefined): Promise<Key[]> {
    const { roots, keySet } = this.#options
    const keys = roots?.find(alg, kid) ?? []
    // Named by the hash of a key that is here: there is nothing to fetch.
    if (kid !== undefined && keys.length > 0) return keys
    const found = (await keySet?.find({ alg, kid })) ?? []
    return [...keys, ...found]
  }
}

/** The same key may be in the key set and in a certificate. */
function distinct(keys: readonly Key[]): readonly Key[] {
  if (keys.length < 2) return keys
  const objects = keys.map((key) => (key instanceof KeyObject ? key : KeyObject.from(key)))
  return objects.filter((key, index) => objects.findIndex((other) => other.equals(key)) === index)
}

function readClaims({ sub = '', exp, access }: JWTPayload): ExternalToken {
  if (typeof sub !== 'string') throw new TokenInvalid('its sub claim is no text')
  // JSON has no infinity, and yet 1e999 is read as one.
  if (!Number.isFinite(exp)) throw new TokenInvalid('its exp claim is no time')
  return { subject: sub, access: readAccess(access), expiresAt: exp! }
}

/**
 * Docker's token protocol, "Token Authentication Implementation". The class has no use here.
 * A token of 16 KiB cannot hold 400 of them, so that they need no limit of their own.
 */
function readAccess(claim: unknown): Scope[] {
  if (!Array.isArray(claim)) return []
  return claim
    .filter(isScope)
    .map(({ type, name, actions }) => ({ type, name, actions: [...actions] }))
}

function isScope(entry: unknown): entry is Scope {
  if (typeof entry !== 'object' || entry === null) return false
  const { type, name, actions } = entry as Partial<Record<keyof Scope, unknown>>
  return (
    [type, name].every((text) => typeof text === 'string' && text !== '') &&
    Array.isArray(actions) &&
    actions.every((action) => typeof action === 'string')
  )
}

const REFUSALS: Readonly<Record<string, string>> = {
  ERR_JOSE_ALG_NOT_ALLOWED: 'its algorithm is not allowed',
  ERR_JOSE_NOT_SUPPORTED: 'it wants an extension that is not known',
  ERR_JWS_INVALID: 'it is malformed',
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: 'its signature does not match',
  ERR_JWT_EXPIRED: 'it has expired',
  ERR_JWT_INVALID: 'its claims are malformed',
}

/** In our words: what jose says may quote the token. */
function describeRefusal(error: unknown): string {
  if (error instanceof errors.JWTClaimValidationFailed) {
    return `its ${error.claim} claim is missing or not what it has to be`
  }
  const code = error instanceof errors.JOSEError ? error.code : ''
  return REFUSALS[code] ?? 'it cannot be verified with the key that fits it'
}
