import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addUser } from '../../auth/accounts/accounts.ts'
import { addGrant } from '../../auth/accounts/grants.ts'
import { ACTIONS, type Action } from '../../auth/rules/grant.ts'
import { digestOf } from '../../oci/digest.ts'
import { REPOSITORY_ROUTES } from '../../server/routes.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'
import { PASSWORDS } from '../support/secrets.ts'

interface RouteRequest {
  /** The right that it must take, and that must be enough. */
  readonly action: Action
  readonly path: string
  /** The status for who has the right, in a repository where everything asked for is there. */
  readonly granted: number
  readonly headers?: Record<string, string>
  readonly body?: string
}

const CONTENT = 'content'
const DIGEST = digestOf(Buffer.from(CONTENT))
const INDEX = '{"schemaVersion":2,"manifests":[]}'
const INDEX_TYPE = { 'Content-Type': 'application/vnd.oci.image.index.v1+json' }
const UPLOAD = `/blobs/uploads/${randomUUID()}` // nobody's: who has the right is told 404

/** What each endpoint below a repository is asked; every route must have one here. */
const REQUESTS: Readonly<Record<string, RouteRequest>> = {
  'GET blob': { action: 'pull', granted: 200, path: `/blobs/${DIGEST}` },
  'HEAD blob': { action: 'pull', granted: 200, path: `/blobs/${DIGEST}` },
  'DELETE blob': { action: 'delete', granted: 202, path: `/blobs/${DIGEST}` },
  'GET manifest': { action: 'pull', granted: 200, path: '/manifests/latest' },
  'HEAD manifest': { action: 'pull', granted: 200, path: '/manifests/latest' },
  'PUT manifest': {
    action: 'push',
    granted: 201,
    path: '/manifests/new',
    headers: INDEX_TYPE,
    body: INDEX,
  },
  'DELETE manifest': { action: 'delete', granted: 202, path: '/manifests/latest' },
  'POST uploads': { action: 'push', granted: 202, path: '/blobs/uploads/' },
  'GET upload': { action: 'push', granted: 404, path: UPLOAD },
  'HEAD upload': { action: 'push', granted: 404, path: UPLOAD },
  'PATCH upload': { action: 'push', granted: 404, path: UPLOAD, body: CONTENT },
  'PUT upload': {
    action: 'push',
    granted: 404,
    path: `${UPLOAD}?digest=${digestOf(Buffer.from('other'))}`,
    body: 'other',
  },
  'DELETE upload': { action: 'push', granted: 404, path: UPLOAD },
  'GET tags': { action: 'pull', granted: 200, path: '/tags/list' },
  'HEAD tags': { action: 'pull', granted: 200, path: '/tags/list' },
  'GET referrers': { action: 'pull', granted: 200, path: `/referrers/${DIGEST}` },
  'HEAD referrers': { action: 'pull', granted: 200, path: `/referrers/${DIGEST}` },
}

const ROUTES = Object.entries(REPOSITORY_ROUTES).flatMap(([resource, methods]) =>
  Object.keys(methods).map((method) => ({ route: `${method} ${resource}`, method })),
)

/** Callers by name, with the rights each has to repositories below its own name. */
const CALLERS: Readonly<Record<string, readonly Action[] | 'admin'>> = {
  anonymous: [],
  'no-right': [],
  pull: ['pull'],
  push: ['push'],
  overwrite: ['overwrite'],
  delete: ['delete'],
  admin: 'admin',
}

const PASSWORD = PASSWORDS.matrix
const basic = (name: string) => `Basic ${Buffer.from(`${name}:${PASSWORD}`).toString('base64')}`

