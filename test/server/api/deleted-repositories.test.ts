import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Api, codeOf, detailOf, itemsOf } from './json.ts'
import { UndoStage } from './undo-stage.ts'

let stage: UndoStage
let anonymous: Api
let as: Record<string, Api>
let count = 0
let repository = ''

beforeAll(async () => {
  stage = await UndoStage.open()
  ;({ anonymous, as } = stage)
})
afterAll(() => stage.running.close())
beforeEach(() => {
  repository = `team/app-${count++}`
})

const push = (tag: string, name = repository) => stage.push(name, tag)
const digestOfTag = (tag: string, name = repository) => stage.digestOf(name, tag)
const recorded = (action: string) => stage.recorded(repository, action)

const back = (api: Api, body: object) => api('POST', '/deleted-repositories/restore', body)

async function removed(): Promise<string> {
  const digest = await push('x')
  expect((await as['ada']!('DELETE', `/repositories/${repository}`)).status).toBe(202)
  return digest
}

async function names(api: Api): Promise<unknown[]> {
  return itemsOf(await api('GET', '/deleted-repositories')).map(({ name }) => name)
}

describe('repositories that were deleted, by the API', () => {
  it('are shown to who may pull from them, and restored by who may push to all of them', async () => {
    const digest = await removed()
    expect(await names(as['pull']!)).toContain(repository)
    expect(await names(as['push']!)).not.toContain(repository)
    expect(await names(anonymous)).toEqual([])
    const [shown] = itemsOf(await as['pull']!('GET', '/deleted-repositories?limit=1000')).filter(
      ({ name }) => name === repository,
    )
    expect(shown).toMatchObject({ deletedBy: 'user:ada' })
    for (const [api, status] of [
      [anonymous, 401],
      [as['pull']!, 403],
      [as['delete']!, 403],
      [as['dev']!, 403],
    ] as const) {
      expect((await back(api, { name: repository })).status).toBe(status)
    }
    const restored = await back(as['push']!, { name: repository })
    expect([restored.status, restored.body]).toEqual([200, { name: repository }])
    expect(await digestOfTag('x')).toBe(digest)
    await expect
      .poll(() => recorded('repository.restore'))
      .toContain(`user:push ${repository} done`)
  })

  it('are not restored over another one, but beside it', async () => {
    const digest = await removed()
    const next = await push('x')
    const taken = await back(as['ada']!, { name: repository })
    expect([taken.status, codeOf(taken)]).toEqual([409, 'UNSUPPORTED'])
    const name = `${repository}-old`
    expect((await back(as['push']!, { name: repository, as: name })).status).toBe(403)
    expect((await back(as['ada']!, { name: repository, as: 'other/app' })).status).toBe(403)
    expect((await back(as['ada']!, { name: repository, as: name })).body).toEqual({ name })
    expect(await digestOfTag('x', name)).toBe(digest)
    expect(await digestOfTag('x')).toBe(next)
  })

  it('have to have been there, and lately', async () => {
    const never = await back(as['ada']!, { name: 'team/never' })
    expect([never.status, codeOf(never)]).toEqual([404, 'NAME_UNKNOWN'])
    expect((await back(as['ada']!, { name: 'No' })).status).toBe(400)
    await removed()
    await stage.running.registry.registry.db.query(
      `update repositories set deleted_at = deleted_at - interval '8 days'`,
    )
    const over = await back(as['ada']!, { name: repository })
    expect([over.status, codeOf(over)]).toEqual([404, 'NAME_UNKNOWN'])
    expect(detailOf(over)).toContain('is over')
  })
})
