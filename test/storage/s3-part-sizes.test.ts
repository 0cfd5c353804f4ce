import { describe, expect, it } from 'vitest'
import { firstPartBytes, partBytes } from '../../storage/blob/s3/part-sizes.ts'

const MIB = 2 ** 20
const TIB = 2 ** 40

function capacityOf(firstBytes: number): number {
  let sum = 0
  for (let number = 1; number <= 10_000; number++) sum += partBytes(number, firstBytes)
  return sum
}

const sizeFor = (length: number) =>
  firstPartBytes({ expectsMore: false, length, concurrent: 1 }) / MIB

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

  it('are larger when a large length is announced, but not as large as a client likes', () => {
    expect(sizeFor(100 * 2 ** 30)).toBe(16)
    expect(sizeFor(300 * 2 ** 30)).toBe(31)
    expect(sizeFor(5 * TIB)).toBe(64)
    expect(sizeFor(2 ** 60)).toBe(64)
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
