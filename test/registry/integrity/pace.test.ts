import { describe, expect, it } from 'vitest'
import { spendingMs } from '../../../registry/integrity/pace.ts'
import { Throttle } from '../../../registry/integrity/throttle.ts'

describe('the pace of a scrub', () => {
  const terms = { days: 30, bytesPerSecond: 20 * 2 ** 20 }
  const all = (count: number, sizeBytes: number) => {
    const each = spendingMs(sizeBytes, { blobs: count, bytes: count * sizeBytes }, terms)
    return { each, days: (each * count) / 86_400_000 }
  }

  it('spreads everything over most of the days of a pass', () => {
    for (const [count, sizeBytes] of [
      [100, 10],
      [100_000, 5e6],
      [1_000_000, 100],
    ] as const) {
      expect(all(count, sizeBytes).days).toBeCloseTo(24)
    }
  })

  it('is never faster than the rate, however much there is', () => {
    const { each, days } = all(10_000_000, 50e6)
    expect(50e6 / (each / 1000)).toBeLessThanOrEqual(terms.bytesPerSecond)
    expect(days).toBeGreaterThan(30)
  })

  it('leaves no more than a day between two blobs', () => {
    expect(all(1, 1).each).toBe(86_400_000)
    expect(spendingMs(5, { blobs: 0, bytes: 0 }, terms)).toBe(86_400_000)
  })

  it('holds within a blob as well', async () => {
    const throttle = new Throttle(1_000_000)
    const startedAt = performance.now()
    for (let count = 0; count < 20; count++) await throttle.take(10_000, undefined)
    expect(performance.now() - startedAt).toBeGreaterThan(150)
  })

  it('ends with the signal', async () => {
    const ending = new AbortController()
    const waiting = new Throttle(1).take(1_000_000, ending.signal)
    ending.abort(new Error('over'))
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
  })
})
