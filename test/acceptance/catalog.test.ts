import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Answer,
  type Client,
  expectError,
  expectStatus,
  json,
  type RunningRegistry,
  runRegistry,
} from './client.ts'
import { pushEmpty, pushImage } from './images.ts'

function namesIn(answer: Answer): string[] {
  expectStatus(answer, 200)
  return (json(answer) as { repositories: string[] }).repositories
}

describe('case 38, but for users: the catalog', () => {
  const names = ['a', 'a-b', 'a/b', 'a/c', 'a_b', 'b', 'b/a/c', 'c0', 'd', 'd.e']
  let running: RunningRegistry
  let client: Client
  beforeAll(async () => {
    running = await runRegistry()
    client = running.client
    for (const name of names.toReversed()) await pushImage(client, name, 'x')
    await pushEmpty(client, 'b/only-a-blob') // no repository to its users, there is nothing to pull
  })
  afterAll(() => running.close())

  async function follow(query: string): Promise<string[][]> {
    const pages: string[][] = []
    let path: string | undefined = `/v2/_catalog${query}`
    while (path !== undefined) {
      const answer: Answer = await client.get(path)
      pages.push(namesIn(answer))
      const link = answer.headers['link']
      path = /^<(\/v2\/_catalog[^>]*)>; rel="next"$/.exec(String(link ?? ''))?.[1]
    }
    return pages
  }

  it('lists every repository once, in byte order, page by page', async () => {
    const sorted = names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    for (const n of [1, 2, 3, 9, 10, 11]) {
      const pages = await follow(`?n=${n}`)
      expect(pages.flat()).toEqual(sorted)
      expect(pages).toHaveLength(Math.ceil(10 / n))
    }
    expect((await follow('')).flat()).toEqual(sorted)
    expect((await follow('?n=1000000')).flat()).toEqual(sorted)
  })

  it('takes n and last as the list of tags does', async () => {
    expect(namesIn(await client.get('/v2/_catalog?n=0'))).toEqual([])
    expect((await client.get('/v2/_catalog?n=0')).headers['link']).toBeUndefined()
    expect(namesIn(await client.get('/v2/_catalog?last=c'))).toEqual(['c0', 'd', 'd.e'])
    expect(namesIn(await client.get('/v2/_catalog?n=2&last=zzz'))).toEqual([])
    for (const n of ['-1', 'abc']) {
      expectError(await client.get(`/v2/_catalog?n=${n}`), 400, 'PAGINATION_NUMBER_INVALID')
    }
    expect([200, 400]).toContain((await client.get('/v2/_catalog?last=%00')).status)
  })

  it('can only be read', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      expectError(await client.send(method, '/v2/_catalog'), 405, 'UNSUPPORTED')
    }
  })
})

describe('case 38, but for users: the catalog of who may not see it', () => {
  it('is refused', async () => {
    const running = await runRegistry({ access: { mode: 'token' } })
    try {
      expectError(await running.client.get('/v2/_catalog?n=2'), 401, 'UNAUTHORIZED')
    } finally {
      await running.close()
    }
  })
})
