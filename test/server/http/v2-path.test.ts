import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseV2Path } from '../../../server/http/v2-path.ts'

const digest = `sha256:${'0'.repeat(64)}`

describe('a path of the distribution API', () => {
  it.each([
    ['/v2/a/manifests/latest', 'manifest', 'a', 'latest'],
    ['/v2/a/b/c/manifests/latest', 'manifest', 'a/b/c', 'latest'],
    [`/v2/a/manifests/${digest}`, 'manifest', 'a', digest],
    [`/v2/a/manifests/${digest.replace(':', '%3A')}`, 'manifest', 'a', digest],
    [`/v2/a/manifests/${digest.replace(':', '%3a')}`, 'manifest', 'a', digest],
    [`/v2/a/blobs/${digest}`, 'blob', 'a', digest],
    [`/v2/a/referrers/${digest}`, 'referrers', 'a', digest],
    ['/v2/a/tags/list', 'tags', 'a', ''],
    ['/v2/a/blobs/uploads/', 'uploads', 'a', ''],
    ['/v2/a/blobs/uploads', 'uploads', 'a', ''],
    ['/v2/a/blobs/uploads/some-id', 'upload', 'a', 'some-id'],
    // Words of the API are allowed in names.
    ['/v2/manifests/manifests/x', 'manifest', 'manifests', 'x'],
    ['/v2/a/manifests/b/manifests/x', 'manifest', 'a/manifests/b', 'x'],
    ['/v2/blobs/uploads/blobs/uploads/', 'uploads', 'blobs/uploads', ''],
    ['/v2/a/tags/list/tags/list', 'tags', 'a/tags/list', ''],
    // Nothing is decoded into a name, or into a path.
    ['/v2/a%2Fb/tags/list', 'tags', 'a%2Fb', ''],
    ['/v2/../../etc/tags/list', 'tags', '../../etc', ''],
    ['/v2/a//b/tags/list', 'tags', 'a//b', ''],
    ['/v2/a/manifests/..%2f..%2fx', 'manifest', 'a', '..%2f..%2fx'],
    ['/v2/a/manifests/..', 'manifest', 'a', '..'],
  ])('%s', (path, resource, name, reference) => {
    expect(parseV2Path(path)).toEqual({ resource, name, reference })
  })

  it.each([
    '',
    '/',
    '/v2',
    '/v2/',
    '/v2/_catalog',
    '/v2/tags/list',
    '/v2//tags/list',
    '/v2/a/tags',
    '/v2/a/tags/list/',
    '/v2/a/tags/other',
    '/v2/a/manifests',
    '/v2/a/manifests/',
    '/v2/a/manifests/x/',
    '/v2/a/blobs/',
    '/v2/a/blobs/uploads/x/y',
    '/v2/a/referrers/',
    '//v2/a/tags/list',
    '/V2/a/tags/list',
    '/v1/a/tags/list',
    'v2/a/tags/list',
  ])('is not %j', (path) => {
    expect(parseV2Path(path)).toBeUndefined()
  })

  it('of any text parses or does not, and what it names is in it', () => {
    const word = fc.constantFrom(
      '/',
      'v2',
      'manifests',
      'blobs',
      'uploads',
      'tags',
      'list',
      'a',
      '%',
    )
    const near = fc.array(word, { maxLength: 14 }).map((words) => `/v2/${words.join('/')}`)
    fc.assert(
      fc.property(fc.oneof(near, fc.webPath(), fc.string()), (path) => {
        const parsed = parseV2Path(path)
        if (parsed === undefined) return
        expect(path.startsWith(`/v2/${parsed.name}/`)).toBe(true)
        expect(parsed.reference).not.toContain('/')
      }),
      { numRuns: 2000 },
    )
  })

  it('is parsed fast, however it was made', () => {
    const started = performance.now()
    parseV2Path(`/v2/${'manifests/'.repeat(2000)}`)
    parseV2Path(`/v2/${'a/blobs/uploads/'.repeat(1000)}x/`)
    expect(performance.now() - started).toBeLessThan(200)
  })
})
