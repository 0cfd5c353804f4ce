import { array, assert, constantFrom, property } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseChallenges } from '../../upstream/challenge.ts'

function parse(header: string | string[] | undefined) {
  return parseChallenges(header).map(({ scheme, parameters }) => [
    scheme,
    Object.fromEntries(parameters),
  ])
}

describe('the challenges of a 401', () => {
  it.each([
    [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"',
      [
        [
          'bearer',
          {
            realm: 'https://auth.docker.io/token',
            service: 'registry.docker.io',
            scope: 'repository:library/alpine:pull',
          },
        ],
      ],
    ],
    ['Basic realm="x"', [['basic', { realm: 'x' }]]],
    ['bearer  Realm = "a b" , SERVICE=c', [['bearer', { realm: 'a b', service: 'c' }]]],
    ['Bearer realm="a\\"b\\\\c"', [['bearer', { realm: 'a"b\\c' }]]],
    ['Bearer realm="a, Basic realm=b"', [['bearer', { realm: 'a, Basic realm=b' }]]],
    [
      'Negotiate, Basic realm="r", Bearer realm="s"',
      [
        ['negotiate', {}],
        ['basic', { realm: 'r' }],
        ['bearer', { realm: 's' }],
      ],
    ],
    [
      'NTLM TlRMTVNTUAAB==, Bearer realm="s"',
      [
        ['ntlm', {}],
        ['bearer', { realm: 's' }],
      ],
    ],
    ['Bearer realm="first",realm="second"', [['bearer', { realm: 'first' }]]],
    ['Bearer', [['bearer', {}]]],
    [
      'Bearer realm="never closed',
      [
        ['bearer', {}],
        ['realm', {}],
      ],
    ],
    ['', []],
    [undefined, []],
    ['"""', []],
    [`Bearer realm="${'x'.repeat(9000)}"`, []],
  ])('of %s are read', (header, expected) => {
    expect(parse(header)).toEqual(expected)
  })

  it('may be spread over several headers', () => {
    expect(parse(['Basic realm="r"', 'Bearer realm="s"'])).toEqual([
      ['basic', { realm: 'r' }],
      ['bearer', { realm: 's' }],
    ])
  })

  it('never fail to be read, whatever they are', () => {
    const alphabet = constantFrom('Bearer', 'realm', '=', '"', '\\', ',', ' ', '\t', 'x', '~', '/')
    const header = array(alphabet, { maxLength: 60 }).map((parts) => parts.join(''))
    assert(
      property(header, (text) => {
        for (const { scheme } of parseChallenges(text)) expect(scheme).not.toBe('')
      }),
    )
  })
})
