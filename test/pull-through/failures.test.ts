import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Answer, expectError, expectStatus } from '../acceptance/client.ts'
import type { Image } from '../acceptance/images.ts'
import { type AgingStage, NAME, openAgingStage } from './aging.ts'
import { FAILURES, type Failure, FIELDS } from './failures.ts'

let patient: AgingStage
let hasty: AgingStage
/** One of them. */
let stage: AgingStage
let count = 0
let repository: string

beforeAll(async () => {
  patient = await openAgingStage()
  hasty = await openAgingStage({ patience: { kept: 1000, missing: 1000 } })
})
afterAll(async () => {
  await patient.close()
  await hasty.close()
})
beforeEach(() => {
  repository = `some/app-${count++}`
})
afterEach(() => stage.recover())

const pull = (reference?: string, method?: 'GET' | 'HEAD') =>
  stage.pull(repository, reference, method)
const asked = () => stage.proxy.requests()

/** An image that is kept, and of which there is another now if only that can fail. */
async function keep({ isOfContent = false }: Failure): Promise<Image> {
  const image = await stage.push(repository)
  expectStatus(await pull(), 200)
  if (isOfContent) await stage.push(repository)
  stage.proxy.reset()
  return image
}

function expectFailure(answer: Answer, { status, code, reason, retryAfter }: Failure): void {
  expectError(answer, status, code)
  const text = answer.body.toString()
  expect(text).toContain(`${NAME}: `)
  expect(text).toContain(reason)
  expect(answer.headers).not.toHaveProperty('warning')
  expect(answer.headers).not.toHaveProperty('docker-content-digest')
  expect(answer.headers).not.toHaveProperty('cache-status')
  const isLater = status === 429 || status === 503
  expect(answer.headers['retry-after']).toSatisfy(isLater ? isSeconds(retryAfter) : isAbsent)
}

const isAbsent = (header: unknown) => header === undefined

/** About so many: some may have passed. */
const isSeconds = (about: number | undefined) => (header: unknown) => {
  const seconds = Number(header)
  return about === undefined ? seconds >= 1 : seconds <= about && seconds > about - 5
}

function expectStale(answer: Answer, image: Image, { reason }: Failure): void {
  expectStatus(answer, 200)
  expect(answer.body).toEqual(image.bytes)
  expect(answer.headers['docker-content-digest']).toBe(image.digest)
  expect(answer.headers['content-type']).toBe(image.mediaType)
  const warning = answer.headers['warning'] ?? ''
  expect(warning).toMatch(/^299 - "served as it was: [\x20\x21\x23-\x5b\x5d-\x7e]+"$/)
  expect(warning).toContain(`${NAME}: `)
  expect(warning).toContain(reason)
  expect(answer.headers['cache-status']).toBe('Slipway; hit; fwd=stale')
}

describe.each(Object.entries(FAILURES))('when %s', (_, failure) => {
  beforeEach(async () => {
    stage = failure.isSilent ? hasty : patient
    await stage.renew(FIELDS)
    stage.proxy.reset()
  })

  it('a tag that is fresh is served, and nothing asked', async () => {
    const image = await keep(failure)
    await failure.begin(stage)
    const answer = await pull()
    expectStatus(answer, 200)
    expect(answer.body).toEqual(image.bytes)
    expect(answer.headers['cache-status']).toBe('Slipway; hit')
    expect(answer.headers).not.toHaveProperty('warning')
    expect(asked()).toEqual([])
  })

  it('one that is not is served as it was, with the reason', async () => {
    const image = await keep(failure)
    await stage.age(301)
    await failure.begin(stage)
    expectStale(await pull(), image, failure)
    const before = asked().length
    expectStale(await pull(), image, failure)
    expect((await pull('latest', 'HEAD')).headers['warning']).toContain(failure.reason)
    expect(asked().length, 'nobody waits again so soon').toBe(before)
  })

  it('one that is too old is not, and the reason told', async () => {
    await keep(failure)
    await stage.age(FIELDS.staleSeconds + 1)
    await failure.begin(stage)
    expectFailure(await pull(), failure)
    expectStatus(await pull('latest', 'HEAD'), failure.status)
  })

  it('one that was never kept cannot be had, and the reason is told', async () => {
    await stage.push(repository)
    await failure.begin(stage)
    expectFailure(await pull(), failure)
    expectFailure(await pull(), failure)
    const head = await pull('latest', 'HEAD')
    expectStatus(head, failure.status)
    expect(head.body.length).toBe(0)
  })

  it('a manifest that is kept is served by digest, and nothing asked', async () => {
    const image = await keep(failure)
    await stage.age(FIELDS.staleSeconds + 1)
    await failure.begin(stage)
    const answer = await pull(image.digest)
    expect(answer.body).toEqual(image.bytes)
    expect(answer.headers['cache-status']).toBe('Slipway; hit')
    expect(asked()).toEqual([])
  })

  it('and all is well when it is over', async () => {
    await stage.push(repository)
    await failure.begin(stage)
    expectFailure(await pull(), failure)
    await stage.recover()
    await stage.renew(FIELDS)
    const image = await stage.push(repository)
    const answer = await pull()
    expectStatus(answer, 200)
    expect(answer.body).toEqual(image.bytes)
  })
})
