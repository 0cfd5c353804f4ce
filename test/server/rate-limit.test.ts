import { describe, expect, it } from 'vitest'
import { RateLimit } from '../../server/middleware/rate-limit.ts'

describe('a rate limit', () => {
  it('lets a sixth through at once, and the rest evenly', () => {
    const limit = new RateLimit(60)
    for (let time = 0; time < 10; time++) limit.take('192.0.2.1', 0)
    expect(() => limit.take('192.0.2.1', 0)).toThrow('too many requests')
    limit.take('192.0.2.1', 1001)
    expect(() => limit.take('192.0.2.1', 1002)).toThrow(
      expect.objectContaining({ retryAfterSeconds: 1 }),
    )
    for (let time = 0; time < 10; time++) limit.take('192.0.2.1', 100_000)
    expect(() => limit.take('192.0.2.1', 100_000)).toThrow('too many requests')
  })

  it('counts each address by itself, and a /64 of IPv6 as one', () => {
    const limit = new RateLimit(1)
    limit.take('192.0.2.1', 0)
    limit.take('192.0.2.2', 0)
    limit.take('2001:db8::1', 0)
    expect(() => limit.take('2001:db8::ffff:1', 0)).toThrow('too many requests')
    limit.take('2001:db8:0:1::1', 0)
  })
})
