import { platform } from 'node:process'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { RawConnection } from '../support/raw-http.ts'
import {
  type Client,
  expectBlob,
  expectError,
  expectStatus,
  locationOf,
  pushBlob,
  type RunningRegistry,
  runRegistry,
  sha256,
  sha512,
  someBytes,
} from './client.ts'
import { pushImage } from './images.ts'

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
})
afterAll(() => running.close())

describe('case 39: Range', () => {
  const blob = someBytes(1000)
  const url = `/v2/case39/blobs/${sha256(blob)}`
  beforeAll(() => pushBlob(client, 'case39', blob))

  const parts = {
    'bytes=-5': [995, 999],
    'bytes=5-': [5, 999],
    'bytes=0-0': [0, 0],
    'bytes=0-1': [0, 1],
    'bytes=500-799': [500, 799],
    'bytes=-2000': [0, 999],
    'bytes=900-99999': [900, 999],
    'bytes=999-': [999, 999],
  } as const
  for (const [range, [first, last]] of Object.entries(parts)) {
    it(`${range} is answered with that part`, async () => {
      const answer = await client.get(url, { Range: range })
      expectStatus(answer, 206)
      expect(answer.headers['content-range']).toBe(`bytes ${first}-${last}/1000`)
      expect(answer.headers['content-length']).toBe(String(last - first + 1))
      expect(answer.headers['docker-content-digest']).toBe(sha256(blob))
      expect(answer.body.equals(blob.subarray(first, last + 1))).toBe(true)
    })
  }

  for (const range of ['bytes=1000-', 'bytes=5-1', 'bytes=-0', 'bytes=1000-2000']) {
    it(`${range} is answered 416, with a length that is true`, async () => {
      const answer = await client.get(url, { Range: range })
      expectStatus(answer, 416)
      expect(answer.headers['content-range']).toBe('bytes */1000')
      expect(answer.headers['content-length']).toBe(String(answer.body.length))
      expectStatus(await client.get(url), 200) // the same connection is still in step
    })
  }

  for (const range of ['foo=1-2', 'bytes=0-1,4-5', 'bytes=a-b', 'bytes=', 'bytes=-', '0-5']) {
    it(`${range} is answered with the whole`, async () => {
      const answer = await client.get(url, { Range: range })
      expectStatus(answer, 200)
      expect(answer.headers['content-range']).toBeUndefined()
      expect(answer.body.equals(blob)).toBe(true)
    })
  }

  it('does not change the length that HEAD tells', async () => {
    const answer = await client.head(url, { Range: 'bytes=0-9' })
    expectStatus(answer, 200)
    expect(answer.headers['content-length']).toBe('1000')
    expect(answer.headers['accept-ranges']).toBe('bytes')
  })

  it('with If-Range is a part only of the same content', async () => {
    const headers = { Range: 'bytes=0-9' }
    const { etag = '' } = (await client.head(url)).headers
    expect(etag).toBe(`"${sha256(blob)}"`)
    expectStatus(await client.get(url, { ...headers, 'If-Range': etag }), 206)
    const others = [`"${sha256('x')}"`, 'Wed, 21 Oct 2015 07:28:00 GMT']
    for (const other of others) {
      const answer = await client.get(url, { ...headers, 'If-Range': other })
      expectStatus(answer, 200)
      expect(answer.body.equals(blob)).toBe(true)
    }
  })

  it('of an empty blob is 416 or the whole', async () => {
    const digest = await pushBlob(client, 'case39', '')
    for (const range of ['bytes=0-', 'bytes=-5', 'bytes=0-0']) {
      const answer = await client.get(`/v2/case39/blobs/${digest}`, { Range: range })
      expect([200, 416]).toContain(answer.status)
      expect(answer.body).toHaveLength(0)
      expect(answer.headers['content-length']).toBe('0')
    }
  })
})

