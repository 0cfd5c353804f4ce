import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { LoginLocked, LoginThrottle } from '../../../auth/passwords/login-throttle.ts'
import { RegistryError } from '../../../oci/errors.ts'
import { openPool, type Pool } from '../../../storage/metadata/database.ts'
import { pruneLoginFailures } from '../../../storage/metadata/login-failures.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'

let database: TestDatabase
let elsewhere: Pool
/** Two servers on one database. */
let here: LoginThrottle
let there: LoginThrottle

beforeAll(async () => {
  database = await openTestDatabase()
  elsewhere = openPool({ connection: database.connection, size: 10, onError: () => {} })
  here = new LoginThrottle(database.pool)
  there = new LoginThrottle(elsewhere)
})
beforeEach(() => database.pool.query({ text: 'truncate login_failures' }))
afterAll(async () => {
  await elsewhere.end()
  await database.close()
})

const attempt = { account: 'mallory', address: '192.0.2.1' }

describe('an account', () => {
  it('is not locked by five failures', async () => {
    await fail(here, attempt, 5)
    expect(await lockOf(here, attempt)).toBeUndefined()
  })

  it('is locked by each further one, twice as long each time, up to 15 minutes', async () => {
    await fail(here, attempt, 5)
    const locks: (number | undefined)[] = []
    for (let failure = 6; failure <= 20; failure++) {
      await fail(here, attempt, 1)
      locks.push(await grantedSeconds('account:%'))
    }
    expect(locks).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900, 900])
  })

  it('stays locked for 15 minutes after any number of failures', async () => {
    await fail(here, attempt, 1)
    await database.pool.query({ text: 'update login_failures set failures = 2000000000' })
    await fail(here, attempt, 1)
    expect(await grantedSeconds('account:%')).toBe(900)
  })

  it('is locked on every server, and no other one is, nor is it from elsewhere', async () => {
    await fail(here, attempt, 12)
    expect(await lockOf(there, { ...attempt, address: '198.51.100.7' })).toBeUndefined()
    const lock = await lockOf(there, attempt)
    expect(lock).toBeInstanceOf(RegistryError)
    expect(lock).toMatchObject({ code: 'TOOMANYREQUESTS', status: 429 })
    expect(lock?.retryAfterSeconds).toBeGreaterThanOrEqual(1)
    expect(lock?.retryAfterSeconds).toBeLessThanOrEqual(64)
    expect(await lockOf(there, { ...attempt, account: 'Mallory' })).toBeUndefined()
    expect(await lockOf(there, { ...attempt, account: undefined })).toBeUndefined()
  })

  it('is told whole seconds, one at least', async () => {
    await fail(here, attempt, 1)
    await lockFor('account:%', '0.3 seconds')
    // A slow machine may come after the lock; then it says nothing false.
    const soon = await lockOf(here, attempt)
    expect(soon?.retryAfterSeconds ?? 1).toBe(1)
    await lockFor('account:%', '99.5 seconds')
    const seconds = (await lockOf(here, attempt))?.retryAfterSeconds
    expect(seconds).toBeGreaterThan(60)
    expect(Number.isInteger(seconds)).toBe(true)
  })

  it('is open again when the lock is over, and then locked for longer', async () => {
    await fail(here, attempt, 11)
    await pass('33 seconds')
    expect(await lockOf(here, attempt)).toBeUndefined()
    await fail(there, attempt, 1)
    expect(await grantedSeconds('account:%')).toBe(64)
    expect(await lockOf(here, attempt)).toBeInstanceOf(LoginLocked)
  })

  it('is not locked for failures that are older than 15 minutes', async () => {
    await fail(here, attempt, 7)
    await pass('16 minutes')
    await fail(here, attempt, 5)
    expect(await lockOf(here, attempt)).toBeUndefined()
    await fail(here, attempt, 1)
    expect(await grantedSeconds('account:%')).toBe(1)
  })

  it('is locked for failures with less than 15 minutes between them', async () => {
    for (let failure = 1; failure <= 6; failure++) {
      expect(await lockOf(here, attempt)).toBeUndefined()
      await fail(here, attempt, 1)
      if (failure < 6) await pass('14 minutes')
    }
    expect(await grantedSeconds('account:%')).toBe(1)
  })

  it('begins anew after a success', async () => {
    await fail(here, attempt, 7)
    await there.succeeded(attempt)
    expect(await lockOf(here, attempt)).toBeUndefined()
    await fail(here, attempt, 5)
    expect(await lockOf(here, attempt)).toBeUndefined()
  })

  it('is not stored as it was typed', async () => {
    await fail(here, { account: 'hunter2\0 my password', address: '192.0.2.1' }, 1)
    expect(await keys()).toEqual([
      expect.stringMatching(/^account:[0-9a-f]{64}:192\.0\.2\.1$/),
      'address:192.0.2.1',
      expect.stringMatching(/^anywhere:[0-9a-f]{64}$/),
    ])
  })

  it('is locked everywhere by failures beyond fifty from anywhere, but never for long', async () => {
    for (let index = 0; index < 50; index++) await here.failed(from(index))
    expect(await lockOf(here, from(200))).toBeUndefined()
    for (let index = 50; index < 70; index++) await here.failed(from(index))
    expect(await grantedSeconds('anywhere:%')).toBe(30)
    expect(await lockOf(there, from(200))).toBeInstanceOf(LoginLocked)
  })
})

