import type { IncomingMessage } from 'node:http'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RegistryError } from '../../../oci/errors.ts'
import {
  formatOffset,
  formatProgress,
  parseChunkRange,
} from '../../../server/http/content-range.ts'

const request = (range?: string, length?: string) =>
  ({ headers: { 'content-range': range, 'content-length': length } }) as unknown as IncomingMessage

describe('the range of a chunk', () => {
  it.each([
    ['0-0', undefined, { first: 0, length: 1 }],
    ['0-99', '100', { first: 0, length: 100 }],
    ['100-199', undefined, { first: 100, length: 100 }],
    ['999999999999999-999999999999999', '1', { first: 999_999_999_999_999, length: 1 }],
  ])('%s with %s bytes', (range, length, expected) => {
    expect(parseChunkRange(request(range, length))).toEqual(expected)
  })

  it('need not be there', () => {
    expect(parseChunkRange(request(undefined, '5'))).toBeUndefined()
  })

  it.each([
    ['bytes 0-99/200', '100'],
    ['bytes=0-99', '100'],
    ['0-99/100', '100'],
    ['0-99', '50'],
    ['0-99', '0'],
    ['0-99', 'x'],
    ['99-0', undefined],
    ['1-0', '0'],
    ['-5', undefined],
    ['5-', undefined],
    ['', undefined],
    ['a-b', undefined],
    [' 0-1', undefined],
    ['0-1\n', undefined],
    ['0 - 1', undefined],
    ['+0-1', undefined],
    ['0.0-1', undefined],
    [`0-${'9'.repeat(16)}`, undefined],
  ])('%j with %s bytes is refused', (range, length) => {
    expect(() => parseChunkRange(request(range, length))).toThrow(
      expect.objectContaining({ code: 'SIZE_INVALID' }),
    )
  })

  it('of any text is safe to count with, or refused', () => {
    const near = fc.string({ unit: fc.constantFrom(...'0123456789- '.split('')), maxLength: 40 })
    fc.assert(
      fc.property(fc.oneof(near, fc.string()), (text) => {
        const range = unlessRefused(() => parseChunkRange(request(text)))
        const { first, length } = range ?? { first: 0, length: 1 }
        expect(length).toBeGreaterThan(0)
        expect(Number.isSafeInteger(first + length)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('the range of an upload', () => {
  it.each([
    [0, '0-0', '0--1'],
    [1, '0-0', '0-0'],
    [100, '0-99', '0-99'],
    [2 ** 42, '0-4398046511103', '0-4398046511103'],
  ])('of %i bytes is %s after a chunk and %s when asked for', (offset, progress, asked) => {
    expect(formatProgress(offset)).toBe(progress)
    expect(formatOffset(offset)).toBe(asked)
  })
})

/** Undefined for what is refused; any other error fails the test. */
function unlessRefused<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (error instanceof RegistryError) return undefined
    throw error
  }
}
