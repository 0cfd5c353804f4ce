import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { addGrant } from '../../../auth/accounts/grants.ts'
import type { Endpoint } from '../../../server/api/endpoint.ts'
import { ENDPOINTS } from '../../../server/api/table.ts'
import { type RunningRegistry, runRegistry } from '../../acceptance/client.ts'
import { pushImage } from '../../acceptance/images.ts'
import { RawConnection } from '../../support/raw-http.ts'
import { type Api, addUser, apiOf, basic, codeOf, detailOf, PASSWORD } from './json.ts'

interface Sample {
  /** What stands in `:name` of the path and the like. */
  readonly path?: () => Record<string, string>
  readonly query?: string | (() => string)
  readonly body?: Record<string, unknown>
  /** Who calls; the administrator when left out. */
  readonly as?: 'carol'
}

/** Ids that earlier answers brought. */
const ids: Record<string, string> = {}

const GRANT = { effect: 'allow', subject: 'user:bob', repositories: ['a/**'], actions: ['pull'] }
const TOKEN = { name: 'laptop', coverage: [{ repositories: ['a/*'], actions: ['pull', 'push'] }] }

/** One call of each endpoint that works, in an order in which they do. */
const SAMPLES: Readonly<Record<string, Sample>> = {
  getDocument: {},
  getMe: {},
  createUser: { body: { name: 'bob', password: PASSWORD, expiresAt: '2999-01-01T00:00:00+01:00' } },
  getUser: { path: () => ({ name: 'bob' }) },
  changeUser: { path: () => ({ name: 'bob' }), body: { description: 'Bob', expiresAt: null } },
  listUsers: { query: '?limit=1' },
  createUserToken: { path: () => ({ name: 'bob' }), body: TOKEN },
  listUserTokens: { path: () => ({ name: 'bob' }) },
  deleteUserToken: { path: () => ({ name: 'bob', id: ids['createUserToken']! }) },
  createMyToken: { as: 'carol', body: { name: 'mine', expiresInSeconds: 3600 } },
  listMyTokens: { as: 'carol' },
  deleteMyToken: { as: 'carol', path: () => ({ id: ids['createMyToken']! }) },
  createRobot: { body: { name: 'build', admin: false } },
  getRobot: { path: () => ({ name: 'build' }) },
  changeRobot: { path: () => ({ name: 'build' }), body: { disabled: true } },
  renewRobotSecret: { path: () => ({ name: 'build' }) },
  listRobots: {},
  createGroup: { body: { name: 'team' } },
  changeGroup: { path: () => ({ name: 'team' }), body: { description: 'us' } },
  addMember: { path: () => ({ name: 'team', account: 'bob' }) },
  getGroup: { path: () => ({ name: 'team' }) },
  listGroups: {},
  deleteMember: { path: () => ({ name: 'team', account: 'bob' }) },
  deleteGroup: { path: () => ({ name: 'team' }) },
  createGrant: { body: { ...GRANT, tags: null } },
  getGrant: { path: () => ({ id: ids['createGrant']! }) },
  replaceGrant: { path: () => ({ id: ids['createGrant']! }), body: { ...GRANT, tags: ['v*'] } },
  listGrants: { query: '?subject=user:bob' },
  listGrantsInForce: {},
  explainAccess: { query: '?who=bob&action=pull&image=a/b:v1' },
  deleteGrant: { path: () => ({ id: ids['createGrant']! }) },
  listRepositories: { query: '?q=app' },
  getGarbageStatus: {},
  explainKeeping: { query: () => `?repository=team/app&digest=${ids['image']}` },
  runCollection: { body: { now: true, dryRun: true } },
  planRetention: { body: { repositories: 'team/**', tags: 10 } },
  runRetention: { body: { consent: 0 } },
  listRetentionRuns: { query: '?limit=10' },
  listRepositorySizes: { query: '?limit=1' },
  listTagSizes: { query: '?repository=team/app&limit=1' },
  findFreed: { body: { repositories: ['team/app'], tags: [{ repository: 'team/app', tag: 'x' }] } },
  deleteRepository: { path: () => ({ name: 'team/app' }) },
  listDeletedRepositories: { query: '?limit=1' },
  restoreRepository: { body: { name: 'team/app' } },
  listTagChanges: { query: '?repository=team/app&tag=x&limit=1' },
  restoreTag: { body: { repository: 'team/app', tag: 'x', at: '2999-01-01T00:00:00Z' } },
  restoreRetentionRun: { body: { since: '2020-01-01T00:00:00Z' } },
  addLease: {
    body: {
      repository: 'team/app',
      get digest() {
        return ids['image']
      },
      holder: 'test',
      seconds: 60,
    },
  },
  listLeases: { query: '?repository=team/app&limit=1' },
  deleteLease: { query: () => `?repository=team/app&digest=${ids['image']}&holder=test` },
  rotateSigningKey: {},
  deleteUser: { path: () => ({ name: 'bob' }) },
  deleteRobot: { path: () => ({ name: 'build' }) },
  listAuditEvents: { query: '?since=2020-01-01T00:00:00Z&limit=50' },
  changeMyPassword: { as: 'carol', body: { current: PASSWORD, new: 'another horse battery' } },
}

