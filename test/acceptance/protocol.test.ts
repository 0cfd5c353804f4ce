import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RawConnection, rawRequest } from '../support/raw-http.ts'
import {
  type Answer,
  type Client,
  expectBlob,
  expectError,
  expectStatus,
  json,
  locationOf,
  pushBlob,
  type RunningRegistry,
  runRegistry,
  sendChunk,
  sha256,
  someBytes,
  startUpload,
} from './client.ts'
import { artifact, pushEmpty, pushImage, pushManifest, putManifest } from './images.ts'

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
})
afterAll(() => running.close())

describe('the root', () => {
  it('says that this is a registry', async () => {
    const answer = await client.get('/v2/')
    expectStatus(answer, 200)
    expect(json(answer)).toEqual({})
    expect(answer.headers['docker-distribution-api-version']).toBe('registry/2.0')
    expectStatus(await client.head('/v2/'), 200)
  })

  it('does so without its slash, or leads there', async () => {
    expect([200, 301]).toContain((await client.get('/v2')).status)
  })

  it('and what is not there are refused in JSON', async () => {
    expectError(await client.send('POST', '/v2/'), 405, 'UNSUPPORTED')
    for (const path of ['/v1/', '/', '/v2/x', '/v2/_unknown', '/v2/a/unknown/x', '/api/v1/x']) {
      expectError(await client.get(path), 404, 'UNSUPPORTED')
    }
  })
})

describe('a parameter ns, which mirrors are sent', () => {
  it('is ignored on every route', async () => {
    const image = await pushImage(client, 'mirrored', 'x')
    const ns = '?ns=docker.io'
    const paths = [
      '/v2/',
      '/v2/mirrored/manifests/x',
      `/v2/mirrored/blobs/${sha256(image.layer)}`,
      '/v2/mirrored/tags/list',
      `/v2/mirrored/referrers/${image.digest}`,
      '/v2/_catalog',
    ]
    for (const path of paths) {
      const [without, with_] = [await client.get(path), await client.get(path + ns)]
      expectStatus(with_, 200)
      expect(with_.body.equals(without.body)).toBe(true)
      expectStatus(await client.head(path + ns), 200)
    }
    const begun = await client.send('POST', `/v2/mirrored/blobs/uploads/${ns}`)
    const url = `${locationOf(begun)}${ns}&digest=${sha256('x')}`
    expectStatus(await client.send('PUT', url, { body: 'x' }), 201)
    const reference = `x${ns}`
    expectStatus(await putManifest(client, 'mirrored', reference, image), 201)
    expectStatus(await client.delete(`/v2/mirrored/manifests/${reference}`), 202)
  })
})

function expectEmpty(answer: Answer, status: number): void {
  expectStatus(answer, status)
  expect(answer.body).toHaveLength(0)
  expect(answer.headers['content-length']).toBe('0')
  expect(answer.headers['content-type']).toBeUndefined()
}

describe('an answer without a body', () => {
  it('keeps its status, has length 0 and no type: 201 and 202', async () => {
    const blob = someBytes()
    await pushEmpty(client, 'empty')
    expectEmpty(await client.send('POST', '/v2/empty/blobs/uploads/'), 202)
    const location = await startUpload(client, 'empty')
    expectEmpty(await sendChunk(client, location, blob, [0, 63]), 202)
    const digest = sha256(blob)
    expectEmpty(await client.send('PUT', `${location}?digest=${digest}`), 201)
    const mount = `mount=${digest}&from=empty`
    expectEmpty(await client.send('POST', `/v2/other/blobs/uploads/?${mount}`), 201)
    const content = artifact()
    expectEmpty(await pushManifest(client, 'empty', 'x', content), 201)
    expectEmpty(await client.delete('/v2/empty/manifests/x'), 202)
    expectEmpty(await client.delete(`/v2/empty/manifests/${content.digest}`), 202)
    expectEmpty(await client.delete(`/v2/empty/blobs/${digest}`), 202)
  })

  it('has no length at all when it is 204', async () => {
    const location = await startUpload(client, 'empty')
    for (const method of ['GET', 'DELETE']) {
      const answer = await client.send(method, location)
      expectStatus(answer, 204)
      expect(answer.headers['content-length']).toBeUndefined()
      expect(answer.headers['content-type']).toBeUndefined()
    }
  })
})

