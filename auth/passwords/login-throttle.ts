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
  /** Failures of one account that lock nothing; 5 unless said otherwise, at least 1. */
  readonly accountFailures?: number
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
 * Each failure of an account beyond the fifth locks it, for 1 s, 2 s, 4 s and so on up to 15
 * minutes; an address is locked likewise beyond the twentieth. Fifteen minutes without a failure
 * or a lock, and they are forgotten. Whether there is such an account makes no difference.
 *
 * Attempts that are checked before the first of them has failed all pass: a burst is as large as
 * the number of passwords that may wait to be verified, and is counted in full afterwards.
 *
 * What is stored is bounded by the addresses that fail. Each adds one row, and a row for every name
 * it tries, but none while it is locked: some thirty names in 15 minutes, besides those of a burst.
 * `pruneLoginFailures` deletes what is older.
 */
export class LoginThrottle {
  readonly #db: Pool
  readonly #options: Required<LoginThrottleOptions>

  constructor(db: Pool, options: LoginThrottleOptions = {}) {
    this.#db = db
    this.#options = {
      accountFailures: 5,
      addressFailures: 20,
      windowSeconds: FAILURE_WINDOW_SECONDS,
      maxLockSeconds: 900,
      ...options,
    }
  }

  /**
   * Comes before the password is looked at, right or wrong.
   *
   * @throws LoginLocked (TOOMANYREQUESTS) while the account or the address is locked
   */
  async check(attempt: LoginAttempt): Promise<void> {
    const seconds = await findLoginLock(this.#db, keysOf(attempt))
    if (seconds !== undefined) throw new LoginLocked(seconds)
  }

  async failed({ account, address }: LoginAttempt): Promise<void> {
    const { accountFailures, addressFailures, ...limits } = this.#options
    const counted = [
      upsertLoginFailure(this.#db, addressKey(address), { ...limits, free: addressFailures }),
    ]
    if (account !== undefined) {
      const key = accountKey(account)
      counted.push(upsertLoginFailure(this.#db, key, { ...limits, free: accountFailures }))
    }
    await Promise.all(counted)
  }

  /** Forgets the failures of the account. Those of the address stay: it may guess at others too. */
  async succeeded({ account }: LoginAttempt): Promise<void> {
    if (account !== undefined) await deleteLoginFailures(this.#db, accountKey(account))
  }
}

function keysOf({ account, address }: LoginAttempt): string[] {
  return account === undefined ? [addressKey(address)] : [accountKey(account), addressKey(address)]
}

/** A hash: whoever types a password in place of the name does not leave it in the database. */
function accountKey(account: string): string {
  return `account:${createHash('sha256').update(account).digest('hex')}`
}

function addressKey(address: string): string {
  return `address:${networkOf(address)}`
}

/** An IPv4 address, or the /64 that an IPv6 address is in: one client has all of it. */
function networkOf(address: string): string {
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
