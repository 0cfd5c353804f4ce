import { describe, expect, it } from 'vitest'
import { Breaker } from '../../upstream/breaker.ts'
import { UpstreamFailure } from '../../upstream/failure.ts'

const START = Date.parse('2026-11-21T10:00:00Z')

function open() {
  const clock = { ms: START }
  const breaker = new Breaker(() => clock.ms)
  const pass = (seconds: number) => {
    clock.ms += seconds * 1000
  }
  /** Seconds until it asks again, 0 when it does. */
  const pause = () => Math.ceil(((breaker.brokenUntil?.getTime() ?? clock.ms) - clock.ms) / 1000)
  const fail = (failure = down()) => breaker.admit().failed(failure)
  const failThrice = () => [fail(), fail(), fail()]
  return { breaker, pass, pause, fail, failThrice }
}

function down(retryAfterSeconds?: number) {
  return new UpstreamFailure('unavailable', 'up.test: 502 Bad Gateway', { retryAfterSeconds })
}

function limited(retryAfterSeconds?: number) {
  return new UpstreamFailure('rate limited', 'up.test: 429 slow down', { retryAfterSeconds })
}

function refusalOf(breaker: Breaker): UpstreamFailure {
  try {
    breaker.admit()
  } catch (error) {
    if (error instanceof UpstreamFailure) return error
  }
  throw new Error('it was admitted')
}

describe('an upstream that is down', () => {
  it('is not asked after three failures in a row, and says when it will be', () => {
    const { breaker, fail, pause } = open()
    fail()
    fail()
    expect(pause()).toBe(0)
    expect(fail().retryAfterSeconds).toBe(30)
    expect(pause()).toBe(30)
    const refusal = refusalOf(breaker)
    expect(refusal).toMatchObject({ reason: 'unavailable', retryAfterSeconds: 30 })
    expect(refusal.message).toBe('up.test: 502 Bad Gateway (not asked again for 30 s)')
  })

  it.each(['unknown', 'denied', 'invalid'] as const)(
    'is one that answers, when a failure is of the kind %s',
    (reason) => {
      const { fail, pause } = open()
      fail()
      fail()
      fail(new UpstreamFailure(reason, 'up.test: no'))
      fail()
      fail()
      expect(pause()).toBe(0)
    },
  )

  it('is tried by one request after the pause', () => {
    const { breaker, failThrice, pass } = open()
    failThrice()
    pass(30)
    const trial = breaker.admit()
    expect(refusalOf(breaker)).toMatchObject({ reason: 'unavailable', retryAfterSeconds: 1 })
    trial.succeeded()
    breaker.admit()
    breaker.admit()
  })

  it('is tried by another when nobody waited for the first', () => {
    const { breaker, failThrice, pass } = open()
    failThrice()
    pass(30)
    breaker.admit().abandoned()
    breaker.admit().succeeded()
    expect(breaker.admit()).toBeDefined()
  })

  it('is tried again when the first trial meets a limit', () => {
    const { breaker, failThrice, pass } = open()
    failThrice()
    pass(30)
    breaker.admit().failed(limited(5))
    expect(refusalOf(breaker)).toMatchObject({ reason: 'rate limited', retryAfterSeconds: 5 })
    pass(5)
    const trial = breaker.admit()
    expect(refusalOf(breaker).retryAfterSeconds).toBe(1)
    trial.succeeded()
    expect(breaker.admit()).toBeDefined()
  })

  it('is left alone twice as long after each trial, up to five minutes', () => {
    const { failThrice, fail, pass, pause } = open()
    failThrice()
    const pauses = [60, 120, 240, 300, 300].map(() => {
      pass(pause())
      fail()
      return pause()
    })
    expect(pauses).toEqual([60, 120, 240, 300, 300])
  })

  it('begins anew once it has answered', () => {
    const { breaker, failThrice, fail, pass, pause } = open()
    failThrice()
    pass(30)
    fail()
    pass(60)
    breaker.admit().succeeded()
    failThrice()
    expect(pause()).toBe(30)
  })

  it('is left alone as long as it asks for', () => {
    const { fail, pause } = open()
    fail()
    fail()
    fail(down(100))
    expect(pause()).toBe(100)
  })

  it('fails once when several waited for the same', () => {
    const { breaker, pause } = open()
    const failure = down()
    for (const permit of [breaker.admit(), breaker.admit(), breaker.admit()]) permit.failed(failure)
    expect(pause()).toBe(0)
  })

  it('is not judged by what began before the pause', () => {
    const { breaker, failThrice, pass, pause } = open()
    const early = Array.from({ length: 8 }, () => breaker.admit())
    failThrice()
    early[0]!.succeeded()
    expect(pause()).toBe(30)
    for (const permit of early.slice(1)) permit.failed(down())
    expect(pause()).toBe(30)
    pass(30)
    breaker.admit().failed(down())
    expect(pause()).toBe(60)
  })
})

describe('an upstream that limits', () => {
  it('is not asked before it says', () => {
    const { breaker, fail, pass } = open()
    fail(limited(17))
    expect(refusalOf(breaker)).toMatchObject({ reason: 'rate limited', retryAfterSeconds: 17 })
    pass(16)
    expect(refusalOf(breaker).retryAfterSeconds).toBe(1)
    pass(1)
    breaker.admit()
    breaker.admit()
  })

  it('is left alone ever longer when it does not say', () => {
    const { fail, pass, pause } = open()
    const pauses = [30, 60, 120, 240, 300, 300].map(() => {
      const failure = fail(limited())
      const seconds = pause()
      expect(failure.retryAfterSeconds).toBe(seconds)
      pass(seconds)
      return seconds
    })
    expect(pauses).toEqual([30, 60, 120, 240, 300, 300])
  })

  it('is left alone for a second at least', () => {
    const { fail, pause } = open()
    fail(limited(0))
    expect(pause()).toBe(1)
  })

  it('may ask for more time while it is left alone', () => {
    const { breaker, fail, pause } = open()
    const early = breaker.admit()
    const other = breaker.admit()
    fail(limited(10))
    early.failed(limited(100))
    expect(pause()).toBe(100)
    other.failed(limited(5))
    expect(pause()).toBe(100)
  })
})
