import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Answer,
  type Client,
  expectBlob,
  expectError,
  expectStatus,
  json,
  pushBlob,
  type RunningRegistry,
  runRegistry,
  sha256,
} from './client.ts'
import {
  artifact,
  describeContent,
  descriptorOf,
  EMPTY,
  OCI_LAYER,
  pushEmpty,
  pushImage,
  pushManifest,
  putManifest,
} from './images.ts'

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
})
afterAll(() => running.close())

function tagsIn(answer: Answer): string[] {
  expectStatus(answer, 200)
  const { tags } = json(answer) as { tags: string[] }
  expect(Array.isArray(tags)).toBe(true)
  return tags
}

/** The path of the next page, undefined on the last one. */
function nextOf({ headers }: Answer): string | undefined {
  const link = headers['link']
  if (link === undefined) return undefined
  const match = /^<(\/v2\/[^>]+)>; rel="next"$/.exec(String(link))
  expect(match).not.toBeNull()
  return match?.[1]
}

async function tagAll(repository: string, tags: readonly string[]): Promise<void> {
  await pushEmpty(client, repository)
  for (let first = 0; first < tags.length; first += 250) {
    const query = tags.slice(first, first + 250).map((tag) => `tag=${tag}`)
    const content = artifact()
    await pushManifest(client, repository, `${content.digest}?${query.join('&')}`, content)
  }
}

const compareBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))

describe('case 31: 20 pushes to a tag at once', () => {
  it('all succeed, the tag is one of them whole, and none is lost', async () => {
    await pushEmpty(client, 'case31')
    const before = artifact()
    await pushManifest(client, 'case31', 't', before)
    const contents = Array.from({ length: 20 }, () => artifact())
    const byDigest = new Map([before, ...contents].map((content) => [content.digest, content]))
    const race = { ended: false }
    const seen: Answer[] = []
    const watch = async (method: string) => {
      while (!race.ended) seen.push(await client.send(method, '/v2/case31/manifests/t'))
    }
    const watching = Promise.all([watch('GET'), watch('HEAD'), watch('GET')])

    const answers = await Promise.all(
      contents.map((content) => putManifest(client, 'case31', 't', content)),
    )
    race.ended = true
    await watching

    for (const answer of answers) expectStatus(answer, 201)
    expect(seen.length).toBeGreaterThan(0)
    for (const { status, headers, body } of seen) {
      expect(status).toBe(200)
      const digest = String(headers['docker-content-digest'])
      const pushed = byDigest.get(digest)
      expect(headers.etag).toBe(`"${digest}"`)
      expect(headers['content-length']).toBe(String(pushed?.bytes.length))
      expect([0, pushed?.bytes.length]).toContain(body.length)
      expect(body.length === 0 || sha256(body) === digest).toBe(true)
    }
    const last = await client.get('/v2/case31/manifests/t')
    const ends = contents.map(({ digest }) => digest)
    expect(ends).toContain(last.headers['docker-content-digest'])
    for (const digest of byDigest.keys()) {
      expectStatus(await client.get(`/v2/case31/manifests/${digest}`), 200)
    }
  })
})

