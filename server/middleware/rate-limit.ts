import { LRUCache } from 'lru-cache'
import { networkOf } from '../../auth/passwords/login-throttle.ts'
import { RegistryError } from '../../oci/errors.ts'
import { atMost } from '../../registry/at-most.ts'

const ADDRESSES = 50_000
const MINUTE_MS = 60_000

interface Bucket {
  readonly tokens: number
  readonly atMs: number
}

/** Too many requests of one kind from one address; answered with `Retry-After`. */
class RateExceeded extends RegistryError {
  /** A whole number, at least 1. */
  readonly retryAfterSeconds: number

  constructor(retryAfterSeconds: number) {
    super('TOOMANYREQUESTS', `try again in ${retryAfterSeconds} s`)
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/**
 * Lets each address, of IPv6 each /64, make `perMinute` requests, a sixth of them at once: each request takes a
 * token from a bucket that fills evenly. Of this process alone, and of the last 50,000 addresses.
 */
export class RateLimit {
  readonly #capacity: number
  readonly #perMs: number
  readonly #buckets = new LRUCache<string, Bucket>(atMost(ADDRESSES))

  constructor(perMinute: number) {
    this.#capacity = Math.max(1, Math.ceil(perMinute / 6))
    this.#perMs = perMinute / MINUTE_MS
  }

  /** @throws RateExceeded */
  take(address: string, nowMs = performance.now()): void {
    const network = networkOf(address)
    const bucket = this.#buckets.get(network) ?? { tokens: this.#capacity, atMs: nowMs }
    const tokens = Math.min(this.#capacity, bucket.tokens + (nowMs - bucket.atMs) * this.#perMs)
    if (tokens < 1) {
      throw new RateExceeded(Math.max(1, Math.ceil((1 - tokens) / this.#perMs / 1000)))
    }
    this.#buckets.set(network, { tokens: tokens - 1, atMs: nowMs })
  }
}
