import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { PASSWORDS, secretsIn } from '../support/secrets.ts'
import { type Answer, exchange } from './support/exchange.ts'
import { type Replica, startReplicas } from './support/replicas.ts'
import { openWorkspace, until, type Workspace } from './support/workspace.ts'

const PASSWORD = PASSWORDS.person

function basic(name: string): Record<string, string> {
  return { Authorization: `Basic ${Buffer.from(`${name}:${PASSWORD}`).toString('base64')}` }
}

function ask(
  { server }: Replica,
  target: string,
  headers: Record<string, string>,
): Promise<Answer> {
  return exchange(server.host, { method: 'GET', path: target, headers })
}

describe('two replicas with accounts', () => {
  let workspace: Workspace
  let a: Replica
  let b: Replica
  let people = 0

  beforeAll(async () => {
    workspace = await openWorkspace()
    const settings = { auth: 'token', adminPassword: PASSWORD }
    const { replicas } = await startReplicas(workspace, ['replica-a', 'replica-b'], settings)
    ;[a, b] = replicas as [Replica, Replica]
    await untilQuick()
  })
  afterEach(() => b.proxy.restore())
  afterAll(async () => {
    await workspace.close()
  })

  /** Through replica a, as its administrator. @returns the status, and how many ms it took */
  async function administer(method: string, path: string, document?: object) {
    const beganAtMs = performance.now()
    const headers = { ...basic('admin'), 'Content-Type': 'application/json' }
    const body = document && { body: Buffer.from(JSON.stringify(document)) }
    const answer = await exchange(a.server.host, {
      method,
      path: `/api/v1${path}`,
      headers,
      ...body,
    })
    if (answer.status >= 300) throw new Error(`${path}: ${answer.body.toString()}`)
    return { ms: performance.now() - beganAtMs }
  }

  /** Until each of the two knows that the other one listens. */
  async function untilQuick(): Promise<void> {
    await until(
      'quick changes',
      async () => {
        const { ms } = await administer('PATCH', '/users/admin', { disabled: false })
        return ms < 1000
      },
      60_000,
    )
  }

  /** Somebody who may pull, and a token that replica b has verified and remembers. */
  async function somebody() {
    const name = `person-${++people}`
    await administer('POST', '/users', { name, password: PASSWORD })
    const rights = { repositories: ['team/**'], actions: ['pull'] }
    await administer('POST', '/grants', { effect: 'allow', subject: `user:${name}`, ...rights })
    const scope = '/token?scope=repository:team/app:pull'
    const { token } = JSON.parse((await ask(a, scope, basic(name))).body.toString())
    const headers = { Authorization: `Bearer ${token}` }
    for (let time = 0; time < 2; time++) await expectWelcome(headers)
    return { name, headers }
  }

  async function expectWelcome(headers: Record<string, string>): Promise<void> {
    expect((await ask(b, '/v2/', headers)).status).toBe(200)
    // What gives rights is told to the others and not waited for.
    const tags = async () => (await ask(b, '/v2/team/app/tags/list', headers)).status
    await until('being let in', async () => (await tags()) === 404)
  }

  async function expectRefused(headers: Record<string, string>): Promise<void> {
    expect((await ask(b, '/v2/team/app/tags/list', headers)).status).toBe(401)
  }

  it('refuse at once who was disabled at the other one', async () => {
    for (let round = 0; round < 20; round++) {
      const { name, headers } = await somebody()
      await administer('PATCH', `/users/${name}`, { disabled: true })
      await expectRefused(headers)
    }
  })

  it('refuse at once who was removed or lost a grant at the other one', async () => {
    const { name, headers } = await somebody()
    await administer('DELETE', `/users/${name}`)
    await expectRefused(headers)
    const other = await somebody()
    const grants = await ask(a, `/api/v1/grants?subject=user:${other.name}`, basic('admin'))
    const [{ id }] = JSON.parse(grants.body.toString()).items
    await administer('DELETE', `/grants/${id}`)
    await expectRefused(other.headers)
  })

  it('do so also when one is cut off the database without noticing', async () => {
    const { name, headers } = await somebody()
    b.proxy.hang()
    await administer('PATCH', `/users/${name}`, { disabled: true })
    const meanwhile = await ask(b, '/v2/team/app/tags/list', headers)
    expect(meanwhile.status, 'it cannot know, and says so').toBe(503)
    await b.proxy.restore()
    await until('an answer', async () => (await ask(b, '/v2/', headers)).status !== 503)
    await expectRefused(headers)
    await untilQuick()
  })

  it('do so also when the connections of one break', async () => {
    const { name, headers } = await somebody()
    b.proxy.cut()
    await administer('PATCH', `/users/${name}`, { disabled: true })
    await expectRefused(headers)
    await untilQuick()
  })

  it('count failed logins together', async () => {
    const { name } = await somebody()
    const wrong = { Authorization: `Basic ${Buffer.from(`${name}:wrong`).toString('base64')}` }
    for (let time = 0; time < 7; time++) await ask(time % 2 === 0 ? a : b, '/token', wrong)
    for (const replica of [a, b]) {
      const locked = await ask(replica, '/token', basic(name))
      expect(locked.status).toBe(429)
      expect(locked.headers['retry-after']).toMatch(/^[1-9]/)
    }
  })

  it('accept tokens of a key that was made at the other one, and of the one before', async () => {
    const { headers } = await somebody()
    await administer('POST', '/keys')
    await expectWelcome(headers)
    const { headers: newer } = await somebody()
    await expectWelcome(newer)
  })

  it('log no secret', () => {
    expect(secretsIn(workspace.log())).toEqual([])
  })
})
