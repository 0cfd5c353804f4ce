import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addGrant } from '../../../auth/accounts/grants.ts'
import { type RunningRegistry, runRegistry } from '../../acceptance/client.ts'
import { pushImage } from '../../acceptance/images.ts'
import { type Api, addUser, apiOf, basic, codeOf, follow, itemsOf } from './json.ts'

const NAMES = ['a.b/x', 'a/b', 'axb/x', 'public/app', 'team/app', 'team/web-app']

describe('repositories by the API', () => {
  let running: RunningRegistry
  let admin: Api
  let ada: Api
  let anonymous: Api
  beforeAll(async () => {
    running = await runRegistry({ access: { mode: 'token' } })
    const { access } = running.registry
    const everything = { repositories: ['**'], actions: ['pull', 'push'] } as const
    const opening = { effect: 'allow', subject: 'anonymous', ...everything } as const
    admin = apiOf(running.client, await addUser(access, 'root', { admin: true }))
    const { id } = await addGrant(access, { subject: 'test' }, opening)
    for (const name of NAMES) await pushImage(running.client, name, 'x')
    await admin('DELETE', `/grants/${id}`)
    ada = apiOf(running.client, await addUser(access, 'ada'))
    anonymous = apiOf(running.client, undefined)
    await grant('user:ada', 'team/*', ['pull'])
    await grant('everyone', 'public/**', ['pull'])
  })
  afterAll(() => running.close())

  async function grant(subject: string, repository: string, actions: string[]): Promise<void> {
    const body = { effect: 'allow', subject, repositories: [repository], actions }
    expect((await admin('POST', '/grants', body)).status).toBe(201)
  }

  it('are those that the caller may pull from', async () => {
    expect(await names(admin)).toEqual(NAMES)
    expect(await names(ada)).toEqual(['public/app', 'team/app', 'team/web-app'])
    expect(await names(anonymous)).toEqual(['public/app'])
  })

  it('are not shown to who shows something that is not good, or a token for something else', async () => {
    for (const authorization of [basic('ada', 'wrong password'), 'Bearer x']) {
      const answer = await apiOf(running.client, authorization)('GET', '/repositories')
      expect([answer.status, codeOf(answer)]).toEqual([401, 'UNAUTHORIZED'])
    }
    const query = '/token?scope=repository:team/app:pull'
    const granted = await running.client.get(query, { Authorization: basic('ada') })
    const { token } = JSON.parse(granted.body.toString()) as { token: string }
    const bearer = apiOf(running.client, `Bearer ${token}`)
    expect((await bearer('GET', '/repositories')).status).toBe(401)
  })

  it('are narrowed with the token', async () => {
    const coverage = [{ repositories: ['team/app'], actions: ['pull'] }]
    const { body } = await ada('POST', '/me/tokens', { name: 'one', coverage })
    const narrow = apiOf(running.client, `Bearer ${String(body['secret'])}`)
    expect(await names(narrow)).toEqual(['team/app'])
  })

  it('are found by a part of their name, letter by letter', async () => {
    expect(await names(admin, '?q=app')).toEqual(['public/app', 'team/app', 'team/web-app'])
    expect(await names(admin, '?q=APP')).toEqual(['public/app', 'team/app', 'team/web-app'])
    expect(await names(admin, '?q=a.b')).toEqual(['a.b/x'])
    expect(await names(admin, '?q=m/')).toEqual(['team/app', 'team/web-app'])
    expect(await names(admin, '?q=-')).toEqual(['team/web-app'])
    expect(await names(ada, '?q=a.b')).toEqual([])
    for (const text of [
      '*',
      '**',
      '.*',
      '(',
      '[a-z]',
      '\\',
      '\\y',
      '***:',
      'é',
      "'",
      '$',
      '^',
      'a|b',
      'a b',
    ]) {
      expect([text, await names(admin, `?q=${encodeURIComponent(text)}`)]).toEqual([text, []])
    }
  })

  it('are listed once each, page by page, with the search kept', async () => {
    for (const size of [1, 2, 6]) {
      const pages = await follow(admin, `/repositories?limit=${size}`)
      expect(pages.flat().map(({ name }) => name)).toEqual(NAMES)
    }
    const found = await follow(admin, '/repositories?q=app&limit=1')
    expect(found.flat().map(({ name }) => name)).toEqual(['public/app', 'team/app', 'team/web-app'])
    expect(found).toHaveLength(3)
  })

  it('are deleted by who has that right, an administrator or not', async () => {
    expect((await anonymous('DELETE', '/repositories/team/app')).status).toBe(401)
    const denied = await ada('DELETE', '/repositories/team/app')
    expect([denied.status, codeOf(denied)]).toEqual([403, 'DENIED'])
    await grant('user:ada', 'team/app', ['delete'])
    expect((await ada('DELETE', '/repositories/team/app')).status).toBe(202)
    expect((await ada('DELETE', '/repositories/team/app')).status).toBe(404)
    expect((await admin('DELETE', '/repositories/No')).status).toBe(400)
    expect(await names(ada)).toEqual(['public/app', 'team/web-app'])
    const recorded = async () =>
      itemsOf(await admin('GET', '/audit?action=repository.delete&repository=team/app'))
    await expect.poll(async () => (await recorded()).length).toBe(2)
    expect(
      (await recorded()).map(({ actor, result }) => `${String(actor)} ${String(result)}`),
    ).toEqual(['user:ada done', 'user:ada denied'])
  })
})

async function names(api: Api, query = ''): Promise<unknown[]> {
  return itemsOf(await api('GET', `/repositories${query}`)).map(({ name }) => name)
}
