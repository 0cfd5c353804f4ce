import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { addRobot, addUser as addUserAccount, editAccount } from '../../auth/accounts/accounts.ts'
import { addPersonalToken } from '../../auth/accounts/personal-tokens.ts'
import { RawConnection } from '../support/raw-http.ts'
import {
  addUser,
  allow,
  askForToken,
  basic,
  bearerFor,
  forgiveFailures,
  type GuardedRegistry,
  OPERATOR,
  PASSWORD,
  postForm,
  runGuarded,
  statusOf,
  tokenIn,
} from './accounts.ts'
import { type Answer, type Client, expectError, expectStatus, json, runRegistry } from './client.ts'
import { pushImage } from './images.ts'

let running: GuardedRegistry
let client: Client
let passedMs = 0

beforeAll(async () => {
  running = await runGuarded({ terms: { now: () => new Date(Date.now() + passedMs) } })
  client = running.client
  await pushImage(running.admin, 'team/app', 'v1')
  await pushImage(running.admin, 'team/other', 'v1')
  await addUser(running.access, 'ann', { 'team/*': ['pull', 'push'] })
})
afterAll(() => running.close())
afterEach(async () => {
  passedMs = 0
  await forgiveFailures(running)
})

const SCOPE = 'repository:team/app:pull'
const FORM = { grant_type: 'password', username: 'ann', password: PASSWORD, service: 'slipway' }

/** No token comes with it, and the reason is said in JSON. */
function expectRefused(answer: Answer, status = 401, code = 'UNAUTHORIZED'): void {
  expectError(answer, status, code)
  expect(json(answer)).not.toHaveProperty('token')
  expect(json(answer)).not.toHaveProperty('access_token')
}

function pullWith(token: string, repository = 'team/app'): Promise<Answer> {
  return client.get(`/v2/${repository}/manifests/v1`, { Authorization: `Bearer ${token}` })
}

describe('a token asked for with GET', () => {
  it('comes as token and access_token, with its seconds, and is kept by no cache', async () => {
    const answer = await askForToken(client, basic('ann'), `scope=${SCOPE}`)
    const { token, ...rest } = tokenIn(answer)
    expect(rest).not.toHaveProperty('refresh_token')
    expect(answer.headers['cache-control']).toBe('no-store')
    expectStatus(await pullWith(token), 200)
  })

  it('may come without service, with account and client_id, and with what nobody knows', async () => {
    const headers = { Authorization: basic('ann') }
    const query = `account=ann&client_id=docker&unknown=x&scope=${SCOPE}`
    expectStatus(await pullWith(tokenIn(await client.get(`/token?${query}`, headers)).token), 200)
    expectStatus(await client.get('/token', headers), 200)
  })

  it('without credentials is one for anonymous', async () => {
    const { token, scope } = tokenIn(await askForToken(client, undefined, `scope=${SCOPE}`))
    expect(scope).toBe('')
    expectStatus(await pullWith(token), 401)
  })

  it('with a wrong password, or of nobody, is 401 and never an anonymous token', async () => {
    for (const who of [basic('ann', 'wrong'), basic('nobody'), basic('ann', '')]) {
      expectRefused(await askForToken(client, who, `scope=${SCOPE}`))
    }
    const [wrong, unknown] = [
      await askForToken(client, basic('ann', 'wrong')),
      await askForToken(client, basic('nobody')),
    ]
    expect(unknown.body.toString()).toBe(wrong.body.toString())
    expect(Object.keys(unknown.headers)).toEqual(Object.keys(wrong.headers))
  })

  it('with a bearer in place of a password is 401', async () => {
    const authorization = await bearerFor(client, basic('ann'))
    expectRefused(await askForToken(client, authorization))
  })

  it('may be asked for with HEAD and with nothing else', async () => {
    expectStatus(await client.head('/token'), 200)
    for (const method of ['PUT', 'PATCH', 'DELETE']) {
      expect([404, 405]).toContain((await client.send(method, '/token')).status)
    }
  })
})

