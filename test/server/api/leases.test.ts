import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sha256 } from '../../acceptance/client.ts'
import { type Api, codeOf, follow, itemsOf } from './json.ts'
import { UndoStage } from './undo-stage.ts'

let stage: UndoStage
let admin: Api
let anonymous: Api
let as: Record<string, Api>
let count = 0
let repository = ''

beforeAll(async () => {
  stage = await UndoStage.open()
  ;({ admin, anonymous, as } = stage)
})
afterAll(() => stage.running.close())
beforeEach(() => {
  repository = `team/app-${count++}`
})

const push = (tag: string, name = repository) => stage.push(name, tag)
const recorded = (action: string) => stage.recorded(repository, action)

const keep = (api: Api, body: object) =>
  api('POST', '/leases', { repository, holder: 'h', seconds: 60, ...body })

describe('leases by the API', () => {
  it('are added, listed and ended by who may push, and by an administrator', async () => {
    const digest = await push('x')
    for (const [api, status] of [
      [anonymous, 401],
      [as['pull']!, 403],
    ] as const) {
      expect((await keep(api, { digest })).status).toBe(status)
      expect((await api('GET', `/leases?repository=${repository}`)).status).toBe(status)
      const query = `?repository=${repository}&digest=${digest}&holder=h`
      expect((await api('DELETE', `/leases${query}`)).status).toBe(status)
      expect((await api('GET', '/leases')).status).toBe(status)
    }
    const added = await keep(as['push']!, { digest })
    expect(added.body).toMatchObject({ repository, digest, holder: 'h', createdBy: 'user:push' })
    await keep(admin, { digest, holder: 'cluster:prod / 1' })
    const pages = await follow(as['push']!, `/leases?repository=${repository}&limit=1`)
    expect(pages.flat().map(({ holder }) => holder)).toEqual(['h', 'cluster:prod / 1'])
    expect(itemsOf(await admin('GET', '/leases')).length).toBeGreaterThanOrEqual(2)
    const query = `?repository=${repository}&digest=${digest}&holder=h`
    expect((await as['push']!('DELETE', `/leases${query}`)).status).toBe(204)
    expect((await as['push']!('DELETE', `/leases${query}`)).status).toBe(404)
    await expect.poll(() => recorded('lease.remove')).toContain(`user:push ${digest} done`)
    expect(await recorded('lease.add')).toContain(`user:push ${digest} done`)
  })

  it('are no matter of who may push only some tags', async () => {
    const digest = await push('dev-1')
    await keep(admin, { digest, holder: 'cluster' })
    const query = `?repository=${repository}&digest=${digest}&holder=cluster`
    const answers = [
      await as['dev']!('DELETE', `/leases${query}`),
      await as['dev']!('GET', `/leases?repository=${repository}`),
      await keep(as['dev']!, { digest, holder: 'dev' }),
    ]
    expect(answers.map((each) => [each.status, codeOf(each)])).toEqual(
      answers.map(() => [403, 'DENIED']),
    )
    const left = itemsOf(await admin('GET', `/leases?repository=${repository}`))
    expect(left.map(({ holder }) => holder)).toEqual(['cluster'])
    await expect.poll(() => recorded('lease.remove')).toEqual([`user:dev ${digest} denied`])
  })

  it('refuse what is malformed, and what is not there', async () => {
    const digest = await push('x')
    for (const wrong of [
      { holder: '' },
      { holder: 'a\nb' },
      { holder: 'x'.repeat(201) },
      { seconds: 0 },
      { seconds: 1.5 },
      { seconds: 1e12 },
      { digest: 'x' },
      { repository: 'No' },
    ]) {
      expect([wrong, (await keep(admin, { digest, ...wrong })).status]).toEqual([wrong, 400])
    }
    expect((await keep(admin, { digest: sha256('none') })).status).toBe(404)
    expect((await keep(admin, { digest, repository: 'team/never' })).status).toBe(404)
  })
})
