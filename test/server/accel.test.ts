import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  expectBlob,
  expectStatus,
  pushBlob,
  type RunningRegistry,
  runRegistry,
  sha256,
  someBytes,
} from '../acceptance/client.ts'

const settings = { accelPath: '/files/' }

describe('a blob, where a proxy has the folder of the blobs', () => {
  let behind: RunningRegistry
  beforeAll(async () => {
    behind = await runRegistry({ settings, trustedProxies: ['127.0.0.1'] })
  })
  afterAll(() => behind.close())

  it('is sent by the proxy, if it is a file', async () => {
    const { client, registry } = behind
    const blob = someBytes()
    const digest = await pushBlob(client, 'app', blob)
    const { rows } = await registry.database.pool.query<{ location: string }>(
      'select location from blobs where digest = $1',
      [digest],
    )
    const file = registry.storage.blobs.filePath?.(rows[0]!.location)
    if (file === undefined) return expectBlob(client, 'app', blob)

    const answer = await client.get(`/v2/app/blobs/${digest}`, { Range: 'bytes=1-2' })
    expectStatus(answer, 200)
    expect(answer.headers['x-accel-redirect']).toBe(`/files/${file}`)
    expect(answer.headers['docker-content-digest']).toBe(digest)
    expect(answer.body).toHaveLength(0)
    return undefined
  })

  it('is asked after here', async () => {
    const { client } = behind
    const digest = await pushBlob(client, 'app', someBytes())
    const path = `/v2/app/blobs/${digest}`
    const head = await client.head(path)
    expectStatus(head, 200)
    expect(head.headers['content-length']).toBe('64')
    expect(head.headers['x-accel-redirect']).toBeUndefined()
    const same = await client.get(path, { 'If-None-Match': `"${digest}"` })
    expectStatus(same, 304)
    expect(same.headers['x-accel-redirect']).toBeUndefined()
  })

  it('is nowhere when the repository has none of it', async () => {
    const digest = await pushBlob(behind.client, 'app', someBytes())
    expectStatus(await behind.client.get(`/v2/other/blobs/${digest}`), 404)
    expectStatus(await behind.client.get(`/v2/app/blobs/${sha256('nobody has this')}`), 404)
  })

  it('is sent to others by this server', async (context) => {
    const { client, close } = await runRegistry({ settings, trustedProxies: ['192.0.2.1'] })
    context.onTestFinished(close)
    const blob = someBytes()
    await pushBlob(client, 'app', blob)
    await expectBlob(client, 'app', blob)
  })
})

describe('who may not pull', () => {
  it('is not sent to the file either', async (context) => {
    const options = { settings, trustedProxies: ['127.0.0.1'], access: { mode: 'token' } } as const
    const { client, close } = await runRegistry(options)
    context.onTestFinished(close)
    const answer = await client.get(`/v2/app/blobs/${sha256('x')}`)
    expectStatus(answer, 401)
    expect(answer.headers['x-accel-redirect']).toBeUndefined()
  })
})