describe('an address', () => {
  it('is locked by failures beyond twenty, whatever account they were for', async () => {
    await spray(20)
    expect(await lockOf(here, { account: 'fresh', address: '192.0.2.1' })).toBeUndefined()
    await spray(3)
    expect(await grantedSeconds('address:%')).toBe(4)
    await spray(4)
    expect(await lockOf(there, { account: 'fresh', address: '192.0.2.1' })).toBeDefined()
    expect(await lockOf(there, { account: undefined, address: '192.0.2.1' })).toBeDefined()
    expect(await lockOf(there, { account: 'fresh', address: '192.0.2.2' })).toBeUndefined()
  })

  it('alone counts for secrets that nobody guesses', async () => {
    await fail(here, { account: undefined, address: '192.0.2.1' }, 26)
    expect(await keys()).toEqual(['address:192.0.2.1'])
    expect(await lockOf(here, { account: undefined, address: '192.0.2.1' })).toBeDefined()
  })

  it('keeps its failures after a success', async () => {
    await fail(here, attempt, 27)
    await here.succeeded(attempt)
    await here.succeeded({ account: undefined, address: attempt.address })
    expect(await keys()).toEqual(['address:192.0.2.1', expect.stringMatching(/^anywhere:/)])
    expect(await lockOf(here, attempt)).toBeInstanceOf(LoginLocked)
  })

  it('is told the longer of two locks', async () => {
    await fail(here, attempt, 1)
    await lockFor('account:%', '100 seconds')
    await lockFor('address:%', '500 seconds')
    expect((await lockOf(here, attempt))?.retryAfterSeconds).toBeGreaterThan(400)
  })

  it.each([
    ['2001:db8:1:2:3:4:5:6', 'address:2001:db8:1:2::/64'],
    ['2001:DB8:0001:2::', 'address:2001:db8:1:2::/64'],
    ['2001:db8:1:2::ffff', 'address:2001:db8:1:2::/64'],
    ['2001:db8::1', 'address:2001:db8:0:0::/64'],
    ['2001:db8:0:3::1', 'address:2001:db8:0:3::/64'],
    ['::1', 'address:0:0:0:0::/64'],
    ['::', 'address:0:0:0:0::/64'],
    ['fe80::1:2:3%eth0', 'address:fe80:0:0:0::/64'],
    ['2001:db8::5:192.0.2.1', 'address:2001:db8:0:0::/64'],
    ['1::2:3:4:5:6:7', 'address:1:0:2:3::/64'],
    ['203.0.113.9', 'address:203.0.113.9'],
    ['::ffff:203.0.113.9', 'address:203.0.113.9'],
    ['::FFFF:cb00:7109', 'address:203.0.113.9'],
    ['', 'address:unknown'],
    ['not an address', 'address:unknown'],
  ])('%j is counted as %s', async (address, key) => {
    await fail(here, { account: undefined, address }, 1)
    expect(await keys()).toEqual([key])
  })
})

