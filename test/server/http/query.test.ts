import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import * as fc from 'fast-check'
import Koa from 'koa'
import { describe, expect, it } from 'vitest'
import { RegistryError } from '../../../oci/errors.ts'
import { listOf, only, pageRequest, setNextLink } from '../../../server/http/query.ts'
import type { RequestContext, RequestState } from '../../../server/state.ts'

const LIMITS = { standard: 100, max: 1000 }

function contextOf(url: string): RequestContext {
  const request = new IncomingMessage(new Socket())
  request.url = url
  return new Koa<RequestState>().createContext(request, new ServerResponse(request))
}

describe('a parameter', () => {
  it.each([
    ['/', []],
    ['/?tag=a', ['a']],
    ['/?tag=', ['']],
    ['/?tag=a&tag=b&tag=a', ['a', 'b', 'a']],
    ['/?tag=a%2Bb', ['a+b']],
  ])('of %s has the values %j', (url, values) => {
    expect(listOf(contextOf(url), 'tag')).toEqual(values)
  })

  it.each([
    ['/', ''],
    ['/?digest=a', 'a'],
    ['/?digest=a&digest=a', 'a'],
    ['/?digest=a&digest=b', undefined],
    ['/?digest=&digest=b', undefined],
  ])('of %s is only %j', (url, value) => {
    expect(only(contextOf(url), 'digest')).toBe(value)
  })
})

describe('a page', () => {
  it.each([
    ['/', { after: '', limit: 100 }],
    ['/?n=', { after: '', limit: 100 }],
    ['/?n=0', { after: '', limit: 0 }],
    ['/?n=7&last=abc', { after: 'abc', limit: 7 }],
    ['/?last=a%2Fb', { after: 'a/b', limit: 100 }],
    ['/?n=1000000', { after: '', limit: 1000 }],
    ['/?n=5&n=5', { after: '', limit: 5 }],
  ])('of %s', (url, page) => {
    expect(pageRequest(contextOf(url), LIMITS)).toEqual(page)
  })

  it.each(['-1', 'abc', '1.5', '+1', '1e3', '0x10', ' 1', '%31%20', '9'.repeat(16), '1&n=2'])(
    'of n=%s is refused',
    (n) => {
      expect(() => pageRequest(contextOf(`/?n=${n}`), LIMITS)).toThrow(
        expect.objectContaining({ code: 'PAGINATION_NUMBER_INVALID' }),
      )
    },
  )

  it('of any query is within the limits, or refused', () => {
    fc.assert(
      fc.property(fc.webQueryParameters(), fc.string({ unit: 'grapheme' }), (query, n) => {
        const url = `/?${query}&n=${encodeURIComponent(n)}`
        const page = unlessRefused(() => pageRequest(contextOf(url), LIMITS))
        expect(page?.limit ?? 0).toBeGreaterThanOrEqual(0)
        expect(page?.limit ?? 0).toBeLessThanOrEqual(LIMITS.max)
      }),
    )
  })

  it('links to the next one relative to any host, with its parameters encoded', () => {
    const ctx = contextOf('/v2/a/tags/list?n=2')
    setNextLink(ctx, [
      ['n', '2'],
      ['last', 'a+b&c'],
      ['artifactType', 'x/y+json'],
    ])
    expect(ctx.response.get('Link')).toBe(
      '</v2/a/tags/list?n=2&last=a%2Bb%26c&artifactType=x%2Fy%2Bjson>; rel="next"',
    )
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
