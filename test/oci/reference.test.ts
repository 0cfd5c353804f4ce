import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RegistryError } from '../../oci/errors.ts'
import {
  formatReference,
  MAX_FULL_NAME_LENGTH,
  parseReference,
  parseRepositoryName,
  parseTag,
} from '../../oci/reference.ts'

/** The grammar of the distribution spec, as it stands there, with anchors. */
const NAME = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/

describe('a repository name', () => {
  it.each([
    'a',
    '0',
    'library/alpine',
    'a--b',
    'a---b',
    'a__b',
    'a_b',
    'a.b',
    'a.b-c_d__e---f',
    'a/b/c/d/e',
    'manifests/manifests',
    'blobs/uploads',
    'localhost/x',
    'x'.repeat(MAX_FULL_NAME_LENGTH),
  ])('may be %s', (text) => {
    expect(parseRepositoryName(text)).toBe(text)
  })

  it.each([
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    'A',
    'Foo/bar',
    'a..b',
    'a___b',
    '_a',
    'a_',
    '-a',
    'a-',
    '.a',
    'a.',
    'a._b',
    'a.-b',
    'a/./b',
    'a/../b',
    '..',
    'a b',
    'a\n',
    'a\0',
    'a%2fb',
    'a\\b',
    'é',
    'a:b',
    'a@b',
    'x'.repeat(MAX_FULL_NAME_LENGTH + 1),
  ])('is not %j', (text) => {
    expect(() => parseRepositoryName(text)).toThrow(
      expect.objectContaining({ code: 'NAME_INVALID' }),
    )
  })

  it('is what the grammar of the spec says, for any text', () => {
    const near = fc.string({ unit: fc.constantFrom(...'aZ0._-/\n%'.split('')), maxLength: 20 })
    fc.assert(
      fc.property(fc.oneof(near, fc.string()), (text) => {
        expect(isAccepted(() => parseRepositoryName(text))).toBe(NAME.test(text))
      }),
      { numRuns: 2000 },
    )
  })

  it('leaves room for the host that clients put before it', () => {
    expect(parseRepositoryName('abcd', 4)).toBe('abcd')
    expect(() => parseRepositoryName('abcde', 4)).toThrow(RegistryError)
  })

  it('is refused fast, however it was made', () => {
    const started = performance.now()
    for (const unit of ['a-', 'a_', 'a.', 'a/', '-', 'aa']) {
      expect(() => parseRepositoryName(`${unit.repeat(125)}!`)).toThrow(RegistryError)
      expect(() => parseRepositoryName(`${unit.repeat(1_000_000)}!`)).toThrow(RegistryError)
    }
    expect(performance.now() - started).toBeLessThan(500)
  })
})

describe('a tag', () => {
  it.each(['latest', '_', '0', 'A', '1.2.3', 'a-b_c.d', 'v1', 'x'.repeat(128)])(
    'may be %s',
    (text) => {
      expect(parseTag(text)).toBe(text)
    },
  )

  it.each([
    '',
    '.x',
    '-x',
    'x'.repeat(129),
    'a/b',
    'a:b',
    'a b',
    'a\n',
    'a\0',
    'é',
    '../x',
    'a%20',
  ])('is not %j', (text) => {
    expect(() => parseTag(text)).toThrow(expect.objectContaining({ code: 'TAG_INVALID' }))
  })

  it('is what the grammar of the spec says, for any text', () => {
    const near = fc.string({ unit: fc.constantFrom(...'aZ0._-/\n'.split('')), maxLength: 140 })
    fc.assert(
      fc.property(fc.oneof(near, fc.string()), (text) => {
        expect(isAccepted(() => parseTag(text))).toBe(TAG.test(text))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('a reference', () => {
  const digest = `sha256:${'0'.repeat(64)}`

  it('with a colon is a digest, any other a tag', () => {
    expect(parseReference(digest)).toEqual({ kind: 'digest', digest })
    expect(parseReference('latest')).toEqual({ kind: 'tag', tag: 'latest' })
  })

  it.each([
    ['sha256:baddigeststring', 'DIGEST_INVALID'],
    ['a:b', 'DIGEST_INVALID'],
    [':', 'DIGEST_INVALID'],
    [digest.replace(':', '%3A'), 'TAG_INVALID'],
    ['.x', 'TAG_INVALID'],
    ['', 'TAG_INVALID'],
  ])('%j is refused with %s', (text, code) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code }))
  })

  it('reads as clients write it', () => {
    expect(formatReference(parseReference('latest'))).toBe(':latest')
    expect(formatReference(parseReference(digest))).toBe(`@${digest}`)
  })
})

function isAccepted(parse: () => unknown): boolean {
  try {
    parse()
    return true
  } catch (error) {
    if (error instanceof RegistryError) return false
    throw error
  }
}
