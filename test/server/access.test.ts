import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Access, Action } from '../../auth/access.ts'
import { digestOf } from '../../oci/digest.ts'
import { REPOSITORY_ROUTES } from '../../server/routes.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'

interface RouteRequest {
  /** The right that it must take, and that must be enough. */
  readonly action: Action
  readonly path: string
  readonly headers?: Record<string, string>
  readonly body?: string
}

const DIGEST = digestOf(Buffer.from('content'))
const HEX = DIGEST.slice('sha256:'.length)

/** What each endpoint below a repository is asked; every route must have one here. */
const REQUESTS: Readonly<Record<string, RouteRequest>> = {
  'GET blob': { action: 'pull', path: `/blobs/${DIGEST}` },
  'HEAD blob': { action: 'pull', path: `/blobs/${DIGEST}` },
  'DELETE blob': { action: 'delete', path: `/blobs/${DIGEST}` },
  'GET manifest': { action: 'pull', path: '/manifests/latest' },
  'HEAD manifest': { action: 'pull', path: '/manifests/latest' },
  'PUT manifest': {
    action: 'push',
    path: '/manifests/latest',
    headers: { 'Content-Type': 'application/vnd.oci.image.index.v1+json' },
    body: '{"schemaVersion":2,"manifests":[]}',
  },
  'DELETE manifest': { action: 'delete', path: '/manifests/latest' },
  'POST uploads': { action: 'push', path: '/blobs/uploads/' },
  'GET upload': { action: 'push', path: `/blobs/uploads/${randomUUID()}` },
  'HEAD upload': { action: 'push', path: `/blobs/uploads/${randomUUID()}` },
  'PATCH upload': { action: 'push', path: `/blobs/uploads/${randomUUID()}`, body: 'content' },
  'PUT upload': {
    action: 'push',
    path: `/blobs/uploads/${randomUUID()}?digest=${DIGEST}`,
    body: 'content',
  },
  'DELETE upload': { action: 'push', path: `/blobs/uploads/${randomUUID()}` },
  'GET tags': { action: 'pull', path: '/tags/list' },
  'HEAD tags': { action: 'pull', path: '/tags/list' },
  'GET referrers': { action: 'pull', path: `/referrers/${DIGEST}` },
  'HEAD referrers': { action: 'pull', path: `/referrers/${DIGEST}` },
}

const ROUTES = Object.entries(REPOSITORY_ROUTES).flatMap(([resource, methods]) =>
  Object.keys(methods).map((method) => ({ route: `${method} ${resource}`, method })),
)

/** What each caller may do; a request names its caller in a header. */
const CALLERS: Record<string, Access> = {}

function caller(
  subject: string | undefined,
  repositories: readonly string[],
  actions: readonly Action[],
): Record<string, string> {
  const name = randomUUID()
  CALLERS[name] = {
    subject,
    allows: (repository, action) => repositories.includes(repository) && actions.includes(action),
    mayListRepositories: false,
  }
  return { 'X-Caller': name }
}

const nobody: Access = { subject: undefined, allows: () => false, mayListRepositories: false }

const ALL: readonly Action[] = ['pull', 'push', 'delete']

