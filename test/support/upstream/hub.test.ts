import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { basic, challengeIn } from '../../acceptance/accounts.ts'
import { expectError, type RunningRegistry, runRegistry, sha256 } from '../../acceptance/client.ts'
import { type Hub, startHub } from './hub.ts'
import { type PushedImage, pushRandomImage } from './images.ts'
import { type Pulled, pull } from './pull.ts'

const ACCOUNT = { username: 'me', password: 'dckr_pat' }

let running: RunningRegistry
let image: PushedImage
let blob: string
let hub: Hub

const targetUrl = () => `http://${running.registry.host}`

beforeAll(async () => {
  running = await runRegistry()
  image = await push('library/some')
  await push('me/secret')
  await push('bare')
  blob = `/v2/library/some/blobs/${image.layers[0]?.digest}`
})
afterAll(() => running.close())
beforeEach(async () => {
  hub = await startHub({
    target: targetUrl(),
    account: ACCOUNT,
    privateRepositories: ['me/secret'],
    limit: 3,
  })
})
afterEach(() => hub.close())

const askForToken = (query: string, headers: Record<string, string> = {}) =>
  pull(`http://${hub.tokenHost}/token?service=registry.docker.io&${query}`, headers)

async function bearerFor(repository: string, headers: Record<string, string> = {}) {
  const answer = await askForToken(`scope=repository:${repository}:pull`, headers)
  expect(answer.status).toBe(200)
  const { token } = JSON.parse(answer.body.toString()) as { token: string }
  return { Authorization: `Bearer ${token}` }
}

const known = () => ({ Authorization: basic(ACCOUNT.username, ACCOUNT.password) })
const pullManifest = (headers: Record<string, string>, method: 'GET' | 'HEAD' = 'GET') =>
  pull(`${hub.url}/v2/library/some/manifests/latest`, headers, method)

const push = (repository: string) =>
  pushRandomImage({ url: targetUrl() }, { repository, layers: [100_000] })

describe('a stand-in for Docker Hub', () => {
  it('asks for a token of its own host, for everything', async () => {
    const root = await pull(`${hub.url}/v2/`)
    expectError(root, 401, 'UNAUTHORIZED')
    const realm = `http://${hub.tokenHost}/token`
    expect(challengeIn(root)).toEqual({ realm, service: 'registry.docker.io' })
    expect(new URL(realm).hostname).not.toBe(new URL(hub.url).hostname)
    const scope = 'repository:library/some:pull'
    expect(challengeIn(await pullManifest({}))).toMatchObject({ realm, scope })
    expect((await pull(`${hub.url}/v2/`, await bearerFor('library/some'))).status).toBe(200)
  })

  it('issues tokens as auth.docker.io does, with a password or without', async () => {
    const answer = await askForToken('scope=repository:library/some:pull')
    const issued = JSON.parse(answer.body.toString()) as Record<string, unknown>
    expect(Object.keys(issued)).toEqual(['token', 'access_token', 'expires_in', 'issued_at'])
    expect(issued).toMatchObject({ access_token: issued['token'], expires_in: 300 })

    await bearerFor('library/some', known())
    const wrong = await askForToken('', { Authorization: basic('me', 'wrong') })
    expect([wrong.status, wrong.body.toString()]).toEqual([
      401,
      '{"details":"incorrect username or password"}',
    ])
    expect(hub.tokens.requests('token')).toMatchObject([
      { authorization: 'none', status: 200 },
      { authorization: 'basic', status: 200 },
      { authorization: 'basic', status: 401 },
    ])
    expect(hub.registry.requests()).toEqual([])
  })

  it('lets pull what a token is for', async () => {
    const bearer = await bearerFor('library/some')
    const manifest = await pullManifest(bearer)
    expect(manifest).toMatchObject({ status: 200, body: image.bytes })
    expect(manifest.headers['docker-content-digest']).toBe(image.digest)

    const other = await pull(`${hub.url}/v2/me/secret/manifests/latest`, bearer)
    expectError(other, 401, 'UNAUTHORIZED')
    expect(challengeIn(other)).toMatchObject({ error: 'insufficient_scope' })
    const missing = await pull(`${hub.url}/v2/library/some/manifests/none`, bearer)
    expectError(missing, 404, 'MANIFEST_UNKNOWN')
  })

  it.each([
    ['of the account, without it', 'me/secret', {}, 401],
    ['of the account, with it', 'me/secret', known(), 200],
    ['that is not there', 'library/none', {}, 401],
    ['without a namespace', 'bare', {}, 401],
  ])('answers for a repository %s', async (_, repository, headers, status) => {
    const bearer = await bearerFor(repository, headers)
    expect((await pull(`${hub.url}/v2/${repository}/manifests/latest`, bearer)).status).toBe(status)
  })

  it('forgets tokens', async () => {
    const bearer = await bearerFor('library/some')
    hub.expireTokens()
    expect(challengeIn(await pullManifest(bearer))).toMatchObject({ error: 'invalid_token' })
    expect((await pullManifest(await bearerFor('library/some'))).status).toBe(200)
  })

  it('issues tokens that expire', async () => {
    await hub.close()
    hub = await startHub({ target: targetUrl(), tokenSeconds: 0 })
    const refused = await pull(`${hub.url}/v2/`, await bearerFor('library/some'))
    expect(challengeIn(refused)).toMatchObject({ error: 'invalid_token' })
  })
})

