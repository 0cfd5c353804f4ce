import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type RunningRegistry, runRegistry } from '../../acceptance/client.ts'
import { RawConnection } from '../../support/raw-http.ts'
import {
  type Api,
  addUser,
  apiOf,
  basic,
  codeOf,
  detailOf,
  follow,
  itemsOf,
  PASSWORD,
} from './json.ts'

describe('accounts by the API', () => {
  let running: RunningRegistry
  let admin: Api
  beforeAll(async () => {
    running = await runRegistry({ access: { mode: 'token' } })
    admin = apiOf(running.client, await addUser(running.registry.access, 'root', { admin: true }))
  })
  afterAll(() => running.close())

  /** A token of the registry, as docker gets one. */
  async function tokenOf(name: string, secret = PASSWORD): Promise<string> {
    const answer = await running.client.get('/token', { Authorization: basic(name, secret) })
    return (JSON.parse(answer.body.toString()) as { token: string }).token
  }

  async function status(authorization: string, path = '/v2/'): Promise<number> {
    return (await running.client.get(path, { Authorization: authorization })).status
  }

  it('are made once, however many want to make them at the same time', async () => {
    const adds = Array.from({ length: 20 }, (_, index) =>
      index % 2 === 0
        ? admin('POST', '/users', { name: 'twin' })
        : admin('POST', '/robots', { name: 'twin' }),
    )
    const statuses = (await Promise.all(adds)).map((answer) => answer.status)
    expect(statuses.filter((each) => each === 201)).toHaveLength(1)
    expect(statuses.filter((each) => each === 409)).toHaveLength(19)
  })

  it('are good for logging in at once, as they were described', async () => {
    const made = await admin('POST', '/users', {
      name: 'dora',
      password: PASSWORD,
      description: 'of the team\nin two lines',
      expiresAt: '2999-12-31T23:30:00-01:00',
    })
    expect(made.body).toMatchObject({
      description: 'of the team\nin two lines',
      admin: false,
      disabled: false,
      groups: [],
      createdBy: 'user:root',
      expiresAt: '3000-01-01T00:30:00.000Z',
      lastUsedAt: null,
    })
    const dora = apiOf(running.client, basic('dora'))
    expect((await dora('GET', '/me')).body).toEqual({
      subject: 'user:dora',
      admin: false,
      groups: [],
      coverage: null,
    })
  })

  it('show neither password nor hash nor secret, but the secret of a robot once', async () => {
    const made = await admin('POST', '/robots', { name: 'ship' })
    const secret = String(made.body['secret'])
    expect(secret).toMatch(/^slipr_/)
    expect(made.headers['cache-control']).toBe('no-store')
    await admin('POST', '/users', { name: 'erin', password: PASSWORD })
    const shown = await Promise.all(
      ['/users', '/users/erin', '/robots', '/robots/ship', '/audit'].map((path) =>
        admin('GET', path),
      ),
    )
    for (const { body } of shown) {
      const text = JSON.stringify(body)
      expect(text).not.toMatch(/hash|argon2|secret"/i)
      expect(text).not.toContain(PASSWORD)
      expect(text).not.toContain(secret)
    }
    expect(await status(basic('ship', secret))).toBe(200)
    const renewed = await admin('POST', '/robots/ship/secret')
    expect(renewed.status).toBe(200)
    expect(await status(basic('ship', secret))).toBe(401)
    expect(await status(basic('ship', String(renewed.body['secret'])))).toBe(200)
  })

  it('that are disabled lose their tokens at once', async () => {
    await admin('POST', '/users', { name: 'finn', password: PASSWORD })
    const token = await tokenOf('finn')
    expect(await status(`Bearer ${token}`)).toBe(200)
    expect((await admin('PATCH', '/users/finn', { disabled: true })).body['disabled']).toBe(true)
    expect(await status(`Bearer ${token}`)).toBe(401)
    expect(await status(basic('finn'), '/api/v1/me')).toBe(401)
    await admin('PATCH', '/users/finn', { disabled: false })
    expect(await status(`Bearer ${token}`)).toBe(401)
    expect(await status(basic('finn'), '/api/v1/me')).toBe(200)
  })

  it('that are removed lose their tokens and grants at once', async () => {
    await admin('POST', '/users', { name: 'gwen', password: PASSWORD })
    const grant = { effect: 'allow', subject: 'user:gwen', repositories: ['x'], actions: ['pull'] }
    const { body } = await admin('POST', '/grants', grant)
    const token = await tokenOf('gwen')
    expect((await admin('DELETE', '/users/gwen')).status).toBe(204)
    expect(await status(`Bearer ${token}`)).toBe(401)
    expect((await admin('GET', `/grants/${String(body['id'])}`)).status).toBe(404)
    expect((await admin('DELETE', '/users/gwen')).status).toBe(404)
  })

  it('cannot be locked out altogether', async () => {
    const past = { expiresAt: '2020-01-01T00:00:00Z' }
    const attempts = [
      await admin('DELETE', '/users/root'),
      await admin('PATCH', '/users/root', { disabled: true }),
      await admin('PATCH', '/users/root', { admin: false }),
      await admin('PATCH', '/users/root', past),
    ]
    for (const answer of attempts) {
      expect([answer.status, codeOf(answer)]).toEqual([409, 'UNSUPPORTED'])
      expect(detailOf(answer)).toContain('administrator')
    }
    expect((await admin('GET', '/me')).body['admin']).toBe(true)
    await admin('POST', '/users', { name: 'vice', password: PASSWORD, admin: true })
    const vice = apiOf(running.client, basic('vice'))
    const both = await Promise.all([
      admin('PATCH', '/users/vice', { admin: false }),
      vice('PATCH', '/users/root', { admin: false }),
    ])
    // Who came second is told that nobody would be left, or is no administrator any more.
    const statuses = both.map((answer) => answer.status).toSorted((a, b) => a - b)
    expect(statuses[0]).toBe(200)
    expect([403, 409]).toContain(statuses[1])
    const rootStays = (await admin('GET', '/users/vice')).status === 200
    const left = rootStays ? admin : vice
    if (!rootStays) await vice('PATCH', '/users/root', { admin: true })
    expect(itemsOf(await left('GET', '/users')).length).toBeGreaterThan(1)
    await admin('DELETE', '/users/vice')
  })

  it('have passwords that are fit for it, and names that are', async () => {
    const bad = [
      { name: 'short', password: 'short' },
      { name: 'nul', password: 'a\0bcdefgh' },
      { name: 'nul', description: 'a\0b' },
      { name: 'user:x' },
      { name: '' },
      { name: 'a\0b' },
      { name: 'x'.repeat(129) },
      { name: 7 },
      { name: 'when', expiresAt: 'tomorrow' },
      { name: 'when', expiresAt: '2026-02-30T00:00:00Z' },
      { name: 'long', description: 'x'.repeat(1001) },
      { password: PASSWORD },
    ]
    for (const body of bad) {
      const answer = await admin('POST', '/users', body)
      expect([body, answer.status]).toEqual([body, 400])
      expect(detailOf(answer)).not.toContain('bcdefgh')
    }
    expect((await admin('PATCH', '/users/dora', {})).status).toBe(400)
    expect((await admin('PATCH', '/robots/ship', { password: PASSWORD })).status).toBe(400)
    expect((await admin('GET', '/robots/dora')).status).toBe(404)
    expect((await admin('GET', '/users/ship')).status).toBe(404)
  })

  it('are listed once each, page by page', async () => {
    await Promise.all(['u1', 'u2', 'u3'].map((name) => admin('POST', '/users', { name })))
    const all = itemsOf(await admin('GET', '/users')).map(({ name }) => String(name))
    expect(all).toEqual(all.toSorted((a, b) => (a < b ? -1 : 1)))
    for (const size of [1, 2, all.length - 1, all.length]) {
      const pages = await follow(admin, `/users?limit=${size}`)
      expect(pages.flat().map(({ name }) => name)).toEqual(all)
      expect(pages).toHaveLength(Math.ceil(all.length / size))
    }
  })

  it('are in groups, whose grants hold at the next request', async () => {
    await admin('POST', '/users', { name: 'hugo', password: PASSWORD })
    await admin('POST', '/groups', { name: 'crew', description: 'all hands' })
    expect((await admin('POST', '/groups', { name: 'crew' })).status).toBe(409)
    const hugo = apiOf(running.client, basic('hugo'))
    const explain = () => admin('GET', '/access/explain?who=hugo&action=push&image=crew/app')
    expect((await explain()).body['allowed']).toBe(false)
    const rights = { repositories: ['crew/*'], actions: ['pull', 'push'] }
    await admin('POST', '/grants', { effect: 'allow', subject: 'group:crew', ...rights })
    expect((await admin('PUT', '/groups/crew/members/hugo')).status).toBe(204)
    expect((await admin('PUT', '/groups/crew/members/hugo')).status).toBe(204)
    expect((await explain()).body['allowed']).toBe(true)
    expect((await hugo('GET', '/me')).body['groups']).toEqual(['crew'])
    expect((await admin('GET', '/groups/crew')).body['members']).toEqual(['hugo'])
    const upload = () =>
      running.client.send('POST', '/v2/crew/app/blobs/uploads/', {
        headers: { Authorization: basic('hugo') },
      })
    expect((await upload()).status).toBe(202)
    const inForce = itemsOf(await admin('GET', '/access/grants'))
    expect(inForce).toContainEqual(
      expect.objectContaining({
        origin: expect.stringMatching(/^grant \d+$/),
        subject: 'group:crew',
      }),
    )
    expect((await admin('DELETE', '/groups/crew/members/hugo')).status).toBe(204)
    expect((await admin('DELETE', '/groups/crew/members/hugo')).status).toBe(404)
    expect((await upload()).status).toBe(403)
  })

  it('are not changed by who was locked out while the body was on its way', async () => {
    await addUser(running.registry.access, 'slow', { admin: true })
    const connection = await RawConnection.open(running.registry.host)
    const body = JSON.stringify({ name: 'planted', password: PASSWORD, admin: true })
    await connection.begin('POST', '/api/v1/users', {
      Authorization: basic('slow'),
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      Expect: '100-continue',
    })
    expect((await connection.answer()).status).toBe(100)
    await connection.send(body.slice(0, 5))
    const isIn = async () => (await admin('GET', '/users/slow')).body['lastUsedAt'] !== null
    await expect.poll(isIn).toBe(true)
    await admin('PATCH', '/users/slow', { admin: false })
    await connection.send(body.slice(5))
    expect((await connection.answer()).status).toBe(403)
    await connection.close()
    expect((await admin('GET', '/users/planted')).status).toBe(404)
  })
})

describe('the first account', () => {
  let running: RunningRegistry
  let anybody: Api
  beforeEach(async () => {
    running = await runRegistry({ access: { mode: 'first account' } })
    anybody = apiOf(running.client, undefined)
  })
  afterEach(() => running.close())

  it('is an administrator with a password, or none is made', async () => {
    expect((await anybody('GET', '/me')).body).toMatchObject({ subject: null, admin: true })
    const refused = [
      await anybody('POST', '/users', { name: 'ada' }),
      await anybody('POST', '/users', { name: 'ada', password: PASSWORD }),
      await anybody('POST', '/users', { name: 'ada', admin: true }),
      await anybody('POST', '/robots', { name: 'ada', admin: true }),
      await anybody('POST', '/users', {
        name: 'ada',
        password: PASSWORD,
        admin: true,
        expiresAt: '2020-01-01T00:00:00Z',
      }),
    ]
    for (const answer of refused) {
      expect(answer.status).toBe(409)
      expect(detailOf(answer)).toContain('the first account')
    }
    expect(itemsOf(await anybody('GET', '/users'))).toEqual([])
  })

  it('turns on that everybody has to log in, at once', async () => {
    const ada = { name: 'ada', password: PASSWORD, admin: true }
    expect((await anybody('POST', '/users', ada)).status).toBe(201)
    expect((await anybody('GET', '/users')).status).toBe(401)
    expect((await anybody('POST', '/robots', { name: 'r' })).status).toBe(401)
    expect((await running.client.get('/v2/')).status).toBe(401)
    const admin = apiOf(running.client, basic('ada'))
    expect((await admin('POST', '/robots', { name: 'r' })).status).toBe(201)
  })

  it('is one, of whoever is the fastest of many', async () => {
    const adds = Array.from({ length: 10 }, (_, index) =>
      anybody('POST', '/users', { name: `u${index}`, password: PASSWORD, admin: true }),
    )
    const statuses = (await Promise.all(adds)).map(({ status }) => status)
    expect(statuses.filter((each) => each === 201)).toHaveLength(1)
    expect(statuses.filter((each) => each === 401)).toHaveLength(9)
    const { rows } = await running.registry.database.pool.query('select name from accounts')
    expect(rows).toHaveLength(1)
  })
})

describe('where nobody has to log in', () => {
  it('everybody administers, and has neither password nor tokens', async () => {
    const running = await runRegistry({ access: { mode: 'none' } })
    try {
      const anybody = apiOf(running.client, undefined)
      expect((await anybody('GET', '/me')).body).toMatchObject({ subject: null, admin: true })
      expect((await anybody('POST', '/groups', { name: 'team' })).body['createdBy']).toBe(null)
      expect((await anybody('GET', '/groups')).status).toBe(200)
      expect((await anybody('POST', '/me/tokens', { name: 'x' })).status).toBe(403)
      const explained = await anybody('GET', '/access/explain?who=anonymous&action=push&image=a')
      expect(explained.body['allowed']).toBe(true)
    } finally {
      await running.close()
    }
  })
})
