import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { parseRepositoryName, parseTag } from '../../oci/reference.ts'
import { refresh } from '../../registry/pull-through/refresh.ts'
import { expectError, expectStatus, sha256 } from '../acceptance/client.ts'
import { type AgingStage, NAME, openAgingStage } from './aging.ts'

const ALWAYS = { times: Number.POSITIVE_INFINITY }
const FIELDS = { freshSeconds: 300, staleSeconds: 3600, negativeSeconds: 60 }

let stage: AgingStage
let count = 0
let repository: string

beforeAll(async () => {
  stage = await openAgingStage()
})
afterAll(() => stage.close())
beforeEach(async () => {
  repository = `some/app-${count++}`
  await stage.renew(FIELDS)
  stage.proxy.reset()
})

const pull = (reference?: string) => stage.pull(repository, reference)
const asked = () => stage.proxy.requests().map(({ method, kind }) => `${method} ${kind}`)
const upstreams = () => stage.here.registry.registry.pullThrough.upstreams

async function tagEvents(name: string): Promise<unknown[]> {
  const { rows } = await stage.here.registry.database.pool.query<Record<string, unknown>>(
    `select e.name, from_digest, to_digest, actor
     from tag_events e join repositories r on r.id = e.repository_id
     where r.name = $1 order by e.id`,
    [`${NAME}/${name}`],
  )
  return rows
}

describe('a tag that moved at its upstream', () => {
  it('is what it was while it is fresh, and the new one then', async () => {
    const old = await stage.push(repository)
    expect((await pull()).body).toEqual(old.bytes)
    const next = await stage.push(repository)
    expect((await pull()).body).toEqual(old.bytes)
    await stage.age(299)
    expect((await pull()).body).toEqual(old.bytes)
    await stage.age(2)
    stage.proxy.reset()
    const answer = await pull()
    expect(answer.body).toEqual(next.bytes)
    expect(answer.headers['cache-status']).toBe('Slipway; fwd=uri-miss')
    expect(asked()).toEqual(['HEAD manifest', 'GET manifest'])
    expect((await pull()).headers['cache-status']).toBe('Slipway; hit')

    const actor = `upstream:${NAME}`
    expect(await tagEvents(repository)).toEqual([
      { name: 'latest', from_digest: null, to_digest: old.digest, actor },
      { name: 'latest', from_digest: old.digest, to_digest: next.digest, actor },
    ])
    expect((await pull(old.digest)).body, 'still there by digest').toEqual(old.bytes)
  })

  it('and back to what it was is not fetched again', async () => {
    const [first, second] = [await stage.push(repository, 'a'), await stage.push(repository, 'b')]
    const point = (tag: string, to: typeof first) =>
      stage.upstream.send('PUT', `/v2/${repository}/manifests/${tag}`, {
        headers: { 'Content-Type': to.mediaType },
        body: to.bytes,
      })
    for (const to of [first, second, first]) {
      expectStatus(await point('latest', to), 201)
      await stage.age(301)
      expect((await pull()).body).toEqual(to.bytes)
    }
    expect(asked().filter((each) => each === 'GET manifest')).toHaveLength(2)
    expect(await tagEvents(repository)).toHaveLength(3)
  })

  it('not is asked for by HEAD, and fresh again for as long', async () => {
    await stage.push(repository)
    await pull()
    await stage.age(301)
    stage.proxy.reset()
    for (let each = 0; each < 3; each++) {
      expect((await pull()).headers['cache-status']).toBe('Slipway; hit')
    }
    expect(asked()).toEqual(['HEAD manifest'])
    expect(await tagEvents(repository)).toHaveLength(1)
  })

  it('is asked for at once when an operator says so', async () => {
    const { registry } = stage.here.registry
    const target = parseRepositoryName(`${NAME}/${repository}`)
    const images = []
    for (const tag of ['a', 'b']) {
      await stage.push(repository, tag)
      await pull(tag)
      images.push(await stage.push(repository, tag))
    }
    stage.proxy.reset()
    expect(await refresh(registry, { repository: target, tag: parseTag('a') })).toBe(1)
    expect((await pull('a')).body).toEqual(images[0]?.bytes)
    expect(asked()).toEqual(['HEAD manifest', 'GET manifest'])
    expect((await pull('b')).headers['cache-status']).toBe('Slipway; hit')
    expect(await refresh(registry, { upstream: NAME })).toBeGreaterThan(0)
    expect((await pull('b')).body).toEqual(images[1]?.bytes)
  })
})