/** Where there is no answer. */
const NOTHING = z.strictObject({})

const BY_ID = new Map(ENDPOINTS.map((each) => [each.id, each]))

function fill(path: string, names: Record<string, string> = {}): string {
  return path.replaceAll(/[:*](\w+)/g, (_all, name: string) => names[name] ?? 'nobody')
}

function queryOf(id: string): string {
  const query = SAMPLES[id]?.query ?? ''
  return typeof query === 'string' ? query : query()
}

/** Where the sample of an endpoint goes, or the same with names of nothing. */
function pathOf({ id, path }: Endpoint): string {
  return fill(path) + queryOf(id)
}

describe('each endpoint of the API', () => {
  let running: RunningRegistry
  let admin: Api
  let carol: Api
  let bearer: Api
  let anonymous: Api
  beforeAll(async () => {
    running = await runRegistry({ access: { mode: 'token' } })
    const { access } = running.registry
    admin = apiOf(running.client, await addUser(access, 'root', { admin: true }))
    carol = apiOf(running.client, await addUser(access, 'carol'))
    anonymous = apiOf(running.client, undefined)
    const test = { subject: 'test' }
    const rights = { effect: 'allow', subject: 'everyone', repositories: ['**'] } as const
    await addGrant(access, test, { ...rights, actions: ['pull', 'push'] })
    ids['image'] = (await pushImage(running.client, 'team/app', 'x')).digest
    const answer = await running.client.get('/token', { Authorization: basic('root') })
    const { token } = JSON.parse(answer.body.toString()) as { token: string }
    bearer = apiOf(running.client, `Bearer ${token}`)
  })
  afterAll(() => running.close())

  /** Sends bodies as they are, as the administrator. */
  function sending(method: string, path: string) {
    return async (body: string | Uint8Array, type = 'application/json'): Promise<number> => {
      const headers = { Authorization: basic('root'), 'Content-Type': type }
      return (await running.client.send(method, `/api/v1${path}`, { headers, body })).status
    }
  }

  it('has a sample', () => {
    expect(Object.keys(SAMPLES).toSorted()).toEqual([...BY_ID.keys()].toSorted())
  })

  describe('refuses', () => {
    const closed = ENDPOINTS.filter(({ who }) => who === 'admin' || who === 'account')
    const withBody = ENDPOINTS.filter(({ body }) => body !== undefined)

    for (const each of closed) {
      it(`${each.id} to who shows nothing, with a challenge for a password`, async () => {
        const answer = await anonymous(each.method, pathOf(each))
        expect([answer.status, codeOf(answer)]).toEqual([401, 'UNAUTHORIZED'])
        expect(answer.headers['www-authenticate']).toBe('Basic realm="Slipway", charset="UTF-8"')
      })

      it(`${each.id} to a token of the registry, be it an administrator’s`, async () => {
        const answer = await bearer(each.method, pathOf(each))
        expect([answer.status, codeOf(answer)]).toEqual([401, 'UNAUTHORIZED'])
      })
    }

    for (const each of ENDPOINTS.filter(({ who }) => who === 'admin')) {
      it(`${each.id} to a user who is no administrator`, async () => {
        const answer = await carol(each.method, pathOf(each), SAMPLES[each.id]?.body)
        expect([answer.status, codeOf(answer)]).toEqual([403, 'DENIED'])
      })
    }

    for (const each of withBody) {
      const { id, method } = each
      it(`bodies of ${id} that are none`, async () => {
        const send = sending(method, pathOf(each))
        const sample = JSON.stringify(SAMPLES[id]?.body)
        expect(await send(sample, 'text/plain')).toBe(415)
        expect(await send(sample, '')).toBe(415)
        for (const text of ['', '{', '[]', 'null', '"text"', '{"__proto__":{"admin":true}}']) {
          expect([text, await send(text)]).toEqual([text, 400])
        }
        expect(await send('['.repeat(60_000))).toBe(400)
        expect(
          await send(Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff, 0x22, 0x7d])])),
        ).toBe(400)
        expect(await send(' '.repeat(64 * 1024 + 1))).toBe(413)
      })

      it(`an unknown field of ${id}, and names it`, async () => {
        const answer = await admin(method, pathOf(each), { ...SAMPLES[id]?.body, colour: 'red' })
        expect([answer.status, codeOf(answer)]).toEqual([400, 'UNSUPPORTED'])
        expect(detailOf(answer)).toContain('colour')
      })
    }

    for (const each of ENDPOINTS.filter(({ path, who }) => /[:*]/.test(path) && who === 'admin')) {
      it(`${each.id} of what there is not, whatever its name`, async () => {
        for (const name of [
          'nobody',
          '%00',
          'a%2Fb',
          'x'.repeat(3000),
          '%f0%9f%90%b3',
          '99999999999999999999',
        ]) {
          const path = each.path.replaceAll(/:\w+/g, name)
          const answer = await admin(each.method, path, SAMPLES[each.id]?.body)
          expect([name, answer.status, codeOf(answer)]).toEqual([name, 404, 'NAME_UNKNOWN'])
        }
      })
    }

    for (const each of ENDPOINTS.filter(({ query }) => query !== undefined)) {
      it(`parameters that ${each.id} does not have, or cannot be`, async () => {
        const query = queryOf(each.id) || '?'
        const bad = [
          'colour=red',
          'limit=0',
          'limit=1001',
          'limit=x',
          'limit=1e2',
          'limit=-1',
          '__proto__=x',
        ]
        bad.push('limit=1&limit=2', 'after=%00', 'since=yesterday', 'before=0', 'result=good')
        const isFree = each.id === 'explainAccess' || each.id === 'listRepositories'
        for (const parameter of isFree ? bad.slice(0, 1) : bad) {
          const plain = query.replace(/limit=\d+/, '')
          const answer = await admin(each.method, `${each.path}${plain}&${parameter}`)
          expect([parameter, answer.status]).toEqual([parameter, 400])
        }
      })
    }

    it('other methods, and says which there are', async () => {
      for (const path of new Set(ENDPOINTS.map((each) => each.path))) {
        const answer = await admin('OPTIONS', fill(path))
        expect([path, answer.status, codeOf(answer)]).toEqual([path, 405, 'UNSUPPORTED'])
        const methods = ENDPOINTS.filter((each) => each.path === path).map(({ method }) => method)
        const allowed = String(answer.headers['allow']).split(', ')
        expect(allowed.filter((method) => method !== 'HEAD').toSorted()).toEqual(methods.toSorted())
        expect(allowed.includes('HEAD')).toBe(allowed.includes('GET'))
      }
    })

    it('addresses where nothing is', async () => {
      for (const path of [
        '',
        '/',
        '/user',
        '/Users',
        '/users/a/b',
        '/users/a/tokens/b/c',
        '/me/x',
      ]) {
        expect([path, (await admin('GET', path)).status]).toEqual([path, 404])
      }
    })
  })

  describe('answers as its schema says', () => {
    for (const [id, sample] of Object.entries(SAMPLES)) {
      it(`to ${id}`, async () => {
        const each = BY_ID.get(id)!
        const path = fill(each.path, sample.path?.()) + queryOf(each.id)
        if (id === 'deleteRepository') {
          const { access } = running.registry
          const grant = {
            effect: 'allow',
            subject: 'user:root',
            repositories: ['team/app'],
          } as const
          await addGrant(access, { subject: 'test' }, { ...grant, actions: ['delete'] })
        }
        const answer = await (sample.as === 'carol' ? carol : admin)(each.method, path, sample.body)

        expect([answer.status, detailOf(answer)]).toEqual([each.status ?? 200, ''])
        const parsed = (each.answer ?? NOTHING).safeParse(answer.body)
        expect(parsed.error).toBeUndefined()
        const isKept = id === 'deleteRepository'
        expect(answer.headers['cache-control']).toBe(isKept ? undefined : 'no-store')
        ids[id] = String(answer.body['id'])
      })
    }

    it('to HEAD as to GET, without the body', async () => {
      for (const path of ['/me', '/users', '/audit', '/openapi.json']) {
        const headers = { Authorization: basic('root') }
        const head = await running.client.head(`/api/v1${path}`, headers)
        expect([path, head.status, head.body.length]).toEqual([path, 200, 0])
        expect(Number(head.headers['content-length'])).toBeGreaterThan(10)
      }
    })
  })

  it('does nothing for a body that is cut off', async () => {
    const connection = await RawConnection.open(running.registry.host)
    const body = JSON.stringify({ name: 'halved', password: PASSWORD })
    await connection.begin('POST', '/api/v1/users', {
      Authorization: basic('root'),
      'Content-Type': 'application/json',
      'Content-Length': body.length + 1,
      Expect: '100-continue',
    })
    expect((await connection.answer()).status).toBe(100)
    await connection.send(body)
    await connection.close()
    // What counts this is in progress itself.
    await expect
      .poll(async () => (await running.client.get('/metrics')).body.toString())
      .toMatch(/^slipway_requests_in_progress 1$/m)
    expect((await admin('GET', '/users/halved')).status).toBe(404)
  })
})
