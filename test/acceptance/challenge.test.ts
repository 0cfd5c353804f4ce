import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { RawConnection, rawRequest } from '../support/raw-http.ts'
import {
  addUser,
  allow,
  askForToken,
  basic,
  bearerFor,
  challengeIn,
  expectChallenge,
  forgiveFailures,
  type GuardedRegistry,
  runGuarded,
  statusOf,
  tokenIn,
} from './accounts.ts'
import { type Client, expectError, expectStatus, json, sha256 } from './client.ts'
import { artifact, OCI_MANIFEST, pushEmpty, pushManifest } from './images.ts'

let running: GuardedRegistry
let client: Client
let passedMs = 0

beforeAll(async () => {
  running = await runGuarded({ terms: { now: () => new Date(Date.now() + passedMs) } })
  client = running.client
  for (const repository of ['team/app', 'open/app', 'secret/app']) {
    await pushEmpty(running.admin, repository)
    await pushManifest(running.admin, repository, 'v1', artifact())
  }
  await allow(running.access, 'anonymous', ['open/**'], ['pull'])
  await addUser(running.access, 'ann', { 'team/*': ['pull', 'push', 'overwrite'] })
})
afterAll(() => running.close())
afterEach(async () => {
  passedMs = 0
  await forgiveFailures(running)
})

const pull = (repository: string, authorization?: string) =>
  client.get(
    `/v2/${repository}/manifests/v1`,
    authorization === undefined ? {} : { Authorization: authorization },
  )

describe('case 1: the root without credentials', () => {
  it('is 401 with one challenge, Bearer, of realm and service alone, also where anonymous may pull', async () => {
    for (const method of ['GET', 'HEAD'] as const) {
      const answer = await client.send(method, '/v2/')
      expectChallenge(answer, {})
      expect(challengeIn(answer)['realm']).toBe(`http://${running.registry.host}/token`)
    }
    expectError(await client.get('/v2/'), 401, 'UNAUTHORIZED')
    expectChallenge(await client.get('/v2'), {})
  })

  it('names the address by which the client came, and nothing that would break the header', async () => {
    const named = await client.get('/v2/', { Host: 'registry.example.com:8443' })
    expect(challengeIn(named)['realm']).toBe('http://registry.example.com:8443/token')
    const odd = await rawRequest(running.registry.host, 'GET', '/v2/', { Host: 'a",scope="x' })
    expect(odd.status).toBe(401)
    expect(challengeIn(odd)).not.toHaveProperty('scope')
  })
})

describe('the realm', () => {
  it('is the one of the settings where there is one, and https behind a proxy that says so', async () => {
    const realm = 'https://auth.example.com/token'
    const other = await runGuarded({}, { settings: { realm } })
    try {
      expect(challengeIn(await other.client.get('/v2/'))['realm']).toBe(realm)
    } finally {
      await other.close()
    }
    const proxied = await runGuarded({}, { trustedProxies: ['127.0.0.1'] })
    try {
      const headers = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'r.example.com' }
      const answer = await proxied.client.get('/v2/', headers)
      expect(challengeIn(answer)['realm']).toBe('https://r.example.com/token')
    } finally {
      await proxied.close()
    }
  })
})

describe('any valid token', () => {
  it('opens the root, also one that gives access to nothing, and an anonymous one', async () => {
    for (const who of [basic('ann'), undefined]) {
      const authorization = await bearerFor(client, who)
      const answer = await client.get('/v2/', { Authorization: authorization })
      expectStatus(answer, 200)
      expect(json(answer)).toEqual({})
    }
  })
})

describe('case 2: docker login', () => {
  it('is a 401, a token for no scope, and a root that is exactly 200', async () => {
    const { realm, service } = challengeIn(await client.get('/v2/'))
    const { pathname } = new URL(realm!)
    const query = `account=ann&client_id=docker&offline_token=true&service=${service}`
    const document = tokenIn(
      await client.get(`${pathname}?${query}`, { Authorization: basic('ann') }),
    )
    const answer = await client.get('/v2/', { Authorization: `Bearer ${document.token}` })
    expectStatus(answer, 200)
    expect(json(answer)).toEqual({})
  })

  it('with a wrong password is refused where the token is asked for', async () => {
    const query = 'account=ann&client_id=docker&offline_token=true'
    expectError(await askForToken(client, basic('ann', 'wrong'), query), 401, 'UNAUTHORIZED')
  })
})

