import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  digestOf,
  parseDescriptorDigest,
  parseDigest,
  parseDigestAlgorithm,
  splitDigest,
} from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'

const HEX64 = 'ab'.repeat(32)
const HEX128 = 'cd'.repeat(64)

const hex = (length: number) =>
  fc.array(fc.constantFrom(...'0123456789abcdef'.split('')), {
    minLength: length,
    maxLength: length,
  })

const wellFormed = fc.oneof(
  hex(64).map((digits) => `sha256:${digits.join('')}`),
  hex(128).map((digits) => `sha512:${digits.join('')}`),
)

describe('a digest', () => {
  it('is any sha256 or sha512 in lower-case hex', () => {
    fc.assert(
      fc.property(wellFormed, (text) => {
        expect(parseDigest(text)).toBe(text)
      }),
    )
  })

  it.each([
    ['', 'nothing'],
    ['sha256:', 'no digits'],
    [`sha256:${HEX64.slice(1)}`, '63 digits'],
    [`sha256:${HEX64}0`, '65 digits'],
    [`sha256:${HEX64.toUpperCase()}`, 'upper case'],
    [`SHA256:${HEX64}`, 'upper-case algorithm'],
    [`sha512:${HEX64}`, 'too short for sha512'],
    [`sha256:${HEX128}`, 'too long for sha256'],
    [`md5:${'0'.repeat(32)}`, 'an algorithm that is too weak'],
    [`blake3:${HEX64}`, 'an algorithm that cannot be computed here'],
    [`sha256:${HEX64}\n`, 'a line end behind it'],
    [` sha256:${HEX64}`, 'a space before it'],
    [`sha256:${'g'.repeat(64)}`, 'no hex'],
    [HEX64, 'no algorithm'],
    ['sha256:../../../../etc/passwd', 'a path'],
  ])('is not %j (%s)', (text) => {
    expect(() => parseDigest(text)).toThrow(expect.objectContaining({ code: 'DIGEST_INVALID' }))
  })

  it('is nothing else', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' })), (text) => {
        fc.pre(!/^sha(256|512):[0-9a-f]+$/.test(text))
        expect(() => parseDigest(text)).toThrow(RegistryError)
      }),
    )
  })

  it('that is wrong is repeated at a safe length only', () => {
    const thrown = catchError(() => parseDigest('x'.repeat(100_000)))
    expect(thrown.details.join('').length).toBeLessThan(200)
  })

  it('splits into its two sides', () => {
    fc.assert(
      fc.property(wellFormed, (text) => {
        const { algorithm, hex: digits } = splitDigest(parseDigest(text))
        expect(`${algorithm}:${digits}`).toBe(text)
      }),
    )
  })

  it.each(['sha256', 'sha512'] as const)('of bytes is their %s', (algorithm) => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const expected = createHash(algorithm).update(bytes).digest('hex')
        expect(digestOf(bytes, algorithm)).toBe(parseDigest(`${algorithm}:${expected}`))
      }),
    )
  })
})

describe('a digest in a descriptor', () => {
  it.each([
    `sha256:${HEX64}`,
    `sha512:${HEX128}`,
    `blake3:${HEX64}`,
    'sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564',
    'multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8',
    'a.b_c-d:x=',
  ])('may be %s', (text) => {
    expect(parseDescriptorDigest(text)).toBe(text)
  })

  it.each([
    '',
    ':',
    'sha256',
    'sha256:',
    `sha256:${HEX64.slice(1)}`,
    `sha256:${HEX64.toUpperCase()}`,
    `sha512:${HEX64}`,
    'a..b:x',
    '-a:x',
    'a-:x',
    'A:x',
    'a:x/y',
    'a:x y',
    'a:x:y',
    `a:${'x'.repeat(300)}`,
  ])('is not %j', (text) => {
    expect(() => parseDescriptorDigest(text)).toThrow(
      expect.objectContaining({ code: 'DIGEST_INVALID' }),
    )
  })

  it('is whatever the grammar allows, if it is short', () => {
    const word = fc.stringMatching(/^[a-z0-9]{1,8}$/)
    const algorithm = fc
      .array(fc.tuple(word, fc.constantFrom('+', '.', '_', '-')), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.map(([text, joint]) => text + joint).join(''))
      .chain((start) => word.map((end) => start + end))
    const encoded = fc.stringMatching(/^[a-zA-Z0-9=_-]{1,64}$/)
    fc.assert(
      fc.property(algorithm, encoded, (left, right) => {
        expect(parseDescriptorDigest(`${left}:${right}`)).toBe(`${left}:${right}`)
      }),
    )
  })
})

describe('a digest algorithm', () => {
  it('is one that can be computed here', () => {
    expect(parseDigestAlgorithm('sha256')).toBe('sha256')
    expect(parseDigestAlgorithm('sha512')).toBe('sha512')
  })

  it.each(['', 'md5', 'SHA256', 'sha384', 'toString', '__proto__'])('is not %j', (text) => {
    expect(() => parseDigestAlgorithm(text)).toThrow(
      expect.objectContaining({ code: 'DIGEST_INVALID' }),
    )
  })
})

function catchError(work: () => unknown): RegistryError {
  try {
    work()
  } catch (error) {
    if (error instanceof RegistryError) return error
  }
  throw new Error('nothing was thrown')
}
