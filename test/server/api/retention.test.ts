import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { addGrant } from '../../../auth/accounts/grants.ts'
import { protectionOf } from '../../../server/retention.ts'
import { type RunningRegistry, runRegistry } from '../../acceptance/client.ts'
import { newRepository, pushTags, rulesOf, tagsOf } from '../../registry/retention/stage.ts'
import { type Api, addUser, apiOf, codeOf, detailOf, follow, itemsOf } from './json.ts'

describe('retention by the API', () => {
  let running: RunningRegistry
  let admin: Api
  let anonymous: Api
  let carol: Api
  beforeAll(async () => {
    running = await runRegistry({
      access: { mode: 'token' },
      retention: {
        rules: rulesOf({ name: 'ci', delete: { olderThan: '14d' }, keep: { tags: ['main'] } }),
        protection: () => protectionOf(running.registry.access),
      },
    })
    const { access } = running.registry
    admin = apiOf(running.client, await addUser(access, 'root', { admin: true }))
    carol = apiOf(running.client, await addUser(access, 'carol'))
    anonymous = apiOf(running.client, undefined)
  })
  afterAll(() => running.close())

  beforeEach(async () => {
    const { registry } = running.registry
    await registry.db.query('delete from repositories')
    await registry.db.query('delete from retention_runs')
    registry.cache.forgetAll()
  })

  const push = async (tags: Record<string, object>) => {
    const repository = newRepository('team')
    await pushTags(running.registry.registry, repository, tags)
    return repository
  }

  const plan = (body: object = {}) => admin('POST', '/retention/plan', body)
  const run = (body: object = {}) => admin('POST', '/retention/run', body)

  it('shows a plan, and does it', async () => {
    const repository = await push({ a: { days: 20, bytes: 3000 }, main: { days: 20 }, new: {} })
    const { status, body } = await plan()
    expect(status).toBe(200)
    expect(body).toMatchObject({
      kind: 'plan',
      actor: 'user:root',
      repositories: null,
      kept: 2,
      deleted: 1,
      isAtLeast: false,
      byRepository: [{ repository, kept: 2, deleted: 1, bytes: body['bytes'] }],
      tags: [
        { repository, tag: 'a', deleted: true, rule: 'ci', reason: 'pushed 20 days ago' },
        { repository, tag: 'main', deleted: false, rule: 'ci', reason: 'by its name' },
      ],
      more: false,
      difference: null,
    })
    expect(body['bytes']).toBeGreaterThan(3000)
    expect(await tagsOf(running.registry, repository)).toEqual(['a', 'main', 'new'])
    const done = await run()
    expect([done.status, done.body]).toMatchObject([200, { kind: 'run', deleted: 1, kept: 2 }])
    expect(await tagsOf(running.registry, repository)).toEqual(['main', 'new'])
    const again = await plan()
    expect(again.body['difference']).toMatchObject({ deleted: -1, dropped: [`${repository}:a`] })
  })

  it('shows as many tags as are wanted, and says that there are more', async () => {
    const repository = await push({ a: { days: 20 }, b: { days: 20 } })
    const { body } = await plan({ tags: 1, repositories: 'team/*' })
    expect(body).toMatchObject({ repositories: 'team/*', deleted: 2, more: true })
    expect(body['tags']).toMatchObject([{ repository, tag: 'a' }])
    expect((await plan({ tags: 2 })).body).toMatchObject({ more: false })
    expect((await plan({ tags: 0 })).body).toMatchObject({ tags: [], more: true })
  })

  it('refuses a run that nobody has seen, or that goes beyond it, and tells both numbers', async () => {
    const repository = await push({ a: { days: 20 }, b: { days: 20 } })
    const unseen = await run()
    expect([unseen.status, codeOf(unseen)]).toEqual([409, 'UNSUPPORTED'])
    expect(detailOf(unseen)).toContain('there is no plan')
    await plan({ repositories: '**' })
    expect((await run()).status).toBe(409)
    await plan()
    await pushTags(running.registry.registry, repository, { c: { days: 20 } })
    const beyond = await run({ consent: 2 })
    expect(beyond.status).toBe(409)
    expect(detailOf(beyond)).toContain('it would delete 3 tags; the last plan was to delete 2')
    expect(await tagsOf(running.registry, repository)).toEqual(['a', 'b', 'c'])
    expect((await run({ consent: 3 })).body).toMatchObject({ deleted: 3 })
  })

  it('lists plans and runs, page by page', async () => {
    await plan()
    await run()
    await plan({ repositories: 'team/**' })
    const kinds = itemsOf(await admin('GET', '/retention/runs')).map((each) => [
      each['kind'],
      each['repositories'],
    ])
    expect(kinds).toEqual([
      ['plan', 'team/**'],
      ['run', null],
      ['plan', null],
    ])
    const pages = await follow(admin, '/retention/runs?limit=1')
    expect(pages.map((page) => page.map((each) => each['kind']))).toEqual([
      ['plan'],
      ['run'],
      ['plan'],
    ])
  })

  it('never deletes what everyone is denied to delete', async () => {
    const { access } = running.registry
    const repository = await push({ v1: { days: 20 }, x1: { days: 20 }, y1: { days: 20 } })
    const deny = { effect: 'deny', repositories: [repository], actions: ['delete'] } as const
    await addGrant(access, { subject: 'test' }, { ...deny, subject: 'everyone', tags: ['v*'] })
    await addGrant(access, { subject: 'test' }, { ...deny, subject: 'anonymous', tags: ['x*'] })
    await addGrant(access, { subject: 'test' }, { ...deny, subject: 'user:carol', tags: ['y*'] })
    const { body } = await plan()
    expect(body['tags']).toMatchObject([
      { tag: 'v1', deleted: false, rule: null, reason: 'everyone is denied to delete it' },
      { tag: 'x1', deleted: true },
      { tag: 'y1', deleted: true },
    ])
    expect((await run()).body).toMatchObject({ deleted: 2 })
    expect(await tagsOf(running.registry, repository)).toEqual(['v1'])
  })

  it('is for administrators', async () => {
    const calls: [string, string, object | undefined][] = [
      ['POST', '/retention/plan', {}],
      ['POST', '/retention/run', {}],
      ['GET', '/retention/runs', undefined],
    ]
    for (const [method, path, body] of calls) {
      expect((await anonymous(method, path, body)).status).toBe(401)
      expect((await carol(method, path, body)).status).toBe(403)
    }
    expect(itemsOf(await admin('GET', '/retention/runs'))).toEqual([])
  })

  it.each([
    ['/retention/plan', { repositories: 'A B' }],
    ['/retention/plan', { repositories: 7 }],
    ['/retention/plan', { tags: -1 }],
    ['/retention/plan', { tags: 10_001 }],
    ['/retention/run', { consent: -1 }],
    ['/retention/run', { consent: '3' }],
    ['/retention/run', { consent: 1.5 }],
    ['/retention/run', { consent: 2 ** 31 }],
  ])('refuses %s with %j', async (path, body) => {
    const answer = await admin('POST', path, body)
    expect([answer.status, codeOf(answer)]).toEqual([400, 'UNSUPPORTED'])
  })
})
