import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { LoginLocked, LoginThrottle } from '../../../auth/passwords/login-throttle.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'

function isWrong(error: unknown): boolean {
  return error instanceof RangeError
}

describe('a burst of logins of one account', () => {
  const attempt = { account: 'mallory', address: '192.0.2.1' }
  let database: TestDatabase
  let throttle: LoginThrottle
  beforeAll(async () => {
    database = await openTestDatabase()
    throttle = new LoginThrottle(database.pool)
  })
  beforeEach(() => database.pool.query('truncate login_failures'))
  afterAll(() => database.close())

  it('is let through two at a time, and stops at the first lock', async () => {
    let [computed, atOnce, mostAtOnce] = [0, 0, 0]
    const guess = async () => {
      computed++
      mostAtOnce = Math.max(mostAtOnce, ++atOnce)
      await sleep(1)
      atOnce--
      throw new RangeError('wrong')
    }
    const guesses = Array.from({ length: 100 }, () => throttle.guard(attempt, guess, isWrong))
    const results = await Promise.allSettled(guesses)
    const locked = results.filter(
      (result) => result.status === 'rejected' && result.reason instanceof LoginLocked,
    )
    expect(mostAtOnce).toBeLessThanOrEqual(2)
    expect(computed).toBeLessThanOrEqual(7)
    expect(locked).toHaveLength(100 - computed)
  })

  it('that is larger still is refused without waiting', async () => {
    const gate = new AbortController()
    const opened = once(gate.signal, 'abort')
    const logins = Array.from({ length: 250 }, () =>
      throttle.guard(attempt, async () => void (await opened), isWrong),
    )
    const results = Promise.allSettled(logins)
    await expect(logins.at(-1)).rejects.toMatchObject({ code: 'TOOMANYREQUESTS' })
    gate.abort()
    expect((await results).filter(({ status }) => status === 'fulfilled')).toHaveLength(202)
  })

  it('with the right password leaves no failure behind', async () => {
    for (let time = 0; time < 5; time++) await throttle.failed(attempt)
    await throttle.guard(attempt, async () => {}, isWrong)
    for (let time = 0; time < 5; time++) await throttle.failed(attempt)
    await expect(throttle.check(attempt)).resolves.toBeUndefined()
  })
})
