import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { expectError, expectStatus, sha256 } from '../acceptance/client.ts'
import { type Hub, startHub } from '../support/upstream/hub.ts'
import { type AgingStage, NAME, openAgingStage } from './aging.ts'

const ACCOUNT = { username: 'me', password: 'dckr_pat' }
const FIELDS = { freshSeconds: 300, reserve: 10, negativeSeconds: 0 }

let stage: AgingStage
let hub: Hub

beforeEach(async () => {
  stage = await openAgingStage()
  hub = await startHub({
    target: `http://${stage.upstream.host}`,
    account: ACCOUNT,
    privateRepositories: ['me/secret'],
    limit: 100,
  })
  await stage.renew({ ...FIELDS, url: hub.url })
})
afterEach(async () => {
  await stage.close()
  await hub.close()
})

const manifests = () => hub.registry.requests('manifest').filter(({ status }) => status !== 401)
const forget = () => [hub.registry, hub.tokens, hub.cdn].forEach((each) => each.reset())
const blobOf = (repository: string, digest: string) =>
  stage.client.get(`/v2/${NAME}/${repository}/blobs/${digest}`)

/** What it says is known with the next answer. */
const learn = async (remaining: number, repository: string) => {
  hub.setRemaining(remaining)
  const image = await stage.push(repository)
  expect((await stage.pull(repository)).body).toEqual(image.bytes)
  forget()
}

describe('the rate limit of Docker Hub', () => {
  it('is not spent on what is kept when little is left of it', async () => {
    const kept = await stage.push('some/kept')
    await stage.pull('some/kept')
    await learn(10, 'some/other')
    await stage.age(301)
    for (let each = 0; each < 3; each++) {
      const answer = await stage.pull('some/kept')
      expect(answer.body).toEqual(kept.bytes)
      expect(answer.headers['warning']).toContain('what is left of its rate limit is kept')
      expect(answer.headers['cache-status']).toBe('Slipway; hit; fwd=stale')
    }
    expect(manifests()).toEqual([])

    const fresh = await stage.push('some/new')
    expect((await stage.pull('some/new')).body, 'what is not kept').toEqual(fresh.bytes)
    expect(manifests().map(({ method }) => method)).toEqual(['HEAD', 'GET'])
    expectStatus(await blobOf('some/kept', sha256(kept.layer)), 200)
  })

  it('is, when more than the reserve is left', async () => {
    await stage.push('some/kept')
    await stage.pull('some/kept')
    await learn(12, 'some/other') // 11 after it
    await stage.age(301)
    const answer = await stage.pull('some/kept')
    expect(answer.headers).not.toHaveProperty('warning')
    expect(manifests().map(({ method }) => method)).toEqual(['HEAD'])
  })

  it('is heard of again', async () => {
    await stage.push('some/kept')
    await stage.pull('some/kept')
    await learn(5, 'some/other')
    await stage.age(301)
    expect((await stage.pull('some/kept')).headers).toHaveProperty('warning')
    await learn(90, 'some/new')
    const { upstreams } = stage.here.registry.registry.pullThrough
    for (const upstream of upstreams.all) upstream.forgetFailures()
    expect((await stage.pull('some/kept')).headers).not.toHaveProperty('warning')
  })

  it('that is used up is told of, with its reason, and what is kept is served', async () => {
    const kept = await stage.push('some/kept')
    await stage.pull('some/kept')
    hub.setRemaining(0)
    await stage.push('some/other')
    const answer = await stage.pull('some/other')
    expectError(answer, 429, 'TOOMANYREQUESTS')
    expect(answer.body.toString()).toContain(
      'You have reached your unauthenticated pull rate limit',
    )
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
    await stage.age(301)
    const stale = await stage.pull('some/kept')
    expect(stale.body).toEqual(kept.bytes)
    expect(stale.headers).toHaveProperty('warning')
  })
})

const known = (fields: object = {}) =>
  stage.renew({ ...FIELDS, url: hub.url, ...ACCOUNT, ...fields })
const realms = () => [hub.tokenHost]
const seen = ({ registry, tokens, cdn }: Hub) =>
  [registry, tokens, cdn].map((each) => [
    ...new Set(each.requests().map(({ authorization }) => authorization)),
  ])

describe('credentials for Docker Hub', () => {
  it('go to its token service, tokens to its registry, nothing to where its blobs are', async () => {
    await known({ realms: realms() })
    const image = await stage.push('me/secret')
    expect((await stage.pull('me/secret')).body).toEqual(image.bytes)
    const blob = `/v2/${NAME}/me/secret/blobs/${sha256(image.layer)}`
    expectStatus(await stage.client.head(blob), 200)
    expect((await stage.client.get(blob)).body).toEqual(image.layer)
    expect(seen(hub)).toEqual([['none', 'bearer'], ['basic'], ['none']])
    expect(hub.cdn.requests().map(({ method, status }) => [method, status])).toEqual([
      ['HEAD', 200],
      ['GET', 200],
    ])
  })

  it('do not go to a token service on a host that nobody named', async () => {
    await known()
    await stage.push('me/secret')
    const open = await stage.push('some/open')
    const refused = await stage.pull('me/secret')
    expectError(refused, 404, 'MANIFEST_UNKNOWN')
    expect(refused.headers).not.toHaveProperty('www-authenticate')
    expect((await stage.pull('some/open')).body).toEqual(open.bytes)
    expect(seen(hub)[1]).toEqual(['none'])
  })

  it('that are wrong are not the client’s: what is kept is served, and told why', async () => {
    const kept = await stage.push('some/kept')
    await stage.pull('some/kept')
    await stage.age(301)
    await known({ realms: realms(), password: 'wrong' })
    const stale = await stage.pull('some/kept')
    expect(stale.body).toEqual(kept.bytes)
    expect(stale.headers['warning']).toContain('401 incorrect username or password')
    await stage.push('some/other')
    const answer = await stage.pull('some/other')
    expectError(answer, 404, 'MANIFEST_UNKNOWN')
    expect(answer.body.toString()).toContain('incorrect username or password')
    expect(answer.body.toString()).not.toContain('wrong')
  })

  it('are renewed when a token is not good any more, and a link when it is not', async () => {
    await known({ realms: realms() })
    const image = await stage.push('me/secret')
    await stage.pull('me/secret')
    hub.expireTokens()
    hub.expireLinks()
    expect((await blobOf('me/secret', sha256(image.layer))).body).toEqual(image.layer)
    expect(seen(hub)[2]).toEqual(['none'])
  })

  it('do not follow a manifest to another host', async () => {
    await known({ realms: realms() })
    await stage.push('me/secret')
    const Location = `${hub.cdn.url}/elsewhere`
    const times = Number.POSITIVE_INFINITY
    hub.registry.answer(
      ({ kind, authorization }) => kind === 'manifest' && authorization === 'bearer',
      { status: 307, headers: { Location }, times },
    )
    const answer = await stage.pull('me/secret')
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(hub.cdn.requests().length).toBeGreaterThan(0)
    expect(seen(hub)[2]).toEqual(['none'])
  })
})
