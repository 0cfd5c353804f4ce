import { rm, stat, truncate } from 'node:fs/promises'
import path from 'node:path'
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

describe('a blob whose file was damaged behind the server', () => {
  let running: RunningRegistry
  let client: Client
  beforeAll(async () => {
    running = await runRegistry()
    client = running.client
  })
  afterAll(() => running.close())

  const fileOf = (digest: string) => {
    const hex = digest.slice('sha256:'.length)
    const folder = path.join('docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex)
    return path.join(running.registry.root, folder, 'data')
  }

  it('is an error without the headers of the content when it is gone', async () => {
    const digest = await pushBlob(client, 'damage/gone', someBytes())
    await rm(fileOf(digest))
    const answer = await client.get(`/v2/damage/gone/blobs/${digest}`)
    expectError(answer, 500, 'UNKNOWN')
    for (const name of ['cache-control', 'etag', 'docker-content-digest', 'content-range']) {
      expect(answer.headers).not.toHaveProperty(name)
    }
  })

  it('never ends like a whole answer when it is too short', async () => {
    const digest = await pushBlob(client, 'damage/short', someBytes(2 ** 20))
    await truncate(fileOf(digest), 2 ** 19)
    const outcome = await client.get(`/v2/damage/short/blobs/${digest}`).catch(() => undefined)
    expect(outcome?.status).not.toBe(200)
  })

  it.each(['gone', 'too short'])('is healed by the next push when it is %s', async (damage) => {
    const bytes = someBytes(1000)
    const digest = await pushBlob(client, 'damage/first', bytes)
    const file = fileOf(digest)
    await (damage === 'gone' ? rm(file) : truncate(file, 10))
    await pushBlob(client, 'damage/second', bytes)
    for (const repository of ['damage/first', 'damage/second']) {
      await expectBlob(client, repository, bytes)
    }
    expect((await stat(file)).size).toBe(1000)
  })

  it('is not answered for a path that only looks like an endpoint', async () => {
    expectStatus(await client.delete('/API/v1/repositories/damage/first'), 404)
    expectStatus(await client.get('/HEALTHZ'), 404)
  })
})
