import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Config } from '../../config/config.ts'
import { parseUpstream } from '../../config/upstream-settings.ts'
import { refresh } from '../../registry/pull-through/refresh.ts'
import { followUpstreams } from '../../server/upstreams.ts'
import { Changes } from '../../storage/metadata/changes.ts'
import { expectError, expectStatus } from '../acceptance/client.ts'
import { type AgingStage, NAME, openAgingStage } from './aging.ts'

let stage: AgingStage
let heard: Changes
let operator: Changes

beforeEach(async () => {
  stage = await openAgingStage()
  const { registry, database } = stage.here.registry
  const { pool: db, connection } = database
  const { log, pullThrough, cache } = registry
  heard = new Changes({ id: randomUUID(), db, connection, log })
  operator = new Changes({ id: randomUUID(), db, connection, log })
  const upstreams = [parseUpstream(NAME, { url: stage.proxy.url, privateAddresses: true })]
  const config = { upstreams } as unknown as Config
  await followUpstreams(pullThrough.upstreams, { config, db, log, cache, changes: heard })
  for (const changes of [heard, operator]) changes.start()
  await vi.waitUntil(() => heard.areHeard(), { timeout: 10_000 })
})
afterEach(async () => {
  await Promise.all([heard.close(), operator.close()])
  await stage.close()
})

it('what an operator refreshes is asked for again by every server', async () => {
  const { registry } = stage.here.registry
  expectError(await stage.pull('some/app', 'absent'), 404, 'MANIFEST_UNKNOWN')
  const old = await stage.push('some/app')
  expect((await stage.pull('some/app')).body).toEqual(old.bytes)
  await stage.push('some/app', 'absent')
  const next = await stage.push('some/app')
  expectError(await stage.pull('some/app', 'absent'), 404, 'MANIFEST_UNKNOWN')
  expect((await stage.pull('some/app')).body).toEqual(old.bytes)

  expect(await refresh({ db: registry.db, changes: operator }, { upstream: NAME })).toBe(1)
  await vi.waitFor(async () => expectStatus(await stage.pull('some/app', 'absent'), 200), {
    timeout: 10_000,
  })
  expect((await stage.pull('some/app')).body).toEqual(next.bytes)
})

it('so is what failed while it was kept', async () => {
  const { registry } = stage.here.registry
  const image = await stage.push('some/app')
  await stage.pull('some/app')
  await stage.age(301)
  stage.proxy.answer('manifest', { status: 404 })
  expect((await stage.pull('some/app')).headers).toHaveProperty('warning')
  expect((await stage.pull('some/app')).headers).toHaveProperty('warning')

  await refresh({ db: registry.db, changes: operator }, { upstream: NAME })
  await vi.waitFor(
    async () => {
      const answer = await stage.pull('some/app')
      expect(answer.body).toEqual(image.bytes)
      expect(answer.headers).not.toHaveProperty('warning')
    },
    { timeout: 10_000 },
  )
})
