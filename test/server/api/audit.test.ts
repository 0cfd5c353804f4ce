import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type RunningRegistry, runRegistry } from '../../acceptance/client.ts'
import { type Api, addUser, apiOf, basic, follow, itemsOf, PASSWORD } from './json.ts'

describe('the audit trail by the API', () => {
  let running: RunningRegistry
  let admin: Api
  beforeAll(async () => {
    running = await runRegistry({ access: { mode: 'token' } })
    admin = apiOf(running.client, await addUser(running.registry.access, 'root', { admin: true }))
  })
  afterAll(() => running.close())

  it('has each change, with who made it and from where', async () => {
    await admin('POST', '/users', { name: 'ada', password: PASSWORD, admin: true })
    await admin('PATCH', '/users/ada', { description: 'x', disabled: true })
    await admin('POST', '/users/ada/tokens', { name: 'ci' })
    await admin('POST', '/robots', { name: 'bot' })
    await admin('POST', '/robots/bot/secret')
    await admin('POST', '/groups', { name: 'team' })
    await admin('PUT', '/groups/team/members/bot')
    await admin('PATCH', '/groups/team', { description: 'us' })
    await admin('DELETE', '/groups/team/members/bot')
    await admin('DELETE', '/groups/team')
    const grant = { effect: 'deny', subject: 'everyone', repositories: ['x'], actions: ['push'] }
    const { body } = await admin('POST', '/grants', grant)
    await admin('PUT', `/grants/${String(body['id'])}`, { ...grant, actions: ['delete'] })
    await admin('DELETE', `/grants/${String(body['id'])}`)
    await admin('POST', '/keys')
    await admin('DELETE', '/robots/bot')
    await admin('DELETE', '/users/ada')

    const events = itemsOf(await admin('GET', '/audit?actor=user:root')).toReversed()

    const actions = [
      'user.add user.change token.add robot.add robot.renew',
      'group.add group.join group.change group.leave group.remove',
      'grant.add grant.change grant.remove key.add robot.remove user.remove',
    ]
    expect(events.map(({ action }) => action).join(' ')).toEqual(actions.join(' '))
    for (const event of events) {
      expect(event).toMatchObject({ result: 'done', address: '127.0.0.1' })
      expect(event['requestId']).toMatch(/^[0-9a-f]{8}-/)
    }
    expect(events[1]).toMatchObject({ target: 'ada', detail: 'description, disabled' })
    expect(new Set(events.map(({ requestId }) => requestId)).size).toBe(events.length)
  })

  it('has nothing of what did not happen', async () => {
    const before = itemsOf(await admin('GET', '/audit'))
    await admin('POST', '/users', { name: 'root' })
    await admin('DELETE', '/users/root')
    await admin('PATCH', '/groups/none', { description: 'x' })
    expect(itemsOf(await admin('GET', '/audit'))).toEqual(before)
  })

  it('is read page by page without gaps, while more is added', async () => {
    const all = itemsOf(await admin('GET', '/audit')).map(({ id }) => id)
    for (const size of [1, 3, all.length]) {
      const pages = await follow(admin, `/audit?limit=${size}`)
      expect(pages.flat().map(({ id }) => id)).toEqual(all)
    }
    const first = await admin('GET', '/audit?limit=2')
    await admin('POST', '/groups', { name: 'meanwhile' })
    const rest = itemsOf(await admin('GET', `/audit?before=${String(first.body['next'])}`))
    expect([...itemsOf(first), ...rest].map(({ id }) => id)).toEqual(all)
  })

  it('is filtered, also across pages', async () => {
    const filtered = async (query: string) =>
      (await follow(admin, `/audit?limit=1&${query}`)).flat().map(({ action }) => action)
    expect(await filtered('action=grant.add')).toEqual(['grant.add'])
    expect(await filtered('result=denied')).toEqual([])
    expect(await filtered('actor=user:nobody')).toEqual([])
    expect(await filtered('address=127.0.0.2')).toEqual([])
    const [newest, ...older] = itemsOf(await admin('GET', '/audit?actor=user:root'))
    const at = encodeURIComponent(String(newest!['at']))
    expect(await filtered(`actor=user:root&until=${at}`)).toHaveLength(older.length)
    // A time with milliseconds is not after the one that Postgres stored.
    expect(await filtered(`actor=user:root&since=${at}`)).toEqual([newest!['action']])
  })

  it('tells of logins that failed, but not what was typed as a password', async () => {
    await apiOf(running.client, basic('root', 'not my password'))('GET', '/me')
    await expect
      .poll(async () => itemsOf(await admin('GET', '/audit?action=login&result=failed')))
      .toEqual([expect.objectContaining({ actor: 'user:root', address: '127.0.0.1' })])
    const { body } = await admin('GET', '/audit')
    expect(JSON.stringify(body)).not.toContain('not my password')
  })

  async function deniedEve() {
    return itemsOf(await admin('GET', '/audit?actor=user:eve&result=denied'))
  }

  it('has what somebody known was denied, once each', async () => {
    const eve = apiOf(running.client, await addUser(running.registry.access, 'eve'))
    expect((await eve('GET', '/users')).status).toBe(403)
    expect((await eve('DELETE', '/repositories/team/app')).status).toBe(403)
    await vi.waitFor(async () => expect(await deniedEve()).toHaveLength(2), 5000)
    expect(await deniedEve()).toEqual([
      expect.objectContaining({ action: 'repository.delete', repository: 'team/app' }),
      expect.objectContaining({ action: 'api.listUsers', target: '/api/v1/users' }),
    ])
  })
})
