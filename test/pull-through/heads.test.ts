import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { expectError, expectStatus, pushBlob, someBytes } from '../acceptance/client.ts'
import type { Match } from '../support/upstream/fault-proxy.ts'
import { type AgingStage, NAME, openAgingStage } from './aging.ts'
import { ALWAYS, answering, FIELDS } from './failures.ts'

let stage: AgingStage
let count = 0
let repository: string

beforeAll(async () => {
  stage = await openAgingStage()
})
afterAll(() => stage.close())
beforeEach(async () => {
  repository = `some/app-${count++}`
  await stage.renew(FIELDS)
  stage.proxy.reset()
})
afterEach(() => stage.recover())

const pull = () => stage.pull(repository)

const HEAD: Match = { kind: 'manifest', method: 'HEAD' }

const withDigest =
  (digest: string | undefined) =>
  ({ proxy, failBy }: AgingStage) => {
    const headers = { 'Docker-Content-Digest': digest }
    failBy(proxy.changeHeaders('manifest', { headers, ...ALWAYS }))
  }

describe('a registry that says little of a manifest’s head is asked for the whole', () => {
  it.each<[string, (stage: AgingStage) => void]>([
    ['when it has no digest', withDigest(undefined)],
    ['when its digest is none', withDigest('md5:0')],
    ['when it answers 405', answering({ status: 405 }, HEAD)],
    ['when it answers 501', answering({ status: 501 }, HEAD)],
  ])('%s', async (_, begin) => {
    const first = await stage.push(repository)
    begin(stage)
    expect((await pull()).body).toEqual(first.bytes)
    await stage.age(301)
    expect((await pull()).body, 'the same again').toEqual(first.bytes)
    const next = await stage.push(repository)
    await stage.age(301)
    const answer = await pull()
    expect(answer.body).toEqual(next.bytes)
    expect(answer.headers).not.toHaveProperty('warning')
    const tag = `/v2/${repository}/manifests/latest`
    const each = [`HEAD ${tag}`, `GET ${tag}`]
    const asked = stage.proxy.requests().map(({ method, path }) => `${method} ${path}`)
    expect(asked).toEqual([...each, ...each, ...each])
    const { rows } = await stage.here.registry.database.pool.query(
      `select to_digest from tag_events e join repositories r on r.id = e.repository_id
       where r.name = $1 order by e.id`,
      [`${NAME}/${repository}`],
    )
    expect(rows).toEqual([{ to_digest: first.digest }, { to_digest: next.digest }])
  })
})

describe('a blob that is not kept', () => {
  it.each([
    [404, 404, 'BLOB_UNKNOWN'],
    [401, 404, 'BLOB_UNKNOWN'],
    [403, 404, 'BLOB_UNKNOWN'],
    [429, 429, 'TOOMANYREQUESTS'],
    [500, 503, 'UNAVAILABLE'],
    [503, 503, 'UNAVAILABLE'],
  ])('is told of when the upstream answers %d', async (status, expected, code) => {
    const bytes = someBytes()
    const digest = await pushBlob(stage.upstream, repository, bytes)
    answering({ status, message: 'so it is' }, 'blob')(stage)
    const blob = `/v2/${NAME}/${repository}/blobs/${digest}`
    expectStatus(await stage.client.head(blob), expected)
    await stage.renew(FIELDS)
    const answer = await stage.client.get(blob)
    expectError(answer, expected, code)
    expect(answer.body.toString()).toContain('so it is')
    await stage.recover()
    await stage.renew(FIELDS)
    expect((await stage.client.get(blob)).body).toEqual(bytes)
  })
})
