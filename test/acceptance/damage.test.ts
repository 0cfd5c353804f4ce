import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Client,
  expectBlob,
  expectError,
  expectStatus,
  pushBlob,
  type RunningRegistry,
  runRegistry,
  someBytes,
} from './client.ts'

describe('a blob whose bytes were damaged behind the server', () => {
  let running: RunningRegistry
  let client: Client
  beforeAll(async () => {
    running = await runRegistry()
    client = running.client
  })
  afterAll(() => running.close())

  async function locationOf(digest: string): Promise<string> {
    const { pool } = running.registry.database
    const { rows } = await pool.query('select location from blobs where digest = $1', [digest])
    return rows[0].location
  }

  it('is an error without the headers of the content when it is gone', async () => {
    const digest = await pushBlob(client, 'damage/gone', someBytes())
    await running.registry.storage.lose(await locationOf(digest))
    const answer = await client.get(`/v2/damage/gone/blobs/${digest}`)
    expectError(answer, 500, 'UNKNOWN')
    for (const name of ['cache-control', 'etag', 'docker-content-digest', 'content-range']) {
      expect(answer.headers).not.toHaveProperty(name)
    }
  })

  it('never ends like a whole answer when it is too short', async () => {
    const digest = await pushBlob(client, 'damage/short', someBytes(2 ** 20))
    await running.registry.storage.shorten(await locationOf(digest), 2 ** 19)
    const outcome = await client.get(`/v2/damage/short/blobs/${digest}`).catch(() => undefined)
    expect(outcome?.status).not.toBe(200)
  })

  it.each(['gone', 'too short'])('is healed by the next push when it is %s', async (damage) => {
    const bytes = someBytes(1000)
    const digest = await pushBlob(client, 'damage/first', bytes)
    const { storage } = running.registry
    const location = await locationOf(digest)
    await (damage === 'gone' ? storage.lose(location) : storage.shorten(location, 10))
    await pushBlob(client, 'damage/second', bytes)
    for (const repository of ['damage/first', 'damage/second']) {
      await expectBlob(client, repository, bytes)
    }
    expect(await storage.blobs.size(await locationOf(digest))).toBe(1000)
  })

  it('is not answered for a path that only looks like an endpoint', async () => {
    expectStatus(await client.delete('/API/v1/repositories/damage/first'), 404)
    expectStatus(await client.get('/HEALTHZ'), 404)
  })
})