describe('access', () => {
  let registry: TestRegistry
  let base: string
  beforeAll(async () => {
    registry = await openTestRegistry({ access: { mode: 'token' } })
    base = `http://${registry.host}`
    const actor = { subject: 'test' }
    for (const [name, rights] of Object.entries(CALLERS)) {
      if (name === 'anonymous') continue
      const admin = rights === 'admin'
      await addUser(registry.access, actor, { name, password: PASSWORD, admin })
      if (rights === 'admin' || rights.length === 0) continue
      const granted = { effect: 'allow', subject: `user:${name}`, actions: rights } as const
      await addGrant(registry.access, actor, { ...granted, repositories: ['given/**'] })
    }
  })
  afterAll(() => registry.close())

  /** The headers of a caller who asked for a token with all that can be asked for. */
  async function tokenOf(name: string, repository: string): Promise<Record<string, string>> {
    const scope = `repository:${repository}:pull,push,delete`
    const headers = name === 'anonymous' ? undefined : { Authorization: basic(name) }
    const response = await fetch(`${base}/token?scope=${scope}`, headers && { headers })
    expect(response.status).toBe(200)
    const { token } = (await response.json()) as { token: string }
    return { Authorization: `Bearer ${token}` }
  }

  /** A repository in which everything that {@link REQUESTS} asks for is there. */
  async function fill(repository: string): Promise<void> {
    const headers = { Authorization: basic('admin') }
    const blob = `${base}/v2/${repository}/blobs/uploads/?digest=${DIGEST}`
    expect((await fetch(blob, { method: 'POST', headers, body: CONTENT })).status).toBe(201)
    const manifest = `${base}/v2/${repository}/manifests/latest`
    const init = { method: 'PUT', headers: { ...headers, ...INDEX_TYPE }, body: INDEX }
    expect((await fetch(manifest, init)).status).toBe(201)
  }

  async function ask(
    { route, method }: { route: string; method: string },
    repository: string,
    headers: Record<string, string>,
  ): Promise<{ status: number; code: string | undefined; error: string | undefined }> {
    const wanted = REQUESTS[route]
    if (wanted === undefined) throw new Error(`no request for the route ${route}`)
    const response = await fetch(`${base}/v2/${repository}${wanted.path}`, {
      method,
      headers: { ...wanted.headers, ...headers },
      ...(wanted.body === undefined ? {} : { body: wanted.body }),
    })
    const text = await response.text()
    const isError = method !== 'HEAD' && response.status >= 400
    const document = isError ? (JSON.parse(text) as { errors: { code: string }[] }) : undefined
    const challenge = response.headers.get('www-authenticate') ?? ''
    const error = /error="(\w+)"/.exec(challenge)?.[1]
    return { status: response.status, code: document?.errors[0]?.code, error }
  }

  const putLatest = async (name: string, body: string) => {
    const headers = { ...(await tokenOf(name, 'given/moved')), ...INDEX_TYPE }
    const url = `${base}/v2/given/moved/manifests/latest`
    return (await fetch(url, { method: 'PUT', headers, body })).status
  }

  const statusOf = async (path: string, name?: string, method = 'GET') => {
    const headers: Record<string, string> = name === undefined ? {} : { Authorization: basic(name) }
    return (await fetch(`${base}${path}`, { method, headers })).status
  }

  it('is tried for every route there is, and for none that is gone', () => {
    expect(ROUTES.map(({ route }) => route).toSorted()).toEqual(Object.keys(REQUESTS).toSorted())
  })

  for (const endpoint of ROUTES) {
    const { route, method } = endpoint
    // Without a request every test of it fails.
    const { action = 'pull', granted = 0 } = REQUESTS[route] ?? {}

    describe(`to ${route}`, () => {
      for (const [name, rights] of Object.entries(CALLERS)) {
        const has = rights === 'admin' || rights.includes(action)
        const repository = `given/${name}-${ROUTES.indexOf(endpoint)}`

        it(`is ${has ? 'given to' : 'refused to'} ${name}`, async () => {
          await fill(repository)
          const answer = await ask(endpoint, repository, await tokenOf(name, repository))
          const code = has || method === 'HEAD' ? answer.code : 'UNAUTHORIZED'
          const refusal = { status: 401, code, error: 'insufficient_scope' }
          expect(answer).toEqual(has ? { ...answer, status: granted, error: undefined } : refusal)
        })
        if (name === 'anonymous') continue

        it(`is ${has ? 'given to' : 'refused to'} ${name} with a password`, async () => {
          await fill(`${repository}-basic`)
          const answer = await ask(endpoint, `${repository}-basic`, { Authorization: basic(name) })
          expect(answer.status).toBe(has ? granted : 403)
        })
      }

      it('is refused without a token, and with one of another repository', async () => {
        const code = method === 'HEAD' ? undefined : 'UNAUTHORIZED'
        const answer = await ask(endpoint, 'given/app', {})
        expect(answer).toEqual({ status: 401, code, error: undefined })
        for (const other of ['given', 'given/ap', 'given/app/x']) {
          const token = await tokenOf('admin', other)
          const refused = await ask(endpoint, 'given/app', token)
          expect(refused).toEqual({ status: 401, code, error: 'insufficient_scope' })
        }
      })

      it('tells nothing of what is there', async () => {
        await fill('secret/there')
        for (const caller of ['anonymous', ...ACTIONS]) {
          const headers = await tokenOf(caller, 'secret/there')
          const there = await ask(endpoint, 'secret/there', headers)
          expect(there.status).toBe(401)
          expect(there).toEqual(await ask(endpoint, 'secret/never', headers))
        }
      })
    })
  }

  describe('to a tag that exists', () => {
    it('takes push to repeat what it names, and overwrite as well to move it', async () => {
      const other = INDEX.replace('[]', '[ ]')
      await addUser(registry.access, { subject: 'test' }, { name: 'mover', password: PASSWORD })
      await addGrant(
        registry.access,
        { subject: 'test' },
        {
          effect: 'allow',
          subject: 'user:mover',
          actions: ['push', 'overwrite'],
          repositories: ['given/moved'],
        },
      )
      await fill('given/moved')
      expect(await putLatest('push', INDEX)).toBe(201)
      expect(await putLatest('push', other)).toBe(403)
      expect(await putLatest('overwrite', other)).toBe(401)
      expect(await putLatest('mover', other)).toBe(201)
      expect(await putLatest('admin', INDEX)).toBe(201)
    })
  })

  describe('to what is no repository', () => {
    it('is checked as well: the root, the catalog, and deleting a repository', async () => {
      expect(await statusOf('/v2/')).toBe(401)
      expect(await statusOf('/v2/', 'no-right')).toBe(200)
      expect(await statusOf('/v2/_catalog')).toBe(401)
      expect(await statusOf('/v2/_catalog', 'no-right')).toBe(200)
      await fill('given/doomed')
      const doomed = '/api/v1/repositories/given/doomed'
      expect(await statusOf(doomed, undefined, 'DELETE')).toBe(401)
      expect(await statusOf(doomed, 'push', 'DELETE')).toBe(403)
      expect(await statusOf(doomed, 'delete', 'DELETE')).toBe(202)
    })
  })
})