describe('a 201', () => {
  it('always names the digest and where it can be pulled, on this host', async () => {
    const blob = someBytes()
    await pushEmpty(client, 'created')
    const location = await startUpload(client, 'created')
    const content = artifact()
    const created: [Answer, Buffer, string][] = [
      [
        await client.send('PUT', `${location}?digest=${sha256(blob)}`, { body: blob }),
        blob,
        sha256(blob),
      ],
      [
        await client.send('POST', `/v2/created/blobs/uploads/?digest=${sha256('y')}`, {
          body: 'y',
        }),
        Buffer.from('y'),
        sha256('y'),
      ],
      [
        await client.send('POST', `/v2/mounted/blobs/uploads/?mount=${sha256(blob)}&from=created`),
        blob,
        sha256(blob),
      ],
      [await putManifest(client, 'created', 'x', content), content.bytes, content.digest],
      [
        await putManifest(client, 'created', content.digest, content),
        content.bytes,
        content.digest,
      ],
    ]
    for (const [answer, bytes, digest] of created) {
      expectStatus(answer, 201)
      expect(answer.headers['docker-content-digest']).toBe(digest)
      expect(locationOf(answer)).toMatch(/^\/v2\//)
      const pulled = await client.get(locationOf(answer))
      expectStatus(pulled, 200)
      expect(pulled.body.equals(bytes)).toBe(true)
    }
  })
})

describe('a method that a route has not', () => {
  it('is 405 and says which there are', async () => {
    const digest = sha256('x')
    const routes = {
      '/v2/a/tags/list': 'GET, HEAD',
      [`/v2/a/referrers/${digest}`]: 'GET, HEAD',
      [`/v2/a/blobs/${digest}`]: 'GET, HEAD, DELETE',
      '/v2/a/manifests/x': 'GET, HEAD, PUT, DELETE',
      '/v2/a/blobs/uploads/': 'POST',
    }
    for (const [path, allowed] of Object.entries(routes)) {
      const refused = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].filter(
        (method) => !allowed.split(', ').includes(method),
      )
      for (const method of refused) {
        const answer = await client.send(method, path)
        expectStatus(answer, 405)
        expect(answer.headers['allow']).toBe(allowed)
      }
    }
  })
})

describe('a client that waits for 100 Continue', () => {
  it('is told to go on, and then the result', async () => {
    const blob = someBytes(100_000)
    const location = await startUpload(client, 'expect')
    const connection = await RawConnection.open(running.registry.host)
    await connection.begin('PUT', `${location}?digest=${sha256(blob)}`, {
      'Content-Length': blob.length,
      Expect: '100-continue',
    })
    expect((await connection.answer()).status).toBe(100)
    await connection.send(blob)
    expect((await connection.answer()).status).toBe(201)
    await connection.close()
    await expectBlob(client, 'expect', blob)
  })
})

describe('two requests sent at once on one connection', () => {
  it('are answered one after the other', async () => {
    const digest = await pushBlob(client, 'pipelined', someBytes())
    const connection = await RawConnection.open(running.registry.host)
    await connection.begin('HEAD', `/v2/pipelined/blobs/${digest}`)
    await connection.begin('GET', '/v2/pipelined/tags/list')
    await connection.begin('GET', '/v2/')
    expect((await connection.answer('HEAD')).status).toBe(200)
    expect((await connection.answer()).body.toString()).toContain('pipelined')
    expect((await connection.answer()).body.toString()).toBe('{}')
    await connection.close()
  })
})

describe('a request in the absolute form', () => {
  it('is one for its path', async () => {
    const { host } = running.registry
    expectStatus(await rawRequest(host, 'GET', `http://${host}/v2/`), 200)
    const answer = await rawRequest(host, 'GET', `http://${host}/v2/a/../b/tags/list`)
    expect([400, 404]).toContain(answer.status)
  })
})

describe('too many requests', () => {
  it('are answered 429, with whole seconds to wait', async () => {
    const busy = await runRegistry({ access: { mode: 'token' }, settings: { tokenRequests: 1 } })
    try {
      expectStatus(await busy.client.get('/token'), 200)
      const answer = await busy.client.get('/token')
      expectError(answer, 429, 'TOOMANYREQUESTS')
      expect(answer.headers['retry-after']).toMatch(/^[1-9]\d*$/)
    } finally {
      await busy.close()
    }
  })
})

describe('a large PUT that is refused with 401', () => {
  it('is answered early, and the connection closes in order', async () => {
    const closed = await runRegistry({ access: { mode: 'token' } })
    try {
      const connection = await RawConnection.open(closed.registry.host)
      await connection.begin('PUT', '/v2/a/manifests/x', { 'Content-Length': 50_000_000 })
      await connection.send(Buffer.alloc(100_000))
      const answer = await connection.answer()
      expectError(answer, 401, 'UNAUTHORIZED')
      expect(answer.headers['connection']).toBe('close')
      await connection.untilEnded()
      await connection.close()
    } finally {
      await closed.close()
    }
  })

  it('leaves the connection usable when the body was whole', async () => {
    const closed = await runRegistry({ access: { mode: 'token' } })
    try {
      const connection = await RawConnection.open(closed.registry.host)
      for (let time = 0; time < 3; time++) {
        await connection.begin('PUT', '/v2/a/manifests/x', { 'Content-Length': 10 })
        await connection.send('0123456789')
        const answer = await connection.answer()
        expectError(answer, 401, 'UNAUTHORIZED')
        if (answer.headers['connection'] === 'close') return
      }
      await connection.close()
    } finally {
      await closed.close()
    }
  })
})