describe('a 401 of a repository', () => {
  const digest = sha256('{}')
  const wanted: Record<string, readonly [string, string, string]> = {
    'a manifest': ['GET', '/v2/secret/app/manifests/v1', 'pull'],
    'the head of a manifest': ['HEAD', '/v2/secret/app/manifests/v1', 'pull'],
    'a blob': ['GET', `/v2/secret/app/blobs/${digest}`, 'pull'],
    tags: ['GET', '/v2/secret/app/tags/list', 'pull'],
    referrers: ['GET', `/v2/secret/app/referrers/${digest}`, 'pull'],
    'an upload': ['POST', '/v2/secret/app/blobs/uploads/', 'pull,push'],
    'the push of a manifest': ['PUT', '/v2/secret/app/manifests/v1', 'pull,push'],
    'a deletion': ['DELETE', '/v2/secret/app/manifests/v1', 'delete'],
    'the deletion of a blob': ['DELETE', `/v2/secret/app/blobs/${digest}`, 'delete'],
  }
  for (const [what, [method, path, actions]] of Object.entries(wanted)) {
    it(`for ${what} carries the scope ${actions}, and an error when a token was shown`, async () => {
      const scope = `repository:secret/app:${actions}`
      expectChallenge(await client.send(method, path), { scope })
      const headers = { Authorization: await bearerFor(client, basic('ann')) }
      const shown = await client.send(method, path, { headers })
      expectChallenge(shown, { scope, error: 'insufficient_scope' })
      const bad = await client.send(method, path, { headers: { Authorization: 'Bearer x.y.z' } })
      expectChallenge(bad, { scope, error: 'invalid_token' })
      if (method !== 'HEAD') expectError(shown, 401, 'UNAUTHORIZED')
    })
  }
})

describe('case 4: a bearer', () => {
  it('that expired is 401 invalid_token with the scope, within a minute of its end', async () => {
    const authorization = await bearerFor(client, basic('ann'), 'repository:team/app:pull')
    const scope = 'repository:team/app:pull'
    expectStatus(await pull('team/app', authorization), 200)
    passedMs = 600_000 - 1000
    expectStatus(await pull('team/app', authorization), 200)
    passedMs = 600_000 + 61_000
    expectChallenge(await pull('team/app', authorization), { scope, error: 'invalid_token' })
    expectChallenge(await client.get('/v2/', { Authorization: authorization }), {
      error: 'invalid_token',
    })
  })

  const garbage = {
    'no JWT': 'Bearer garbage',
    'a JWT without a signature': `Bearer ${unsigned()}`,
    'a very long one': `Bearer ${'a'.repeat(9000)}`,
    nothing: 'Bearer',
    'two of them': 'Bearer a b',
    'another scheme': 'Digest username="ann"',
    'bytes beyond ASCII': 'Bearer \u00fc\u00ff',
  }
  for (const [what, authorization] of Object.entries(garbage)) {
    it(`that is ${what} is 401 invalid_token, also where anonymous may pull`, async () => {
      for (const repository of ['team/app', 'open/app', 'nobody/has-this']) {
        expectChallenge(await pull(repository, authorization), {
          scope: `repository:${repository}:pull`,
          error: 'invalid_token',
        })
      }
    })
  }

  it('whose content was changed is 401 invalid_token', async () => {
    const authorization = await bearerFor(client, basic('ann'), 'repository:team/app:pull')
    const [head, body, signature] = authorization.slice('Bearer '.length).split('.')
    const claims = JSON.parse(Buffer.from(body!, 'base64url').toString()) as { access: object[] }
    claims.access = [{ type: 'repository', name: 'secret/app', actions: ['pull'] }]
    const changed = Buffer.from(JSON.stringify(claims)).toString('base64url')
    for (const token of [
      `${head}.${changed}.${signature}`,
      `${head}.${body}.`,
      `${head}.${body}`,
    ]) {
      const answer = await pull('secret/app', `Bearer ${token}`)
      expectChallenge(answer, { scope: 'repository:secret/app:pull', error: 'invalid_token' })
    }
  })

  it('of another server with the same name is 401 invalid_token', async () => {
    const other = await runGuarded()
    try {
      const foreign = await bearerFor(other.client, basic('root'), 'repository:team/app:pull')
      const scope = 'repository:team/app:pull'
      expectChallenge(await pull('team/app', foreign), { scope, error: 'invalid_token' })
    } finally {
      await other.close()
    }
  })

  it('may be written with a small letter and with several spaces', async () => {
    const authorization = await bearerFor(client, basic('ann'), 'repository:team/app:pull')
    const token = authorization.slice('Bearer '.length)
    for (const spelling of [`bearer ${token}`, `BEARER ${token}`, `Bearer    ${token}`]) {
      expectStatus(await pull('team/app', spelling), 200)
    }
  })
})

function unsigned(): string {
  const head = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')
  const claims = { iss: 'slipway', aud: 'slipway', exp: 4e9, access: [], sub: 'user:root' }
  return `${head}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`
}