const budget = ({ headers }: Pulled) => [headers['ratelimit-limit'], headers['ratelimit-remaining']]

describe('its rate limit', () => {
  it('counts GET and not HEAD, and refuses at the end', async () => {
    const bearer = await bearerFor('library/some')
    const head = await pullManifest(bearer, 'HEAD')
    expect(budget(head)).toEqual(['3;w=21600', '3;w=21600'])
    expect(head.headers['docker-ratelimit-source']).toBe('127.0.0.1')
    expect(budget(await pullManifest(bearer))).toEqual(['3;w=21600', '2;w=21600'])
    hub.setRemaining(1)
    expect(budget(await pullManifest(bearer))).toEqual(['3;w=21600', '0;w=21600'])

    const refused = await pullManifest(bearer)
    expectError(refused, 429, 'TOOMANYREQUESTS')
    expect(refused.body.toString()).toContain(
      'You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit',
    )
    const still = await pullManifest(bearer, 'HEAD')
    expect([still.status, ...budget(still)]).toEqual([200, '3;w=21600', '0;w=21600'])
    expect(hub.remaining).toBe(0)
    expect((await pull(hub.url + blob, bearer)).status, 'blobs do not count').toBe(307)
  })

  it('is that of the account where one is known, and may be none', async () => {
    const source = (await pullManifest(await bearerFor('library/some', known()))).headers
    expect(source['docker-ratelimit-source']).toBe(ACCOUNT.username)

    await hub.close()
    hub = await startHub({ target: targetUrl(), limit: Number.POSITIVE_INFINITY })
    const free = await pullManifest(await bearerFor('library/some'))
    expect([free.status, ...budget(free)]).toEqual([200, undefined, undefined])
  })
})

const linkFor = async (bearer: Record<string, string>) => {
  const answer = await pull(hub.url + blob, bearer)
  expect(answer.status).toBe(307)
  return answer.headers.location ?? ''
}

describe('its CDN', () => {
  it('sends blobs, from another host', async () => {
    const bearer = await bearerFor('library/some')
    const link = await linkFor(bearer)
    expect(new Set([link, hub.url, hub.tokens.url].map((url) => new URL(url).hostname)).size).toBe(
      3,
    )
    expect((await pull(hub.url + blob, bearer, 'HEAD')).headers.location).toContain(hub.cdn.url)

    const whole = await pull(link)
    expect([whole.status, sha256(whole.body)]).toEqual([200, image.layers[0]?.digest])
    expect(whole.headers).not.toHaveProperty('docker-content-digest')
    const rest = await pull(link, { Range: 'bytes=99000-' })
    expect(rest).toMatchObject({ status: 206, body: whole.body.subarray(99_000) })
    expect(rest.headers['content-range']).toBe('bytes 99000-99999/100000')
    expect(hub.blobBytes).toBe(101_000)
    expect(hub.registry.blobBytes).toBe(0)
    expect(hub.cdn.requests()).toMatchObject([
      { kind: 'blob', authorization: 'none', range: undefined },
      { kind: 'blob', authorization: 'none', range: 'bytes=99000-' },
    ])
  })

  it('refuses credentials, and links that are not its own or have expired', async () => {
    const bearer = await bearerFor('library/some')
    const link = await linkFor(bearer)
    expect((await pull(link, bearer)).status).toBe(400)
    expect(hub.cdn.requests()).toMatchObject([{ authorization: 'bearer', status: 400 }])
    expect((await pull(`${link}0`)).status).toBe(403)
    hub.expireLinks()
    expect((await pull(link)).status).toBe(403)
    expect((await pull(await linkFor(bearer))).status).toBe(200)
    expect(hub.blobBytes).toBe(100_000)
  })

  it('has no blob that is unknown', async () => {
    const unknown = `/v2/library/some/blobs/${sha256('unknown')}`
    const answer = await pull(hub.url + unknown, await bearerFor('library/some'))
    expectError(answer, 404, 'BLOB_UNKNOWN')
  })

  it('fails on demand, as do registry and token service', async () => {
    const bearer = await bearerFor('library/some')
    hub.cdn.cut('blob', { afterBytes: 50_000 })
    const cut = await pull(await linkFor(bearer))
    expect([cut.isWhole, cut.body.length, hub.blobBytes]).toEqual([false, 50_000, 50_000])
    hub.registry.answer('manifest', { status: 503 })
    expect((await pullManifest(bearer)).status).toBe(503)
    hub.tokens.truncate('token', { missingBytes: 3 })
    expect(await askForToken('')).toMatchObject({ status: 200, isWhole: false })
    hub.tokens.answer('token', { status: 500 })
    expect((await askForToken('')).status).toBe(500)
    await hub.tokens.stop()
    await expect(askForToken('')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await hub.tokens.restore()
    await bearerFor('library/some')
  })
})
