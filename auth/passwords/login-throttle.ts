import { createHash } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import { RegistryError } from '../../oci/errors.ts'
import type { Pool } from '../../storage/metadata/database.ts'
import {
  deleteLoginFailures,
  FAILURE_WINDOW_SECONDS,
  findLoginLock,
  upsertLoginFailure,
} from '../../storage/metadata/login-failures.ts'
import { Turns } from './turns.ts'

export interface LoginAttempt {
  /**
   * The name as it was typed, whether there is such an account or not. Undefined for secrets that
   * are long and random, which nobody guesses: only the address counts.
   */
  readonly account: string | undefined
  /** The client's, IPv4 or IPv6. */
  readonly address: string
}

export interface LoginThrottleOptions {
  /** Failures of one account from one address that lock nothing; 5 unless said otherwise, at least 1. */
  readonly accountFailures?: number
  /** Failures of one account from anywhere that lock nothing; 50 unless said otherwise, at least 1. */
  readonly anywhereFailures?: number
  /** Failures from one address that lock nothing; 20 unless said otherwise, at least 1. */
  readonly addressFailures?: number
  /** Failures count no more so long after the last one and its lock; 15 minutes unless said otherwise. */
  readonly windowSeconds?: number
  /** The longest lock; 15 minutes unless said otherwise. */
  readonly maxLockSeconds?: number
}

/** Too many logins failed; answered with `Retry-After`. */
export class LoginLocked extends RegistryError {
  /** A whole number, at least 1. */
  readonly retryAfterSeconds: number

  constructor(retryAfterSeconds: number) {
    super('TOOMANYREQUESTS', `too many failed logins, try again in ${retryAfterSeconds} s`)
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/**
 * Slows down who guesses passwords, for all servers of a database together, by its clock.
 * Each failure of an account beyond the fifth from one address locks it there, for 1 s, 2 s, 4 s
 * and so on up to 15 minutes; an address is locked likewise beyond the twentieth failure of any.
 * Beyond the fiftieth from anywhere an account is locked everywhere, but for half a minute at most,
 * so that nobody is kept out by others. Fifteen minutes without a failure or a lock, and they are
 * forgotten. Whether there is such an account makes no difference.
 *
 * What is stored is bounded by the addresses that fail. Each adds one row, and two for every name
 * it tries, but none while it is locked: some thirty names in 15 minutes.
 * `pruneLoginFailures` deletes what is older.
 */
export class LoginThrottle {
  readonly #db: Pool
  readonly #options: Required<LoginThrottleOptions>
  readonly #turns = new Turns({ atOnce: 2, mostWaiting: 200 })

  constructor(db: Pool, options: LoginThrottleOptions = {}) {
    this.#db = db
    this.#options = {
      accountFailures: 5,
      anywhereFailures: 50,
      addressFailures: 20,
      windowSeconds: FAILURE_WINDOW_SECONDS,
      maxLockSeconds: 900,
      ...options,
    }
  }

  /** @throws LoginLocked (TOOMANYREQUESTS) while the account or the address is locked */
  async check(attempt: LoginAttempt): Promise<void> {
    const seconds = await findLoginLock(this.#db, keysOf(attempt))
    if (seconds !== undefined) throw new LoginLocked(seconds)
  }

  async failed({ account, address }: LoginAttempt): Promise<void> {
    const { accountFailures, addressFailures, anywhereFailures, ...limits } = this.#options
    const count = (key: string, free: number, most: number = limits.maxLockSeconds) =>
      upsertLoginFailure(this.#db, key, { ...limits, free, maxLockSeconds: most })
    const counted = [count(addressKey(address), addressFailures)]
    if (account !== undefined) {
      counted.push(
        count(accountKey(account, address), accountFailures),
        count(accountKey(account), anywhereFailures, ANYWHERE_LOCK_SECONDS),
      )
    }
    await Promise.all(counted)
  }

  /** Forgets the failures of the account from there. Others stay: they may be of somebody else. */
  async succeeded({ account, address }: LoginAttempt): Promise<void> {
    if (account !== undefined) await deleteLoginFailures(this.#db, accountKey(account, address))
  }

  /**
   * Runs `work`, which throws what `isFailure` knows when the password is wrong. Two at a time of
   * one account, or a burst would be through before the first has failed.
   *
   * @throws LoginLocked, RegistryError TOOMANYREQUESTS, and as `work` does
   */
  async guard<T>(
    attempt: LoginAttempt,
    work: () => Promise<T>,
    isFailure: (error: unknown) => boolean,
  ): Promise<T> {
    return this.#turns.take(attempt.account ?? '', async () => {
      await this.check(attempt)
      try {
        const result = await work()
        await this.succeeded(attempt)
        return result
      } catch (error) {
        if (isFailure(error)) await this.failed(attempt)
        throw error
      }
    })
  }
}

const ANYWHERE_LOCK_SECONDS = 30

function keysOf({ account, address }: LoginAttempt): string[] {
  if (account === undefined) return [addressKey(address)]
  return [accountKey(account, address), accountKey(account), addressKey(address)]
}

/** A hash: whoever types a password in place of the name does not leave it in the database. */
function accountKey(account: string, address?: string): string {
  const hash = createHash('sha256').update(account).digest('hex')
  return address === undefined ? `anywhere:${hash}` : `account:${hash}:${networkOf(address)}`
}

function addressKey(address: string): string {
  return `address:${networkOf(address)}`
}

/** An IPv4 address, or the /64 that an IPv6 address is in: one client has all of it. */
export function networkOf(address: string): string {
  if (isIPv4(address)) return address
  // What is no address, such as the peer of a local socket, is counted together.
  if (!isIPv6(address)) return 'unknown'
  const groups = groupsOf(address)
  // ::ffff:a.b.c.d is how a socket that takes both kinds names an IPv4 client.
  if (groups.slice(0, 6).join(':') === '0:0:0:0:0:ffff') {
    const bytes = groups.slice(6).map((group) => Number.parseInt(group, 16))
    return bytes.flatMap((group) => [group >> 8, group & 0xff]).join('.')
  }
  return `${groups.slice(0, 4).join(':')}::/64`
}

/** The eight groups of a valid IPv6 address, in lower case, without leading zeros. */
function groupsOf(address: string): string[] {
  const { hostname } = new URL(`http://[${address.split('%', 1)[0]}]`)
  const [head = '', tail] = hostname.slice(1, -1).split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail?.split(':').filter(Boolean) ?? []
  return [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
}