describe('many who ask at once', () => {
  const times = Array.from({ length: 20 })

  it('for a tag that is not kept are one to the upstream', async () => {
    const image = await stage.push(repository)
    const answers = await Promise.all(times.map(() => pull()))
    for (const answer of answers) expect(answer.body).toEqual(image.bytes)
    expect(asked()).toEqual(['HEAD manifest', 'GET manifest'])
  })

  it('by several tags and the digest fetch the manifest once', async () => {
    const image = await stage.push(repository)
    expectStatus(
      await stage.upstream.send('PUT', `/v2/${repository}/manifests/other`, {
        headers: { 'Content-Type': image.mediaType },
        body: image.bytes,
      }),
      201,
    )
    expectStatus(await pull('other'), 200)
    stage.proxy.reset()
    const answers = await Promise.all(
      times.map((_, index) => pull(index % 2 === 0 ? 'latest' : image.digest)),
    )
    for (const answer of answers) expect(answer.body).toEqual(image.bytes)
    expect(asked()).toEqual(['HEAD manifest'])
  })

  it('for a digest that is not kept are one to the upstream', async () => {
    const image = await stage.push(repository)
    const answers = await Promise.all(times.map(() => pull(image.digest)))
    for (const answer of answers) expect(answer.body).toEqual(image.bytes)
    expect(asked()).toEqual(['GET manifest'])
  })

  it('whether a tag has moved are one to the upstream', async () => {
    const image = await stage.push(repository)
    await pull()
    await stage.age(301)
    stage.proxy.reset()
    const answers = await Promise.all(times.map(() => pull()))
    for (const answer of answers) expect(answer.body).toEqual(image.bytes)
    expect(asked()).toEqual(['HEAD manifest'])
  })

  it('for what is nowhere are one to the upstream', async () => {
    const answers = await Promise.all(times.map(() => pull()))
    for (const answer of answers) expectError(answer, 404, 'MANIFEST_UNKNOWN')
    expect(asked()).toEqual(['HEAD manifest'])
  })
})

describe('what the upstream does not have', () => {
  it('is asked for once in a while', async () => {
    for (let each = 0; each < 3; each++) expectError(await pull(), 404, 'MANIFEST_UNKNOWN')
    expectStatus(await stage.pull(repository, 'latest', 'HEAD'), 404)
    expect(asked()).toEqual(['HEAD manifest'])

    const image = await stage.push(repository, 'other')
    expect((await pull('other')).body, 'another tag').toEqual(image.bytes)
    await stage.push(repository)
    expectError(await pull(), 404, 'MANIFEST_UNKNOWN')
    for (const upstream of upstreams().all) upstream.forgetFailures()
    expectStatus(await pull(), 200)
  })

  it('nor a digest, nor a blob', async () => {
    const digest = sha256('nothing')
    const blob = `/v2/${NAME}/${repository}/blobs/${digest}`
    for (let each = 0; each < 3; each++) {
      expectError(await pull(digest), 404, 'MANIFEST_UNKNOWN')
      expectError(await stage.client.get(blob), 404, 'BLOB_UNKNOWN')
      expectStatus(await stage.client.head(blob), 404)
    }
    expect(asked()).toEqual(['GET manifest', 'GET blob'])
  })

  it('is asked for again when that time is over', async () => {
    await stage.renew({ ...FIELDS, negativeSeconds: 1 })
    expectStatus(await pull(), 404)
    await stage.push(repository)
    await vi.waitFor(async () => expectStatus(await pull(), 200), { timeout: 10_000 })
  })

  it('or each time, if that is wanted', async () => {
    await stage.renew({ ...FIELDS, negativeSeconds: 0 })
    for (let each = 0; each < 3; each++) expectStatus(await pull(), 404)
    expect(asked()).toHaveLength(3)
  })

  it('any more is served as it was, and asked for once in a while', async () => {
    const image = await stage.push(repository)
    await pull()
    expectStatus(await stage.upstream.delete(`/v2/${repository}/manifests/latest`), 202)
    await stage.age(301)
    stage.proxy.reset()
    for (let each = 0; each < 3; each++) {
      const answer = await pull()
      expect(answer.body).toEqual(image.bytes)
      expect(answer.headers['warning']).toContain('404 Not Found')
    }
    expect(asked()).toEqual(['HEAD manifest'])
  })
})

