import { createHmac, randomBytes } from 'node:crypto'
import * as argon2 from '@node-rs/argon2'
import * as bcrypt from '@node-rs/bcrypt'
import { LRUCache } from 'lru-cache'
import pLimit from 'p-limit'
import { RegistryError } from '../../oci/errors.ts'
import { kindOfSecret } from '../tokens/secrets.ts'

// What OWASP's "Password Storage Cheat Sheet" asks of argon2id.
const ARGON2ID = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }
const SALT_BYTES = 16
const DIGEST_BYTES = 32

const MIN_BYTES = 8
const MAX_BYTES = 1024

// A hash says itself what checking it costs: one with a slip in it must not take all the memory, or
// a thread for a day.
const MAX_MEMORY_KIB = 256 * 1024
const MAX_TIME_COST = 16
/** The highest cost of a bcrypt hash that is checked; about four seconds. */
const MAX_BCRYPT_COST = 16

const BCRYPT = /^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/

// Of the four threads of the process that also read files.
const AT_ONCE = 2
const MAX_WAITING = 100

const REMEMBERED = 10_000
const REMEMBERED_MS = 60_000

/** The hash to store for a password: argon2id, 19 MiB, two passes, one lane. */
export function hashPassword(password: string): Promise<string> {
  return argon2.hash(password, { ...ARGON2ID, outputLen: DIGEST_BYTES })
}

/**
 * What every new password must be: 8 to 1024 bytes of UTF-8, without control characters.
 *
 * @throws RegistryError UNSUPPORTED with status 400 otherwise; it does not repeat the password
 */
export function checkNewPassword(password: string): void {
  if (kindOfSecret(password) !== undefined) {
    throw new RegistryError('UNSUPPORTED', 'a password cannot begin as a secret of ours does', {
      status: 400,
    })
  }
  const sizeBytes = Buffer.byteLength(password)
  if (sizeBytes < MIN_BYTES || sizeBytes > MAX_BYTES) {
    const detail = `a password has ${MIN_BYTES} to ${MAX_BYTES} bytes`
    throw new RegistryError('UNSUPPORTED', detail, { status: 400 })
  }
  if (/\p{Cc}/u.test(password)) {
    const detail = 'a password has no control characters'
    throw new RegistryError('UNSUPPORTED', detail, { status: 400 })
  }
}

/** Of a bcrypt hash that {@link PasswordVerifier} checks, 4 to 16; undefined for anything else. */
export function bcryptCostOf(hash: string): number | undefined {
  if (!BCRYPT.test(hash)) return undefined
  try {
    const { cost } = bcrypt.parseOptions(hash)
    return cost <= MAX_BCRYPT_COST ? cost : undefined
  } catch {
    return undefined
  }
}

/** Whether `password` is the one `hash` was made of. It may reject when the hash is malformed. */
export function matchesHash(password: string, hash: string): Promise<boolean> {
  return hash.startsWith('$argon2id$')
    ? argon2.verify(hash, password)
    : bcrypt.verify(password, hash)
}

export interface PasswordVerifierOptions {
  /** In place of {@link matchesHash}. */
  readonly matches?: (password: string, hash: string) => Promise<boolean>
  /** A clock in milliseconds, greater than 0 from the beginning. */
  readonly now?: () => number
}

/**
 * Checks passwords against argon2id and bcrypt hashes. A process has one: it computes two at a
 * time, in threads that reading files shares. What was right is remembered for a minute, under a
 * hash that only this process can make; no password is.
 */
export class PasswordVerifier {
  readonly #matches: (password: string, hash: string) => Promise<boolean>
  readonly #key = randomBytes(32)
  readonly #limit = pLimit(AT_ONCE)
  readonly #underWay = new Map<string, Promise<boolean>>()
  readonly #remembered: LRUCache<string, true>

  constructor({
    matches = matchesHash,
    now = () => performance.now(),
  }: PasswordVerifierOptions = {}) {
    this.#matches = matches
    this.#remembered = new LRUCache({
      max: REMEMBERED,
      ttl: REMEMBERED_MS,
      ttlResolution: 0,
      perf: { now },
    })
  }

  /**
   * Whether the password is the one of the hash. No hash stands for no such user: the answer is no,
   * and costs as much as a wrong password of an argon2id hash does. So it is for a hash that is
   * malformed or beyond what is computed here, and for a password of more than 1024 bytes.
   *
   * Of a bcrypt hash only the first 72 bytes of the password count: bcrypt takes no more.
   *
   * `name` is whose password it is said to be. Attempts at the same time that are all for one
   * account are computed once; with a name that holds for no account as well, and does not tell
   * which it is.
   *
   * @throws RegistryError TOOMANYREQUESTS while 100 others wait
   */
  async verify(password: string, hash: string | undefined, name?: string): Promise<boolean> {
    const known = hash !== undefined && isComputed(hash)
    const fits = Buffer.byteLength(password) <= MAX_BYTES
    const matches = await this.#compute(fits ? password : '', known ? hash : this.#decoy(name))
    return known && fits && matches
  }

  async #compute(password: string, hash: string): Promise<boolean> {
    const key = createHmac('sha256', this.#key)
      .update(hash)
      .update('\0') // which no hash that is computed has in it
      .update(password)
      .digest('base64')
    if (this.#remembered.has(key)) return true
    const shared = this.#underWay.get(key)
    if (shared !== undefined) return shared
    if (this.#limit.pendingCount >= MAX_WAITING) {
      throw new RegistryError('TOOMANYREQUESTS', 'too many logins at the same time')
    }

    const computation = this.#limit(() => this.#answer(password, hash))
    this.#underWay.set(key, computation)
    try {
      const matches = await computation
      if (matches) this.#remembered.set(key, true)
      return matches
    } finally {
      this.#underWay.delete(key)
    }
  }

  async #answer(password: string, hash: string): Promise<boolean> {
    try {
      return await this.#matches(password, hash)
    } catch {
      return false
    }
  }

  /**
   * A hash that no password is known for. A name has its own as an account has: with one for all,
   * the same password for two names at the same time would be computed once, and tell.
   */
  #decoy(name: string | undefined): string {
    const bytes = createHmac('sha512', this.#key)
      .update(name ?? randomBytes(16))
      .digest()
    const salt = base64(bytes.subarray(0, SALT_BYTES))
    const digest = base64(bytes.subarray(SALT_BYTES, SALT_BYTES + DIGEST_BYTES))
    const { memoryCost, timeCost, parallelism } = ARGON2ID
    return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${salt}$${digest}`
  }
}

function isComputed(hash: string): boolean {
  if (!hash.startsWith('$argon2id$')) return bcryptCostOf(hash) !== undefined
  try {
    const { memoryCost, timeCost } = argon2.parseOptions(hash)
    return memoryCost <= MAX_MEMORY_KIB && timeCost <= MAX_TIME_COST
  } catch {
    return false
  }
}

/** As argon2 hashes have it: without padding. */
function base64(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '')
}