describe('failures at the same time', () => {
  it('are counted exactly, on two servers', async () => {
    await Promise.all(
      Array.from({ length: 50 }, (_, index) => (index % 2 === 0 ? here : there).failed(attempt)),
    )
    const { rows } = await database.pool.query<{ key: string; failures: number }>({
      text: 'select key, failures from login_failures order by key',
    })
    expect(rows.map((row) => row.failures)).toEqual([50, 50, 50])
    expect(await grantedSeconds('account:%')).toBe(900)
    expect(await lockOf(here, attempt)).toBeInstanceOf(LoginLocked)
  })

  it('of many accounts from one address are counted exactly', async () => {
    await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        (index % 2 === 0 ? here : there).failed({ account: `${index % 5}`, address: '192.0.2.1' }),
      ),
    )
    const { rows } = await database.pool.query<{ failures: number }>({
      text: 'select failures from login_failures order by key',
    })
    expect(rows.map((row) => row.failures)).toEqual([10, 10, 10, 10, 10, 50, 10, 10, 10, 10, 10])
  })
})

describe('the limits', () => {
  it('may be others', async () => {
    const strict = new LoginThrottle(database.pool, {
      accountFailures: 1,
      addressFailures: 2,
      windowSeconds: 60,
      maxLockSeconds: 3,
    })
    await fail(strict, attempt, 2)
    expect(await grantedSeconds('account:%')).toBe(1)
    expect(await grantedSeconds('address:%')).toBeUndefined()
    await fail(strict, attempt, 4)
    expect(await grantedSeconds('account:%')).toBe(3)
    expect(await grantedSeconds('address:%')).toBe(3)
    await pass('64 seconds')
    await fail(strict, attempt, 1)
    expect(await lockOf(strict, attempt)).toBeUndefined()
  })
})

describe('old failures', () => {
  it('are pruned when they count no more and lock nothing', async () => {
    await fail(here, { account: 'old', address: '192.0.2.1' }, 1)
    await pass('16 minutes')
    await fail(here, { account: 'new', address: '192.0.2.2' }, 1)
    expect(await pruneLoginFailures(database.pool)).toBe(3)
    expect(await keys()).toEqual([
      expect.stringMatching(/^account:/),
      'address:192.0.2.2',
      expect.stringMatching(/^anywhere:/),
    ])
    expect(await pruneLoginFailures(database.pool)).toBe(0)
  })

  it('are kept while they lock', async () => {
    await fail(here, { account: undefined, address: '192.0.2.1' }, 1)
    await pass('16 minutes')
    await lockFor('address:%', '1 minute')
    expect(await pruneLoginFailures(database.pool)).toBe(0)
  })

  it('are pruned sooner when the window is shorter', async () => {
    await fail(here, { account: undefined, address: '192.0.2.1' }, 1)
    await pass('2 minutes')
    expect(await pruneLoginFailures(database.pool)).toBe(0)
    expect(await pruneLoginFailures(database.pool, 60)).toBe(1)
  })
})

async function fail(
  throttle: LoginThrottle,
  failed: { account: string | undefined; address: string },
  times: number,
): Promise<void> {
  for (let failure = 0; failure < times; failure++) await throttle.failed(failed)
}

/** One failure for each of so many accounts, from one address. */
async function spray(times: number): Promise<void> {
  for (let failure = 0; failure < times; failure++) {
    await here.failed({ account: `account ${failure}`, address: '192.0.2.1' })
  }
}

async function lockOf(
  throttle: LoginThrottle,
  checked: { account: string | undefined; address: string },
): Promise<LoginLocked | undefined> {
  try {
    await throttle.check(checked)
    return undefined
  } catch (error) {
    if (error instanceof LoginLocked) return error
    throw error
  }
}

/** How long the last failure locked the key for, whatever has passed of it. */
function from(index: number) {
  return { account: 'mallory', address: `198.51.100.${index}` }
}

async function grantedSeconds(like: string): Promise<number | undefined> {
  const { rows } = await database.pool.query<{ seconds: number | null }>({
    text: `select extract(epoch from locked_until - last_at)::float8 as seconds
           from login_failures where key like $1`,
    values: [like],
  })
  expect(rows).toHaveLength(1)
  return rows[0]!.seconds ?? undefined
}

async function lockFor(like: string, interval: string): Promise<void> {
  await database.pool.query({
    text: 'update login_failures set locked_until = now() + $2::interval where key like $1',
    values: [like, interval],
  })
}

/** Makes all that happened happen so much earlier. */
async function pass(interval: string): Promise<void> {
  await database.pool.query({
    text: `update login_failures set last_at = last_at - $1::interval,
             locked_until = locked_until - $1::interval`,
    values: [interval],
  })
}

async function keys(): Promise<string[]> {
  const { rows } = await database.pool.query<{ key: string }>({
    text: 'select key from login_failures order by key',
  })
  return rows.map((row) => row.key)
}