describe('an upstream that is down', () => {
  it('is not asked after three failures, and the answers say so', async () => {
    const kept = await stage.push(repository)
    await pull()
    await stage.age(301)
    stage.proxy.reset()
    const fault = stage.proxy.answer('manifest', { status: 500, ...ALWAYS })
    for (const tag of ['a', 'b', 'c']) expectError(await pull(tag), 503, 'UNAVAILABLE')
    expect(asked()).toHaveLength(3)

    const refused = [await pull('d'), await pull('a'), await pull(sha256('d'))]
    for (const answer of refused) {
      expectError(answer, 503, 'UNAVAILABLE')
      const seconds = Number(answer.headers['retry-after'])
      expect(seconds).toBeGreaterThan(5)
      expect(answer.body.toString()).toContain('500 Internal Server Error')
      expect(answer.body.toString()).toContain(`(not asked again for ${seconds} s)`)
    }
    const blob = await stage.client.get(`/v2/${NAME}/${repository}/blobs/${sha256('d')}`)
    expectError(blob, 503, 'UNAVAILABLE')
    expectError(await stage.client.get(`/v2/${NAME}/${repository}-2/tags/list`), 503, 'UNAVAILABLE')
    const stale = await pull()
    expect(stale.body).toEqual(kept.bytes)
    expect(stale.headers['warning']).toMatch(/\(not asked again for \d+ s\)/)
    expect(asked(), 'nothing was sent').toHaveLength(3)
    fault.clear()
  })

  it('is asked on when it fails now and then', async () => {
    await stage.push(repository)
    for (let each = 0; each < 4; each++) {
      const fault = stage.proxy.answer('manifest', { status: 500, times: 2 })
      for (const tag of ['a', 'b']) expectStatus(await pull(tag), 503)
      fault.clear()
      await stage.push(repository, `tag-${each}`)
      expectStatus(await pull(`tag-${each}`), 200)
    }
  })

  it('by 404, 401 and 403 is not: they are answers', async () => {
    for (const status of [404, 401, 403, 404, 401, 403]) {
      const fault = stage.proxy.answer('manifest', { status })
      expectStatus(await pull(`tag-${stage.proxy.requests().length}`), 404)
      fault.clear()
    }
    await stage.push(repository)
    expectStatus(await pull(), 200)
  })

  it('that says when to come back is left alone until then', async () => {
    await stage.push(repository)
    stage.proxy.answer('manifest', { status: 429, retryAfter: 90 })
    for (const tag of ['latest', 'latest', 'other']) {
      const answer = await pull(tag)
      expectError(answer, 429, 'TOOMANYREQUESTS')
      expect(Number(answer.headers['retry-after'])).toSatisfy((s: number) => s > 80 && s <= 90)
    }
    expect(asked()).toEqual(['HEAD manifest'])
  })
})

describe('an upstream at a private address', () => {
  it('is not asked unless it may be', async () => {
    await stage.push(repository)
    await stage.renew({ ...FIELDS, privateAddresses: false })
    const answer = await pull()
    expectError(answer, 503, 'UNAVAILABLE')
    expect(answer.body.toString()).toContain('has a private address')
    expect(asked()).toEqual([])
  })
})