describe('case 33, without a collector running: deleted and pushed again', () => {
  it('a tag goes alone, a digest goes with its tags, and both come back', async () => {
    const image = await pushImage(client, 'case33', 'a')
    await pushManifest(client, 'case33', 'b', image)
    await pushManifest(client, 'case33', 'c', image)
    const other = await pushImage(client, 'case33', 'other')
    await pushEmpty(client, 'case33')
    const referrer = artifact({ subject: descriptorOf(other) })
    await pushManifest(client, 'case33', referrer.digest, referrer)
    const url = `/v2/case33/manifests/${image.digest}`

    expectStatus(await client.delete('/v2/case33/manifests/a'), 202)
    expectError(await client.get('/v2/case33/manifests/a'), 404, 'MANIFEST_UNKNOWN')
    expectError(await client.delete('/v2/case33/manifests/a'), 404, 'MANIFEST_UNKNOWN')
    expectStatus(await client.get(url), 200)

    expectStatus(await client.delete(url), 202)
    for (const reference of [image.digest, 'b', 'c']) {
      expectStatus(await client.head(`/v2/case33/manifests/${reference}`), 404)
    }
    expectError(await client.delete(url), 404, 'MANIFEST_UNKNOWN')
    expect(tagsIn(await client.get('/v2/case33/tags/list'))).toEqual(['other'])
    const referrers = json(await client.get(`/v2/case33/referrers/${other.digest}`))
    expect(referrers).toMatchObject({ manifests: [{ digest: referrer.digest }] })

    await pushBlob(client, 'case33', image.layer)
    await pushManifest(client, 'case33', 'a', image)
    expectStatus(await client.get('/v2/case33/manifests/a'), 200)
    await expectBlob(client, 'case33', image.layer)
  })

  it('again and again, with readers in between, never shows half of it', async () => {
    await pushEmpty(client, 'case33-loop')
    const layer = Buffer.from('the layer of the loop')
    const content = artifact({ layers: [describeContent(OCI_LAYER, layer)] })
    for (let round = 0; round < 15; round++) {
      await pushBlob(client, 'case33-loop', layer)
      await pushManifest(client, 'case33-loop', 't', content)
      expectStatus(await client.get('/v2/case33-loop/manifests/t'), 200)
      await expectBlob(client, 'case33-loop', layer)
      const deletion = client.delete(`/v2/case33-loop/manifests/${content.digest}`)
      const during = await client.get('/v2/case33-loop/manifests/t')
      expect([200, 404]).toContain(during.status)
      expectStatus(await deletion, 202)
      expectStatus(await client.get('/v2/case33-loop/manifests/t'), 404)
      expectStatus(await client.delete(`/v2/case33-loop/blobs/${sha256(layer)}`), 202)
      expectStatus(await client.head(`/v2/case33-loop/blobs/${sha256(layer)}`), 404)
    }
  })

  it('what is not there is 404, also in a repository that is not there', async () => {
    for (const reference of ['t', EMPTY.digest]) {
      expectStatus(await client.delete(`/v2/case33-never/manifests/${reference}`), 404)
      expectStatus(await client.delete(`/v2/case33/manifests/none-${reference.length}`), 404)
    }
    expectStatus(await client.delete(`/v2/case33-never/blobs/${EMPTY.digest}`), 404)
  })
})

function list(query = ''): Promise<Answer> {
  return client.get(`/v2/case37/tags/list${query}`)
}

describe('case 37: the list of tags', () => {
  const mixed = ['A', 'a', 'B', 'b', '_x', '0']
  beforeAll(() => tagAll('case37', mixed))

  it('is in byte order', async () => {
    expect(tagsIn(await list())).toEqual(['0', 'A', 'B', '_x', 'a', 'b'])
  })

  it('is empty for n=0, and has no next page', async () => {
    const answer = await list('?n=0')
    expect(tagsIn(answer)).toEqual([])
    expect(nextOf(answer)).toBeUndefined()
  })

  for (const n of ['-1', 'abc', '1.5', '1e2', '0x5', '%20', '1&n=2', '99999999999999999999']) {
    it(`refuses n=${n}`, async () => {
      const answer = await list(`?n=${n}`)
      expectStatus(answer, 400)
      expect(json(answer)).toMatchObject({ errors: [{ code: expect.any(String) as string }] })
    })
  }

  it('begins after last, which need not be a tag', async () => {
    expect(tagsIn(await list('?last=A'))).toEqual(['B', '_x', 'a', 'b'])
    expect(tagsIn(await list('?last=Az'))).toEqual(['B', '_x', 'a', 'b'])
    expect(tagsIn(await list('?n=2&last=A'))).toEqual(['B', '_x'])
    const answer = await list('?n=2&last=zzz')
    expect(tagsIn(answer)).toEqual([])
    expect(nextOf(answer)).toBeUndefined()
  })

  for (const last of [
    '%00',
    'a%00',
    '%FF',
    '%F0%9F%98%80',
    '%E0%A4%A',
    "'",
    '%25',
    '..',
    'a&last=b',
  ]) {
    it(`takes no harm from last=${last}`, async () => {
      const answer = await list(`?last=${last}`)
      expect([200, 400]).toContain(answer.status)
    })
  }

  it('has a next page only when there is more', async () => {
    expect(nextOf(await list('?n=6'))).toBeUndefined()
    expect(nextOf(await list('?n=5'))).toBeDefined()
    expect(nextOf(await list('?n=2&last=_x'))).toBeUndefined()
  })

  it('of a repository that is not there is 404', async () => {
    expectError(await client.get('/v2/case37-never/tags/list'), 404, 'NAME_UNKNOWN')
  })

  it('of 5 000 tags comes whole or with a next page, also for a huge n', async () => {
    const tags = Array.from({ length: 5000 }, (_, index) => `t${index}`)
    await tagAll('case37-many', tags)
    for (const query of ['', '?n=1000000', '?n=777']) {
      const seen: string[] = []
      let path: string | undefined = `/v2/case37-many/tags/list${query}`
      while (path !== undefined) {
        const answer: Answer = await client.get(path)
        seen.push(...tagsIn(answer))
        path = nextOf(answer)
      }
      expect(seen).toEqual(tags.toSorted(compareBytes))
    }
  })
})
