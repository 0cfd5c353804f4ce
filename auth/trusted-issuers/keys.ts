import {
  type CryptoKey,
  createLocalJWKSet,
  errors,
  type JSONWebKeySet,
  type JWTHeaderParameters,
} from 'jose'
import type { Logger } from 'pino'
import { KeysUnavailable } from '../tokens/token-invalid.ts'
import { discoveryUrlOf, keysUrlOf } from './discovery.ts'
import { fetchJson } from './fetch-json.ts'

const DOCUMENT_MS = 3_600_000
const KEYS_MS = 600_000
/** A key that is not known is asked for at most this often, whatever tokens name. */
const COOLDOWN_MS = 30_000
/** An issuer that did not answer is left alone for so long. */
const FAILURE_MS = 5_000

export interface IssuerKeysOptions {
  readonly now: () => Date
  /** Of each of the two requests, from the first byte to the last. */
  readonly timeoutMs: number
  readonly log: Pick<Logger, 'info' | 'warn'>
}

type FindKey = (header: JWTHeaderParameters) => Promise<CryptoKey>

interface Fetched<T> {
  readonly value: T
  /** Milliseconds since the epoch. */
  readonly at: number
}

/**
 * The public keys of one issuer, which it publishes as OpenID Connect Discovery 1.0, section 4,
 * says. They are asked for when they are first needed, after ten minutes, and when a token names
 * one that is not known.
 */
export class IssuerKeys {
  readonly #issuer: string
  readonly #options: IssuerKeysOptions
  #keysUrl: Fetched<URL> | undefined
  #keys: Fetched<FindKey> | undefined
  #failure: Fetched<unknown> | undefined
  #loading: Promise<FindKey> | undefined
  #askedAgainAt = Number.NEGATIVE_INFINITY

  constructor(issuer: string, options: IssuerKeysOptions) {
    this.#issuer = issuer
    this.#options = options
  }

  /**
   * The key that the header of a token names by `kid`. A header may do without if one key only
   * suits (OpenID Connect Core 1.0, section 10.1). Nothing else it says of keys is looked at.
   *
   * @throws KeysUnavailable, JOSEError when the issuer has no such key
   */
  async find(header: JWTHeaderParameters): Promise<CryptoKey> {
    const findKey = await this.#current()
    try {
      return await findKey(header)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
    }
    const findNewKey = await this.#newerThan(findKey)
    return findNewKey(header)
  }

  async #current(): Promise<FindKey> {
    if (this.#keys !== undefined && this.#isRecent(this.#keys.at, KEYS_MS)) return this.#keys.value
    if (this.#failure !== undefined && this.#isRecent(this.#failure.at, FAILURE_MS)) {
      throw this.#unavailable(this.#failure.value)
    }
    return this.#load()
  }

  async #newerThan(known: FindKey): Promise<FindKey> {
    if (this.#loading !== undefined) return this.#loading
    if (this.#keys !== undefined && this.#keys.value !== known) return this.#keys.value
    if (this.#isRecent(this.#askedAgainAt, COOLDOWN_MS)) {
      if (this.#failure !== undefined) throw this.#unavailable(this.#failure.value)
      return known
    }
    this.#askedAgainAt = this.#now()
    return this.#load()
  }

  /** One at a time: who comes meanwhile gets the same answer. */
  #load(): Promise<FindKey> {
    this.#loading ??= this.#fetch().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #fetch(): Promise<FindKey> {
    const at = this.#now()
    try {
      const set = await fetchJson(await this.#findKeysUrl(), this.#options.timeoutMs)
      if (!isKeySet(set)) throw new Error('the answer is not a set of keys')
      const value = createLocalJWKSet(set)
      this.#keys = { value, at }
      this.#failure = undefined
      this.#options.log.info({ issuer: this.#issuer, keys: set.keys.length }, 'issuer keys fetched')
      return value
    } catch (error) {
      // The keys may have moved.
      this.#keysUrl = undefined
      this.#failure = { value: error, at: this.#now() }
      this.#options.log.warn({ issuer: this.#issuer, err: error }, 'issuer keys unavailable')
      throw this.#unavailable(error)
    }
  }

  async #findKeysUrl(): Promise<URL> {
    if (this.#keysUrl !== undefined && this.#isRecent(this.#keysUrl.at, DOCUMENT_MS)) {
      return this.#keysUrl.value
    }
    const at = this.#now()
    const document = await fetchJson(discoveryUrlOf(this.#issuer), this.#options.timeoutMs)
    const value = keysUrlOf(document, this.#issuer)
    this.#keysUrl = { value, at }
    return value
  }

  #unavailable(cause: unknown): KeysUnavailable {
    return new KeysUnavailable(`the keys of ${this.#issuer} cannot be fetched`, { cause })
  }

  #now(): number {
    return this.#options.now().getTime()
  }

  /** What lies in the future, as after the clock was set back, is not. */
  #isRecent(at: number, ms: number): boolean {
    const age = this.#now() - at
    return age >= 0 && age < ms
  }
}

function isKeySet(value: unknown): value is JSONWebKeySet {
  return typeof value === 'object' && value !== null && 'keys' in value && Array.isArray(value.keys)
}