describe('case 4: a large PUT with a token that does not do', () => {
  it('is answered early with insufficient_scope and push; the connection closes in order', async () => {
    const authorization = await bearerFor(client, basic('ann'), 'repository:team/app:pull')
    const connection = await RawConnection.open(running.registry.host)
    await connection.begin('PUT', '/v2/team/app/manifests/v2', {
      Authorization: authorization,
      'Content-Length': 50_000_000,
      'Content-Type': OCI_MANIFEST,
    })
    await connection.send(Buffer.alloc(100_000))
    const answer = await connection.answer()
    const scope = 'repository:team/app:pull,push'
    expectError(answer, 401, 'UNAUTHORIZED')
    expect(challengeIn(answer)).toMatchObject({ scope, error: 'insufficient_scope' })
    expect(answer.headers['connection']).toBe('close')
    await connection.untilEnded()
    await connection.close()
  })

  it('leaves the connection usable when the body was there already', async () => {
    const small = await bearerFor(client, basic('ann'), 'repository:team/app:pull')
    const enough = await bearerFor(client, basic('ann'), 'repository:team/app:pull,push')
    const { bytes } = artifact()
    const connection = await RawConnection.open(running.registry.host)
    for (const [authorization, status] of [
      [small, 401],
      [enough, 201],
      [small, 401],
    ] as const) {
      await connection.begin('PUT', '/v2/team/app/manifests/v2', {
        Authorization: authorization,
        'Content-Length': bytes.length,
        'Content-Type': OCI_MANIFEST,
      })
      await connection.send(bytes)
      const answer = await connection.answer()
      expectStatus(answer, status)
      if (answer.headers['connection'] === 'close') break
    }
    await connection.close()
  })
})

describe('Basic, sent unasked,', () => {
  it('is taken: 200 with the right, and 403 DENIED without', async () => {
    expectStatus(await client.get('/v2/', { Authorization: basic('ann') }), 200)
    expectStatus(await pull('team/app', basic('ann')), 200)
    const refused = await pull('secret/app', basic('ann'))
    expectError(refused, 403, 'DENIED')
    expect(refused.headers['www-authenticate']).toBeUndefined()
  })

  it('with a wrong password is 401 with the scope, also where anonymous may pull', async () => {
    for (const repository of ['team/app', 'open/app']) {
      const scope = `repository:${repository}:pull`
      expectChallenge(await pull(repository, basic('ann', 'wrong')), { scope })
    }
    expectChallenge(await client.get('/v2/', { Authorization: basic('ann', 'wrong') }), {})
  })

  const malformed = {
    'without a colon': 'Basic YW5u',
    'that is not base64': 'Basic %%%~~~',
    'with nothing': 'Basic ',
    'without the value': 'Basic',
    'with neither name nor password': basic('', ''),
    'without a password': basic('ann', ''),
    'without a name': basic(''),
    'with a name in UTF-8': basic('jürgen', 'пароль'),
    'with a NUL in the name': basic('a\0nn'),
    'with a NUL in the password': basic('ann', 'pass\0word'),
    'with a very long password': basic('ann', 'p'.repeat(6000)),
    'with lone bytes that are no UTF-8': 'Basic /////v86/w==',
  }
  for (const [what, authorization] of Object.entries(malformed)) {
    it(`${what} is 401 here and at the token endpoint`, async () => {
      expectStatus(await pull('team/app', authorization), 401)
      expectStatus(await pull('open/app', authorization), 401)
      expectError(await askForToken(client, authorization), 401, 'UNAUTHORIZED')
    })
  }
})

describe('a header', () => {
  it('of 9 KiB is looked at, and one of 32 KiB is refused by its size', async () => {
    const { host } = running.registry
    const long = { Authorization: `Bearer ${'a'.repeat(9 * 1024)}` }
    expectStatus(await rawRequest(host, 'GET', '/v2/', long), 401)
    expectStatus(await rawRequest(host, 'GET', '/token', long), 401)
    const longer = { Authorization: `Bearer ${'a'.repeat(32 * 1024)}` }
    expect(await statusOf(host, '/v2/', longer)).toBe(431)
    expectStatus(await client.get('/v2/'), 401)
  })

  it('that comes twice counts once, and the first one', async () => {
    const { host } = running.registry
    const [good, bad] = [basic('ann'), basic('ann', 'wrong')]
    const twice = (Authorization: string, authorization: string) =>
      rawRequest(host, 'GET', '/v2/team/app/tags/list', { Authorization, authorization })
    expectStatus(await twice(good, bad), 200)
    expectStatus(await twice(bad, good), 401)
  })
})