describe('a token asked for with POST', () => {
  it('comes as access_token and token, with its scope and seconds', async () => {
    const answer = await postForm(client, { ...FORM, scope: SCOPE, client_id: 'containerd' })
    const { access_token: token, scope, ...rest } = tokenIn(answer)
    expect(scope).toBe(SCOPE)
    expect(rest).not.toHaveProperty('refresh_token')
    expect(answer.headers['cache-control']).toBe('no-store')
    expectStatus(await pullWith(token), 200)
  })

  it('with a wrong password, or of nobody, is 401', async () => {
    expectRefused(await postForm(client, { ...FORM, password: 'wrong' }))
    expectRefused(await postForm(client, { ...FORM, username: 'nobody' }))
  })

  it('without name or password is refused', async () => {
    for (const field of ['username', 'password'] as const) {
      const { [field]: _left, ...rest } = FORM
      expect([400, 401]).toContain((await postForm(client, rest)).status)
      expect([400, 401]).toContain((await postForm(client, { ...FORM, [field]: '' })).status)
    }
  })

  it('for an unknown refresh token is 401, and without one 400 or 401', async () => {
    for (const refresh_token of ['unknown', `slipi_${'a'.repeat(43)}`, 'a.b.c', '\0']) {
      expectRefused(await postForm(client, { grant_type: 'refresh_token', refresh_token }))
    }
    expect([400, 401]).toContain((await postForm(client, { grant_type: 'refresh_token' })).status)
  })

  it('without a grant type is 400, whatever the header says: nydus would keep what it gets', async () => {
    const headers = { Authorization: basic('ann') }
    const forms = [`service=slipway&scope=${SCOPE}`, '', 'grant_type=', 'grant_type=code']
    for (const form of forms) {
      const answer = await postForm(client, form, headers)
      expectRefused(answer, 400, 'UNSUPPORTED')
      expect(answer.body.toString()).toContain('unsupported_grant_type')
    }
  })

  it('in another form than that of HTML forms is refused', async () => {
    for (const type of ['application/json', 'multipart/form-data', 'text/plain']) {
      const headers = { 'Content-Type': type }
      expectRefused(await postForm(client, JSON.stringify(FORM), headers), 400, 'UNSUPPORTED')
    }
  })

  it('may say that its form is in UTF-8', async () => {
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded; charset=UTF-8' }
    expect(tokenIn(await postForm(client, FORM, headers)).token).not.toBe('')
  })
})

describe('fewer rights than asked for', () => {
  it('are 200 with those there are, even none', async () => {
    const some = `repository:team/app:push,pull,delete`
    const none = 'repository:secret/app:pull'
    const answers = [
      await askForToken(client, basic('ann'), `scope=${some}&scope=${none}`),
      await postForm(client, { ...FORM, scope: `${some} ${none}` }),
    ]
    for (const answer of answers) {
      const { scope, token } = tokenIn(answer)
      expect(scope?.split(':')[2]?.split(',').toSorted()).toEqual(['pull', 'push'])
      expect(scope).not.toContain('secret')
      expectStatus(await pullWith(token), 200)
    }
    const empty = tokenIn(await askForToken(client, basic('ann'), `scope=${none}`))
    expect(empty.scope).toBe('')
    expectStatus(await client.get('/v2/', { Authorization: `Bearer ${empty.token}` }), 200)
  })
})

describe('too large a request for a token', () => {
  it('is 413 for a form of 1 MB, and the server answers on', async () => {
    expectRefused(await postForm(client, `x=${'a'.repeat(1_000_000)}`), 413, 'SIZE_INVALID')
    tokenIn(await postForm(client, FORM))
  })

  it('is 413 for a form without a length as soon as it is too large', async () => {
    const connection = await RawConnection.open(running.registry.host)
    await connection.begin('POST', '/token', {
      'Content-Type': 'application/x-www-form-urlencoded',
      'Transfer-Encoding': 'chunked',
    })
    await connection.sendChunk(Buffer.alloc(100_000, 'a'))
    expectError(await connection.answer(), 413, 'SIZE_INVALID')
    await connection.untilEnded()
    await connection.close()
  })

  it('is refused for 10,000 scopes, or answered with a token that a header can carry', async () => {
    const many = 'scope=repository:team/app:pull&'.repeat(10_000)
    const grant = `${many}grant_type=password`
    expectRefused(await postForm(client, grant), 413, 'SIZE_INVALID')
    const form = `${new URLSearchParams(FORM).toString()}&scope=${'a:b:c+'.repeat(10_000)}`
    const { token } = tokenIn(await postForm(client, form))
    expect(token.length).toBeLessThan(8192)
    expect([414, 431]).toContain(await statusOf(running.registry.host, `/token?${many}`))
    tokenIn(await postForm(client, FORM))
  })
})

