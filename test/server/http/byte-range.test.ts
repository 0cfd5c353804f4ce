import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseByteRange, type RequestedRange } from '../../../server/http/byte-range.ts'

const HUGE = '9'.repeat(400)

describe('a Range header', () => {
  it.each([
    ['bytes=0-0', 10, { first: 0, last: 0 }],
    ['bytes=0-9', 10, { first: 0, last: 9 }],
    ['bytes=5-', 10, { first: 5, last: 9 }],
    ['bytes=-5', 10, { first: 5, last: 9 }],
    ['bytes=-500', 10, { first: 0, last: 9 }],
    ['bytes=2-5000', 10, { first: 2, last: 9 }],
    ['bytes=9-9', 10, { first: 9, last: 9 }],
    ['BYTES=1-2', 10, { first: 1, last: 2 }],
    ['bytes= 1-2 ', 10, { first: 1, last: 2 }],
    [`bytes=3-${HUGE}`, 10, { first: 3, last: 9 }],
    [`bytes=-${HUGE}`, 10, { first: 0, last: 9 }],
  ])('%s of %i bytes is part of them', (header, size, range) => {
    expect(parseByteRange(header, size)).toEqual(range)
  })

  it.each([
    ['bytes=10-', 10],
    ['bytes=10-20', 10],
    ['bytes=5-1', 10],
    ['bytes=500-0', 1000],
    ['bytes=-0', 10],
    ['bytes=0-', 0],
    ['bytes=0-0', 0],
    ['bytes=-1', 0],
    [`bytes=${HUGE}-`, 10],
    [`bytes=${HUGE}-${HUGE}`, 10],
  ])('%s of %i bytes cannot be satisfied', (header, size) => {
    expect(parseByteRange(header, size)).toBe('unsatisfiable')
  })

  it.each([
    undefined,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=1',
    'bytes=1-2-3',
    'bytes=--1',
    'bytes=+1-2',
    'bytes=1.0-2',
    'bytes=0x1-2',
    'foo=1-2',
    'items=0-1',
    '0-1',
    'bytes 0-1',
    'bytes=0-1,4-5',
    'bytes=0-1,',
  ])('%j asks for the whole', (header) => {
    expect(parseByteRange(header, 10)).toBe('whole')
  })

  it('of any text never throws, and never leaves the content', () => {
    const near = fc.string({
      unit: fc.constantFrom(...'bytes=0123456789-, '.split('')),
      maxLength: 40,
    })
    const numbers = fc
      .tuple(fc.option(fc.nat()), fc.option(fc.bigInt({ min: 0n })))
      .map(([first, last]) => `bytes=${first ?? ''}-${last ?? ''}`)
    const header = fc.oneof(
      numbers,
      near,
      near.map((text) => `bytes=${text}`),
      fc.string(),
    )
    fc.assert(
      fc.property(header, fc.oneof(fc.nat(20), fc.nat()), (text, size) => {
        const range = parseByteRange(text, size)
        expect(isWithin(range, size)).toBe(true)
      }),
      { numRuns: 5000 },
    )
  })
})

function isWithin(range: RequestedRange, size: number): boolean {
  if (typeof range === 'string') return ['whole', 'unsatisfiable'].includes(range)
  const { first, last } = range
  const areWhole = Number.isInteger(first) && Number.isInteger(last)
  return areWhole && first >= 0 && first <= last && last < size
}