describe('a blob', () => {
  it('has the same headers on HEAD and GET', async () => {
    const blob = someBytes()
    const url = `/v2/blobs/blobs/${await pushBlob(client, 'blobs', blob)}`
    const [head, get] = [await client.head(url), await client.get(url)]
    const { date: _, ...headers } = head.headers
    expect(get.headers).toMatchObject(headers)
    expect(head.headers['content-length']).toBe('64')
    expect(head.headers['docker-content-digest']).toBe(sha256(blob))
    expect(head.body).toHaveLength(0)
  })

  it('of no bytes, and one of two, are blobs as others', async () => {
    for (const bytes of ['', '{}']) {
      const digest = await pushBlob(client, 'tiny', bytes)
      await expectBlob(client, 'tiny', Buffer.from(bytes))
      expectStatus(await client.delete(`/v2/tiny/blobs/${digest}`), 202)
      expectStatus(await client.head(`/v2/tiny/blobs/${digest}`), 404)
    }
  })

  it('is pulled by the digest it was pushed by, also both', async () => {
    const blob = someBytes()
    for (const digest of [sha512(blob), sha256(blob)]) {
      await pushBlob(client, 'both', blob, digest)
      const answer = await client.get(`/v2/both/blobs/${digest}`)
      expect(answer.headers['docker-content-digest']).toBe(digest)
      expect(answer.body.equals(blob)).toBe(true)
    }
  })

  it('is unknown in every other repository', async () => {
    const digest = await pushBlob(client, 'mine', someBytes())
    await pushBlob(client, 'yours', someBytes())
    expectError(await client.get(`/v2/yours/blobs/${digest}`), 404, 'BLOB_UNKNOWN')
    expectStatus(await client.head(`/v2/nobodys/blobs/${digest}`), 404)
  })

  it('is no manifest: its digest is unknown there', async () => {
    const digest = await pushBlob(client, 'mine', someBytes())
    expectError(await client.get(`/v2/mine/manifests/${digest}`), 404, 'MANIFEST_UNKNOWN')
  })

  it('is not changed after 304', async () => {
    const digest = await pushBlob(client, 'mine', someBytes())
    const answer = await client.get(`/v2/mine/blobs/${digest}`, { 'If-None-Match': `"${digest}"` })
    expectStatus(answer, 304)
    expect(answer.headers['docker-content-digest']).toBe(digest)
  })

  for (const digest of ['sha256:zz', 'md5:d41d8cd98f00b204e9800998ecf8427e', 'nothing', 'a:b:c']) {
    it(`under ${digest} is answered 400 or 404`, async () => {
      for (const method of ['GET', 'HEAD', 'DELETE']) {
        const answer = await client.send(method, `/v2/mine/blobs/${digest}`)
        expect([400, 404]).toContain(answer.status)
      }
    })
  }
})

describe('case 25: a POST', () => {
  it('that crane sends begins an upload', async () => {
    const answer = await client.send('POST', '/v2/case25/blobs/uploads/?origin=somewhere', {
      headers: { 'Content-Type': 'application/json' },
    })
    expectStatus(answer, 202)
    expect(answer.headers['range']).toBe('0-0')
    expect(answer.headers['content-length']).toBe('0')
  })

  it('with digest and body is a whole push', async () => {
    for (const digestOf of [sha256, sha512]) {
      const blob = someBytes()
      const url = `/v2/case25/blobs/uploads/?digest=${digestOf(blob)}`
      const answer = await client.send('POST', url, { body: blob })
      expectStatus(answer, 201)
      expect(locationOf(answer)).toBe(`/v2/case25/blobs/${digestOf(blob)}`)
      expect(answer.headers['docker-content-digest']).toBe(digestOf(blob))
      await expectBlob(client, 'case25', blob, digestOf(blob))
    }
  })

  it('with a digest that is none, or of an unknown algorithm, is 400', async () => {
    for (const query of ['digest=sha256:XYZ', 'digest=', 'digest-algorithm=md5']) {
      const answer = await client.send('POST', `/v2/case25/blobs/uploads/?${query}`, { body: 'x' })
      expectError(answer, 400, 'DIGEST_INVALID')
    }
  })
})

describe('case 34, for blobs: a blob that a manifest needs', () => {
  it('is not deleted, and the image stays whole', async () => {
    const image = await pushImage(client, 'case34', 'x')
    const url = `/v2/case34/blobs/${sha256(image.layer)}`

    expectError(await client.delete(url), 405, 'UNSUPPORTED')
    await expectBlob(client, 'case34', image.layer)

    expectStatus(await client.delete(`/v2/case34/manifests/${image.digest}`), 202)
    expectStatus(await client.delete(url), 202)
    expectError(await client.get(url), 404, 'BLOB_UNKNOWN')
    expectError(await client.delete(url), 404, 'BLOB_UNKNOWN')
  })
})

describe.skipIf(platform !== 'linux')('100 downloads that are broken off', () => {
  it('leave nothing open', async () => {
    const { host, storage } = running.registry
    const blob = someBytes(16 * 2 ** 20)
    const url = `/v2/downloads/blobs/${await pushBlob(client, 'downloads', blob)}`
    const begin = async () => {
      const connection = await RawConnection.open(host)
      await connection.begin('GET', url, { Range: 'bytes=10-' })
      return connection
    }
    const connections = await Promise.all(Array.from({ length: 100 }, begin))
    await vi.waitFor(async () => expect(await storage.openHandles()).not.toBe(0), 10_000)

    await Promise.all(connections.map((connection) => connection.reset()))

    await vi.waitFor(async () => expect(await storage.openHandles()).toBe(0), 10_000)
    await expectBlob(client, 'downloads', blob)
  })
})