describe('in place of a password', () => {
  it('a robot shows its secret, with its name, to GET, POST and the registry itself', async () => {
    const { secret } = await addRobot(running.access, OPERATOR, { name: 'ci-robot' })
    await allow(running.access, 'robot:ci-robot', ['team/app'], ['pull'])
    const authorization = basic('ci-robot', secret)
    const asked = tokenIn(await askForToken(client, authorization, `scope=${SCOPE}`))
    expectStatus(await pullWith(asked.token), 200)
    const form = { ...FORM, username: 'ci-robot', password: secret, scope: SCOPE }
    expectStatus(await pullWith(tokenIn(await postForm(client, form)).token), 200)
    expectStatus(await running.as(authorization).get('/v2/team/app/manifests/v1'), 200)
    expectError(await running.as(authorization).get('/v2/team/other/tags/list'), 403, 'DENIED')
    expectRefused(await askForToken(client, basic('ann', secret)))
    expectRefused(await askForToken(client, basic('ci-robot', `${secret}x`)))
    expectRefused(await askForToken(client, basic('ci-robot')))
  })

  it('a user shows a personal token, which does no more than it was narrowed to', async () => {
    const { secret } = await addPersonalToken(running.access, OPERATOR, {
      account: 'ann',
      name: 'reader',
      coverage: [{ repositories: ['team/app', 'secret/**'], actions: ['pull', 'delete'] }],
    })
    const scopes = 'repository:team/app:pull,push,delete repository:secret/app:pull'
    const query = `scope=${encodeURIComponent(scopes)}`
    const { token, scope } = tokenIn(await askForToken(client, basic('ann', secret), query))
    expect(scope).toBe(SCOPE)
    expectStatus(await pullWith(token), 200)
    const headers = { Authorization: `Bearer ${token}` }
    expectStatus(await client.send('POST', '/v2/team/app/blobs/uploads/', { headers }), 401)
    const itself = running.as(basic('ann', secret))
    expectStatus(await itself.get('/v2/team/app/tags/list'), 200)
    expectError(await itself.get('/v2/team/other/tags/list'), 403, 'DENIED')
    expectError(await itself.send('POST', '/v2/team/app/blobs/uploads/'), 403, 'DENIED')
    expectRefused(await askForToken(client, basic('root', secret)))
  })
})

describe('an account that was disabled', () => {
  it('is answered as a wrong password is, and comes back when it is enabled', async () => {
    await addUser(running.access, 'off', { 'team/*': ['pull'] })
    const key = { kind: 'user', name: 'off' } as const
    const wrong = await askForToken(client, basic('off', 'wrong'))
    await editAccount(running.access, OPERATOR, key, { disabled: true })
    const answer = await askForToken(client, basic('off'))
    expectRefused(answer)
    expect(answer.body.toString()).toBe(wrong.body.toString())
    expectRefused(await postForm(client, { ...FORM, username: 'off' }))
    expectStatus(await running.as(basic('off')).get('/v2/team/app/tags/list'), 401)
    await editAccount(running.access, OPERATOR, key, { disabled: false })
    tokenIn(await askForToken(client, basic('off')))
  })
})

describe('an account whose time is over', () => {
  it('gets no token any more, and those it has are refused', async () => {
    const expiresAt = new Date(Date.now() + 60_000)
    await addUserAccount(running.access, OPERATOR, { name: 'guest', password: PASSWORD, expiresAt })
    await allow(running.access, 'user:guest', ['team/*'], ['pull'])
    const robot = await addRobot(running.access, OPERATOR, { name: 'guest-robot', expiresAt })
    const { token } = tokenIn(await askForToken(client, basic('guest'), `scope=${SCOPE}`))
    expectStatus(await pullWith(token), 200)
    tokenIn(await askForToken(client, basic('guest-robot', robot.secret)))
    passedMs = 61_000
    expectStatus(await pullWith(token), 401)
    expectRefused(await askForToken(client, basic('guest')))
    expectRefused(await askForToken(client, basic('guest-robot', robot.secret)))
    expectStatus(await running.as(basic('guest')).get('/v2/'), 401)
  })
})

describe('a server that asks nobody', () => {
  it('issues no tokens, and looks at none', async () => {
    const open = await runRegistry({ access: { mode: 'none' } })
    try {
      const answers = [
        await open.client.get('/token?service=slipway', { Authorization: basic('ann') }),
        await postForm(open.client, FORM),
        await postForm(open.client, ''),
      ]
      for (const { status } of answers) expect([404, 405]).toContain(status)
      for (const Authorization of ['Bearer x.y.z', basic('nobody'), 'what is this']) {
        expectStatus(await open.client.get('/v2/', { Authorization }), 200)
        const headers = { Authorization }
        expectStatus(await open.client.send('POST', '/v2/a/blobs/uploads/', { headers }), 202)
      }
    } finally {
      await open.close()
    }
  })

  it('asks from the moment on when there is an account', async () => {
    const open = await runRegistry({ access: { mode: 'first account' } })
    try {
      expectStatus(await open.client.get('/v2/'), 200)
      const image = await pushImage(open.client, 'team/app', 'v1')
      const { access } = open.registry
      await addUserAccount(access, OPERATOR, { name: 'ann', password: PASSWORD, admin: true })
      expectStatus(await open.client.get('/v2/'), 401)
      const path = `/v2/team/app/manifests/${image.digest}`
      expectStatus(await open.client.get(path), 401)
      const { token } = tokenIn(await askForToken(open.client, basic('ann'), `scope=${SCOPE}`))
      expectStatus(await open.client.get(path, { Authorization: `Bearer ${token}` }), 200)
    } finally {
      await open.close()
    }
  })
})
