import { describe, expect, it } from 'vitest'
import { firstPartBytes, partBytes } from '../../storage/blob/s3/part-sizes.ts'

const MIB = 2 ** 20
const TIB = 2 ** 40

function capacityOf(firstBytes: number): number {
  let sum = 0
  for (let number = 1; number <= 10_000; number++) sum += partBytes(number, firstBytes)
  return sum
}

describe('the parts of an upload to S3', () => {
  it.each([5, 8, 16, 64, 525])('that begin with %i MiB hold the largest object', (mib) => {
    const sizes = Array.from({ length: 10_000 }, (_, index) => partBytes(index + 1, mib * MIB))
    expect(capacityOf(mib * MIB)).toBeGreaterThanOrEqual(5 * TIB)
    expect(sizes).toEqual(sizes.toSorted((left, right) => left - right))
    expect(sizes.every((size) => size >= 5 * MIB && size <= 5 * 1024 * MIB)).toBe(true)
    expect(sizes.every((size) => size % MIB === 0)).toBe(true)
  })

  it('are of 16 MiB when a blob comes in one request', () => {
    expect(firstPartBytes({ expectsMore: false, concurrent: 1 })).toBe(16 * MIB)
    expect(firstPartBytes({ expectsMore: false, length: 2 ** 30, concurrent: 1 })).toBe(16 * MIB)
  })

  it('are small when it comes in pieces, as what does not fill one is kept elsewhere', () => {
    expect(firstPartBytes({ expectsMore: true, concurrent: 1 })).toBe(5 * MIB)
  })

  it('are equal to the end when a huge length is known', () => {
    const first = firstPartBytes({ expectsMore: false, length: 5 * TIB, concurrent: 1 })
    expect(first * 10_000).toBeGreaterThanOrEqual(5 * TIB)
    const absurd = firstPartBytes({ expectsMore: false, length: 2 ** 60, concurrent: 1 })
    expect(absurd).toBe(first)
  })

  it.each([
    [16, 16],
    [32, 8],
    [33, 5],
    [10_000, 5],
  ])('get smaller when %i uploads share the memory', (concurrent, mib) => {
    expect(firstPartBytes({ expectsMore: false, concurrent })).toBe(mib * MIB)
  })
})
