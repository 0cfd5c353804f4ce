import { describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { OCI_INDEX } from '../../oci/media-types.ts'
import { answerJson, connect, patiently, type SeenRequest, startServer } from './server.ts'

const SUBJECT = digestOf(Buffer.from('subject'))
const PAGE = { after: '', limit: 100 }

/** `next` for each page, undefined for the last. */
function startPaged(next: (page: number, request: SeenRequest) => string | undefined) {
  return startServer((request, response) => {
    const page = Number(new URL(request.url, 'http://x').searchParams.get('page') ?? 1)
    const link = next(page, request)
    if (link !== undefined) response.setHeader('link', `<${link}>; rel="next"`)
    response.setHeader('content-type', OCI_INDEX)
    response.end(JSON.stringify({ schemaVersion: 2, manifests: [{ page }] }))
  })
}

describe('the tags of an upstream', () => {
  it('are asked for by page', async () => {
    const registry = await startServer((_, response) => {
      response.setHeader('link', '</v2/a/tags/list?n=2&last=b>; rel="next"')
      answerJson(response, 200, { name: 'a', tags: ['a', 'b'] })
    })
    const client = connect(registry.origin)
    const page = { after: '3.19+x', limit: 2 }
    expect(await client.listTags('a', page, patiently())).toEqual({ tags: ['a', 'b'], more: true })
    expect(registry.requests).toMatchObject([{ url: '/v2/a/tags/list?n=2&last=3.19%2Bx' }])
  })

  it.each([
    ['</v2/a/tags/list?last=b>; rel=next', true],
    ['</x>; rel="prev", </y>; title="a"; rel="last next"', true],
    ['</x>; rel="prev"', false],
    ['</x>', false],
    ['next', false],
    ['<<<<', false],
  ])('with Link %s: more %s', async (link, more) => {
    const registry = await startServer((_, response) => {
      response.setHeader('link', link)
      answerJson(response, 200, { tags: ['a'] })
    })
    expect(await connect(registry.origin).listTags('a', PAGE, patiently())).toEqual({
      tags: ['a'],
      more,
    })
  })

  it('are only those that are tags', async () => {
    const tags = ['ok', '', '../x', 'a b', '.x', 7, null, {}, 'x'.repeat(129), 'v1.0']
    const registry = await startServer((_, response) => answerJson(response, 200, { tags }))
    expect(await connect(registry.origin).listTags('a', PAGE, patiently())).toEqual({
      tags: ['ok', 'v1.0'],
      more: false,
    })
  })

  it('may be none', async () => {
    const registry = await startServer((_, response) => answerJson(response, 200, { tags: null }))
    const { tags } = await connect(registry.origin).listTags('a', PAGE, patiently())
    expect(tags).toEqual([])
  })

  it.each([
    ['no JSON', 'tags'],
    ['no object', '[]x'],
    ['no list', '{"tags":{"0":"a"}}'],
    ['too much', `{"tags":["${'x'.repeat(4_194_304)}"]}`],
  ])('are refused when the answer is %s', async (_, body) => {
    const registry = await startServer((__, response) => response.end(body))
    await expect(connect(registry.origin).listTags('a', PAGE, patiently())).rejects.toMatchObject({
      reason: 'invalid',
    })
  })

  it('are unknown where the repository is', async () => {
    const registry = await startServer((_, response) =>
      answerJson(response, 404, {
        errors: [{ code: 'NAME_UNKNOWN', message: 'no such repository' }],
      }),
    )
    await expect(connect(registry.origin).listTags('a', PAGE, patiently())).rejects.toMatchObject({
      reason: 'unknown',
      message: 'up.test: 404 name_unknown: no such repository',
    })
  })
})

describe('the referrers in an upstream', () => {
  it('are those of all pages', async () => {
    const registry = await startPaged((page, { headers }) => {
      if (page === 1) return '/v2/a/referrers/x?page=2'
      return page === 2 ? `http://${headers.host}/v2/a/referrers/x?page=3` : undefined
    })
    const client = connect(registry.origin)
    expect(await client.listReferrers('a', SUBJECT, patiently())).toEqual([
      { page: 1 },
      { page: 2 },
      { page: 3 },
    ])
    expect(registry.requests[0]).toMatchObject({
      url: `/v2/a/referrers/${SUBJECT}`,
      headers: { accept: OCI_INDEX },
    })
  })

  it.each([400, 404, 405])('are not to be had from one that answers %i', async (status) => {
    const registry = await startServer((_, response) => answerJson(response, status, {}))
    expect(await connect(registry.origin).listReferrers('a', SUBJECT, patiently())).toBeUndefined()
  })

  it('are not to be had from one that answers with a page for people', async () => {
    const registry = await startServer((_, response) =>
      response.setHeader('content-type', 'text/html').end('<html>'),
    )
    expect(await connect(registry.origin).listReferrers('a', SUBJECT, patiently())).toBeUndefined()
  })

  it('are not looked for at another host', async () => {
    const other = await startPaged(() => undefined)
    const registry = await startPaged(() => `${other.origin}/v2/a/referrers/x?page=2`)
    await expect(
      connect(registry.origin).listReferrers('a', SUBJECT, patiently()),
    ).rejects.toMatchObject({
      reason: 'invalid',
      message: 'up.test: its list of referrers goes on at another host',
    })
    expect(other.requests).toEqual([])
  })

  it('are refused when there is no end', async () => {
    const registry = await startPaged(() => '?page=7')
    await expect(
      connect(registry.origin).listReferrers('a', SUBJECT, patiently()),
    ).rejects.toMatchObject({ reason: 'invalid' })
    expect(registry.requests).toHaveLength(50)
  })

  it('are refused when all pages together are too long', async () => {
    const body = JSON.stringify({ manifests: ['x'.repeat(6_000_000)] })
    const registry = await startServer((_, response) => {
      response.setHeader('link', '<?page=2>; rel=next').setHeader('content-type', OCI_INDEX)
      response.end(body)
    })
    await expect(
      connect(registry.origin).listReferrers('a', SUBJECT, patiently()),
    ).rejects.toMatchObject({ reason: 'invalid' })
    expect(registry.requests).toHaveLength(3)
  })

  it('are not given in part when a page is missing', async () => {
    const registry = await startPaged((page) => `?page=${page + 1}`)
    const pages = registry.requests
    registry.handle((request, response) => {
      if (pages.length > 1) return answerJson(response, 404, {})
      response.setHeader('link', '<?page=2>; rel=next').setHeader('content-type', OCI_INDEX)
      return response.end(JSON.stringify({ manifests: [request.url] }))
    })
    await expect(
      connect(registry.origin).listReferrers('a', SUBJECT, patiently()),
    ).rejects.toMatchObject({ reason: 'unknown' })
  })
})