describe('access', () => {
  let registry: TestRegistry
  beforeAll(async () => {
    registry = await openTestRegistry({
      authenticate: (ctx) => CALLERS[ctx.get('X-Caller')] ?? nobody,
    })
  })
  afterAll(() => registry.close())

  /** A repository in which everything that {@link REQUESTS} asks for is there. */
  async function fill(repository: string): Promise<void> {
    const owner = caller('owner', [repository], ALL)
    const blob = `http://${registry.host}/v2/${repository}/blobs/uploads/?digest=${DIGEST}`
    const pushed = await fetch(blob, { method: 'POST', headers: owner, body: 'content' })
    expect(pushed.status).toBe(201)
    const put = { route: 'PUT manifest', method: 'PUT' }
    expect(await ask(put, repository, owner)).toMatchObject({ status: 201 })
  }

  async function ask(
    { route, method }: { route: string; method: string },
    repository: string,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; code: string | undefined }> {
    const wanted = REQUESTS[route]
    if (wanted === undefined) throw new Error(`no request for the route ${route}`)
    const response = await fetch(`http://${registry.host}/v2/${repository}${wanted.path}`, {
      method,
      headers: { ...wanted.headers, ...headers },
      ...(wanted.body === undefined ? {} : { body: wanted.body }),
    })
    const text = await response.text()
    const document = text === '' ? {} : (JSON.parse(text) as { errors?: { code: string }[] })
    return { status: response.status, code: document.errors?.[0]?.code }
  }

  it('is tried for every route there is, and for none that is gone', () => {
    expect(ROUTES.map(({ route }) => route).toSorted()).toEqual(Object.keys(REQUESTS).toSorted())
  })

  for (const endpoint of ROUTES) {
    const { route, method } = endpoint
    const action = REQUESTS[route]?.action ?? 'pull' // without a request every test of it fails
    const codeOf = (code: string) => (method === 'HEAD' ? undefined : code)
    const others = ALL.filter((other) => other !== action)

    describe(`to ${route}`, () => {
      it('is refused to anonymous with 401', async () => {
        const answer = await ask(endpoint, 'team/app')
        expect(answer).toEqual({ status: 401, code: codeOf('UNAUTHORIZED') })
      })

      it('is refused to anonymous with other rights with 401', async () => {
        const answer = await ask(endpoint, 'team/app', caller(undefined, ['team/app'], others))
        expect(answer).toEqual({ status: 401, code: codeOf('UNAUTHORIZED') })
      })

      it(`is refused to a user without ${action} with 403`, async () => {
        const answer = await ask(endpoint, 'team/app', caller('ada', ['team/app'], others))
        expect(answer).toEqual({ status: 403, code: codeOf('DENIED') })
      })

      it('is refused to a user with rights to another repository with 403', async () => {
        const answer = await ask(endpoint, 'team/app', caller('ada', ['team', 'team/ap'], ALL))
        expect(answer).toEqual({ status: 403, code: codeOf('DENIED') })
      })

      it(`is given for ${action}, whoever it is`, async () => {
        for (const subject of ['ada', undefined]) {
          const { status } = await ask(
            endpoint,
            'team/app',
            caller(subject, ['team/app'], [action]),
          )
          expect([401, 403]).not.toContain(status)
          expect(status).toBeLessThan(500)
        }
      })

      it('tells nothing of what is there', async () => {
        await fill('team/secret')
        for (const headers of [{}, caller('ada', [], [])]) {
          const there = await ask(endpoint, 'team/secret', headers)
          expect(there).toEqual(await ask(endpoint, 'team/never', headers))
        }
      })
    })
  }

  describe('to a mount', () => {
    it('needs pull on the source, and says nothing of what is there', async () => {
      const all = caller('ada', ['source', 'target'], ALL)
      const target = caller('ada', ['target'], ALL)
      const post = (query: string, headers: Record<string, string>, body?: string) =>
        fetch(`http://${registry.host}/v2/${query}`, {
          method: 'POST',
          headers,
          ...(body === undefined ? {} : { body }),
        })
      expect((await post(`source/blobs/uploads/?digest=${DIGEST}`, all, 'content')).status).toBe(
        201,
      )

      for (const from of ['&from=source', '', '&from=nobody']) {
        const query = `target/blobs/uploads/?mount=sha256:${HEX}${from}`
        expect((await post(query, target)).status).toBe(202)
      }
      const head = `http://${registry.host}/v2/target/blobs/${DIGEST}`
      expect((await fetch(head, { method: 'HEAD', headers: target })).status).toBe(404)
      const mount = `target/blobs/uploads/?mount=${DIGEST}&from=source`
      expect((await post(mount, all)).status).toBe(201)
    })
  })

  describe('to an upload session', () => {
    it('is its owner’s alone', async () => {
      const [ada, bob] = ['ada', 'bob'].map((name) => caller(name, ['team/app'], ALL))
      const url = `http://${registry.host}/v2/team/app/blobs/uploads/`
      const begun = await fetch(url, { method: 'POST', headers: ada! })
      const session = `http://${registry.host}${begun.headers.get('location')}`
      for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
        const target = method === 'PUT' ? `${session}?digest=${DIGEST}` : session
        expect((await fetch(target, { method, headers: bob! })).status).toBe(404)
      }
      expect((await fetch(session, { headers: ada! })).status).toBe(204)
    })
  })

  describe('to what is no repository', () => {
    it('is checked as well: the catalog, and deleting a repository', async () => {
      const ada = caller('ada', ['team/app'], ['pull', 'push'])
      const base = `http://${registry.host}`
      expect((await fetch(`${base}/v2/_catalog`)).status).toBe(401)
      const url = `${base}/api/v1/repositories/team/app`
      expect((await fetch(url, { method: 'DELETE' })).status).toBe(401)
      expect((await fetch(url, { method: 'DELETE', headers: ada })).status).toBe(403)
    })
  })
})
