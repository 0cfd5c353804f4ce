import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Api, apiOf, codeOf, detailOf, follow, itemsOf } from './json.ts'
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
const remove = (reference: string) => stage.remove(repository, reference)
const digestOfTag = (tag: string, name = repository) => stage.digestOf(name, tag)
const recorded = (action: string) => stage.recorded(repository, action)
const restore = (api: Api, body: object) => api('POST', '/tags/restore', { repository, ...body })

describe('tags by the API', () => {
  it('come back, and say what came back with them', async () => {
    const first = await push('x')
    const second = await push('x')
    const moved = await restore(as['ada']!, { tag: 'x' })
    expect([moved.status, moved.body]).toEqual([
      200,
      { digest: first, changed: true, manifests: 0 },
    ])
    await remove(first)
    expect(await digestOfTag('x')).toBeUndefined()
    const restored = await restore(as['ada']!, { tag: 'x' })
    expect(restored.body).toEqual({ digest: first, changed: true, manifests: 1 })
    const to = await restore(as['ada']!, { tag: 'x', digest: second })
    expect(to.body).toMatchObject({ digest: second, changed: true })
    await expect.poll(() => recorded('tag.restore')).toHaveLength(3)
    expect(await recorded('tag.restore')).toContain('user:ada x done')
  })

  it('come back by who may make them, and go back by who may move them', async () => {
    const first = await push('x')
    await push('x')
    for (const name of ['pull', 'push', 'delete']) {
      const answer = await restore(as[name]!, { tag: 'x' })
      expect([name, answer.status, codeOf(answer)]).toEqual([name, 403, 'DENIED'])
    }
    expect((await restore(as['overwrite']!, { tag: 'x' })).body).toMatchObject({ digest: first })
    await remove('x')
    for (const name of ['pull', 'delete', 'dev']) {
      expect((await restore(as[name]!, { tag: 'x' })).status).toBe(403)
    }
    expect((await restore(as['push']!, { tag: 'x' })).status).toBe(200)
    await expect.poll(() => recorded('tag.restore')).toContain('user:delete x denied')
  })

  it('that are immutable come back, and are not moved', async () => {
    const first = await push('v1')
    await remove('v1')
    expect((await restore(as['ada']!, { tag: 'v1' })).status).toBe(200)
    await remove('v1')
    await push('v1')
    const answer = await restore(admin, { tag: 'v1', digest: first })
    expect([answer.status, codeOf(answer)]).toEqual([403, 'DENIED'])
  })

  it('come back by who may push some tags, if it is one of them', async () => {
    const digest = await push('dev-1')
    await remove('dev-1')
    expect((await restore(as['dev']!, { tag: 'dev-1' })).status).toBe(200)
    await remove(digest)
    expect((await restore(as['dev']!, { digest })).status).toBe(403)
    const answer = await restore(as['push']!, { digest })
    expect(answer.body).toEqual({ digest, changed: true, manifests: 1 })
    expect(await digestOfTag('dev-1')).toBeUndefined()
    expect(await digestOfTag(digest)).toBe(digest)
  })

  it('are as private as what they name', async () => {
    await push('x')
    for (const [api, status] of [
      [anonymous, 401],
      [as['pull']!, 403],
    ] as const) {
      const there = await api('POST', '/tags/restore', { repository: 'secret/there', tag: 'x' })
      expect(there.status).toBe(status)
      const history = await api('GET', '/tags/history?repository=secret/there')
      expect(history.status).toBe(status)
    }
    await push('x', 'secret/there')
    const unknown = await as['pull']!('GET', '/tags/history?repository=secret/never')
    const there = await as['pull']!('GET', '/tags/history?repository=secret/there')
    expect([there.status, codeOf(there)]).toEqual([unknown.status, codeOf(unknown)])
  })

  it('take a token for that repository', async () => {
    const digest = await push('x')
    await remove('x')
    const { client } = stage.running
    const tokenFor = async (scope: string) => {
      const headers = { Authorization: stage.authorization['ada']! }
      const answer = await client.get(`/token?scope=${scope}`, headers)
      const { token } = JSON.parse(answer.body.toString()) as { token: string }
      return apiOf(client, `Bearer ${token}`)
    }
    for (const scope of ['repository:team/other:pull,push', `repository:${repository}:pull`]) {
      expect((await restore(await tokenFor(scope), { tag: 'x' })).status).toBe(401)
    }
    const good = await tokenFor(`repository:${repository}:pull,push`)
    expect((await restore(good, { tag: 'x' })).body).toMatchObject({ digest })
  })

  it('refuse what is malformed, unknown or over, and say why', async () => {
    const digest = await push('x')
    for (const [body, code] of [
      [{}, 'UNSUPPORTED'],
      [{ tag: 'x', digest, at: '2020-01-01T00:00:00Z' }, 'UNSUPPORTED'],
      [{ digest, at: '2020-01-01T00:00:00Z' }, 'UNSUPPORTED'],
      [{ tag: '-x' }, 'TAG_INVALID'],
      [{ digest: 'sha256:1' }, 'DIGEST_INVALID'],
      [{ tag: 'x', at: 'yesterday' }, 'UNSUPPORTED'],
      [{ tag: 'x', repository: 'No' }, 'NAME_INVALID'],
    ] as const) {
      const answer = await restore(as['ada']!, body)
      expect([body, answer.status, codeOf(answer)]).toEqual([body, 400, code])
    }
    const unknown = await restore(as['ada']!, { tag: 'never' })
    expect([unknown.status, codeOf(unknown)]).toEqual([404, 'MANIFEST_UNKNOWN'])
    expect(detailOf(unknown)).toBe(`${repository}:never never was there`)
    expect((await restore(as['ada']!, { repository: 'team/never', tag: 'x' })).status).toBe(404)
    await remove(digest)
    await stage.running.registry.registry.db.query(
      `with m as (update manifests set deleted_at = deleted_at - interval '8 days')
       update tag_events set at = at - interval '8 days'`,
    )
    const over = await restore(as['ada']!, { tag: 'x' })
    expect([over.status, codeOf(over)]).toEqual([404, 'MANIFEST_UNKNOWN'])
    expect(detailOf(over)).toContain('the time in which it could be restored is over')
  })

  it('have a history, page by page, for who may pull', async () => {
    const digests = [await push('x'), await push('x'), await push('y')]
    await remove('x')
    const path = `/tags/history?repository=${repository}`
    const pages = await follow(as['pull']!, `${path}&limit=1`)
    expect(pages.flat().map(({ tag }) => tag)).toEqual(['x', 'y', 'x', 'x'])
    const [deleted, moved, made] = itemsOf(await as['pull']!('GET', `${path}&tag=x`))
    expect(deleted).toMatchObject({
      from: { digest: digests[1], restorable: true, until: expect.any(String) },
      to: null,
      actor: 'user:ada',
      cause: null,
    })
    expect(moved).toMatchObject({ from: { digest: digests[0] }, to: { digest: digests[1] } })
    expect(made).toMatchObject({ from: null, actor: null })
    for (const name of ['push', 'overwrite', 'delete']) {
      expect((await as[name]!('GET', path)).status).toBe(403)
    }
    expect((await as['dev']!('GET', `${path}&tag=x`)).status).toBe(403)
    expect((await as['pull']!('GET', '/tags/history?repository=team/never')).status).toBe(404)
  })

  it('have a history that names to who may pull some tags only what those named', async () => {
    for (const tag of ['internal-1', 'internal-1']) await push(tag)
    const [first, second] = [await push('dev-1'), await push('dev-1')]
    const path = `/tags/history?repository=${repository}`
    const unnamed = { digest: null, restorable: true }
    expect(itemsOf(await as['dev']!('GET', path))).toMatchObject([
      { tag: 'dev-1', from: { digest: first }, to: { digest: second } },
      { tag: 'dev-1', from: null, to: { digest: first } },
      { tag: 'internal-1', from: unnamed, to: unnamed },
      { tag: 'internal-1', from: null, to: unnamed },
    ])
  })

  it('have a history that does not tell strangers who it was', async () => {
    await push('x')
    await remove('x')
    const opened = { effect: 'allow', subject: 'anonymous', repositories: [repository] }
    await admin('POST', '/grants', { ...opened, actions: ['pull'] })
    const query = `/tags/history?repository=${repository}&limit=1`
    expect(itemsOf(await anonymous('GET', query))[0]).toMatchObject({ actor: null })
    expect(itemsOf(await as['pull']!('GET', query))[0]).toMatchObject({ actor: 'user:ada' })
  })
})

describe('what retention deleted, by the API', () => {
  it('is restored by an administrator, who is told of each', async () => {
    const digest = await push('x')
    const { db } = stage.running.registry.registry
    await remove('x')
    await db.query(
      `update tag_events set cause = 'retention' where from_digest = $1 and to_digest is null`,
      [digest],
    )
    const body = { since: new Date(Date.now() - 60_000).toISOString(), repositories: repository }
    const run = () => admin('POST', '/tags/restore-retention', body)
    const item = { repository, tag: 'x', digest }
    expect((await run()).body).toEqual({ items: [{ ...item, refusal: null }] })
    expect((await run()).body).toEqual({ items: [{ ...item, refusal: 'tag x is there' }] })
    expect(await digestOfTag('x')).toBe(digest)
    expect((await as['ada']!('POST', '/tags/restore-retention', body)).status).toBe(403)
    const bad = await admin('POST', '/tags/restore-retention', { ...body, repositories: 'A' })
    expect([bad.status, codeOf(bad)]).toEqual([400, 'NAME_INVALID'])
  })
})
