import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Client,
  expectBlob,
  expectError,
  expectStatus,
  locationOf,
  pushBlob,
  type RunningRegistry,
  runRegistry,
  sendChunk,
  sha256,
  sha512,
  someBytes,
  startUpload,
} from './client.ts'

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
})
afterAll(() => running.close())

/** Where a client that asks would go on. */
async function rangeOf(location: string): Promise<string | undefined> {
  const answer = await client.get(location)
  expectStatus(answer, 204)
  expect(answer.headers.location).toBe(location)
  expect(answer.body).toHaveLength(0)
  return answer.headers['range']
}

describe('case 11: a digest that is none', () => {
  const hex = 'a'.repeat(64)
  const queries = {
    'not hex': 'digest=sha256:XYZ',
    '63 digits': `digest=sha256:${hex.slice(1)}`,
    '65 digits': `digest=sha256:${hex}a`,
    'upper case': `digest=sha256:${hex.toUpperCase()}`,
    'an upper-case algorithm': `digest=SHA256:${hex}`,
    'an algorithm nobody computes': 'digest=md5:d41d8cd98f00b204e9800998ecf8427e',
    'a sha512 of the wrong length': `digest=sha512:${hex}`,
    empty: 'digest=',
    missing: '',
    'twice different': `digest=${sha256('x')}&digest=${sha256('y')}`,
    'with a plus, which a query makes a space': 'digest=sha256:ab+cd',
  }
  for (const [what, query] of Object.entries(queries)) {
    it(`is refused, and the session lives: ${what}`, async () => {
      const blob = someBytes()
      const location = await startUpload(client, 'case11')
      await sendChunk(client, location, blob, [0, 9])

      const refused = await client.send('PUT', `${location}?${query}`, { body: blob.subarray(10) })

      expectError(refused, 400, 'DIGEST_INVALID')
      expect(await rangeOf(location)).toBe('0-9')
      const retry = `${location}?digest=${sha256(blob)}`
      expectStatus(await client.send('PUT', retry, { body: blob.subarray(10) }), 201)
      await expectBlob(client, 'case11', blob)
    })
  }

  it('is taken when it is given twice the same', async () => {
    const blob = someBytes()
    const location = await startUpload(client, 'case11')
    const query = `digest=${sha256(blob)}&digest=${sha256(blob)}`
    expectStatus(await client.send('PUT', `${location}?${query}`, { body: blob }), 201)
  })
})

describe('case 12: bytes that are not those of the digest', () => {
  for (const digestOf of [sha256, sha512]) {
    it(`are refused and leave nothing: ${digestOf('').split(':')[0]}`, async () => {
      const blob = someBytes()
      const location = await startUpload(client, 'case12')
      const url = `${location}?digest=${digestOf(blob)}`

      expectError(await client.send('PUT', url, { body: someBytes() }), 400, 'DIGEST_INVALID')

      expectStatus(await client.head(`/v2/case12/blobs/${digestOf(blob)}`), 404)
      expectStatus(await client.send('PUT', url, { body: blob }), 201)
      await expectBlob(client, 'case12', blob, digestOf(blob))
    })
  }

  it('are refused when they came in chunks, and in a single POST', async () => {
    const [blob, other] = [someBytes(), someBytes()]
    const location = await startUpload(client, 'case12')
    await sendChunk(client, location, other, [0, 63])
    const put = await client.send('PUT', `${location}?digest=${sha256(blob)}`)
    expectError(put, 400, 'DIGEST_INVALID')

    const url = `/v2/case12/blobs/uploads/?digest=${sha256(blob)}`
    expectError(await client.send('POST', url, { body: other }), 400, 'DIGEST_INVALID')

    for (const digest of [sha256(blob), sha256(other)]) {
      expectStatus(await client.head(`/v2/case12/blobs/${digest}`), 404)
    }
    await pushBlob(client, 'case12', blob)
  })
})

describe('case 14: a chunk that leaves a gap', () => {
  it('is refused with the place to go on from', async () => {
    const blob = someBytes(250)
    const location = await startUpload(client, 'case14')
    expect((await sendChunk(client, location, blob, [0, 99])).headers['range']).toBe('0-99')

    const refused = await sendChunk(client, location, blob, [150, 249])

    expectError(refused, 416, 'BLOB_UPLOAD_INVALID')
    expect(refused.headers['range']).toBe('0-99')
    expect(locationOf(refused)).toBe(location)
    expect(await rangeOf(location)).toBe('0-99')
    const next = await sendChunk(client, location, blob, [100, 199])
    expectStatus(next, 202)
    expect(next.headers['range']).toBe('0-199')
    expect(locationOf(next)).toBe(location)
  })

  it('is refused as the first one too, and the session begins at 0', async () => {
    const blob = someBytes(20)
    const location = await startUpload(client, 'case14')
    expectError(await sendChunk(client, location, blob, [10, 19]), 416, 'BLOB_UPLOAD_INVALID')
    expect(await rangeOf(location)).toMatch(/^0-(?:0|-1)$/)
    expectStatus(await sendChunk(client, location, blob, [0, 19]), 202)
  })
})

describe('case 15: a chunk that is sent again', () => {
  it('is refused and not appended', async () => {
    const blob = someBytes(100)
    const location = await startUpload(client, 'case15')
    await sendChunk(client, location, blob, [0, 99])

    const again = await sendChunk(client, location, blob, [0, 99])

    expectError(again, 416, 'BLOB_UPLOAD_INVALID')
    expect(again.headers['range']).toBe('0-99')
    const end = await client.send('PUT', `${location}?digest=${sha256(blob)}`)
    expectStatus(end, 201)
    await expectBlob(client, 'case15', blob)
  })
})

describe('case 16: a Content-Range that does not fit', () => {
  const ranges = {
    'more than the body': '0-99',
    'less than the body': '0-9',
    'the form of RFC 9110': 'bytes 0-49/200',
    'with a total': '0-49/200',
    backwards: '99-0',
    'no numbers': 'a-b',
    'without an end': '0-',
    negative: '-5-44',
    'beyond any number': '0-99999999999999999999',
    empty: '',
  }
  for (const [what, range] of Object.entries(ranges)) {
    it(`is refused and the offset stays: ${what}`, async () => {
      const location = await startUpload(client, 'case16')
      const send = () =>
        client.send('PATCH', location, { headers: { 'Content-Range': range }, body: someBytes(50) })

      const refused = await send()

      expect([400, 416]).toContain(refused.status)
      expectError(
        refused,
        refused.status,
        refused.status === 400 ? 'SIZE_INVALID' : 'BLOB_UPLOAD_INVALID',
      )
      expect(await rangeOf(location)).toMatch(/^0-(?:0|-1)$/)
      const first = someBytes(50)
      expectStatus(await sendChunk(client, location, first, [0, 49]), 202)
      expect((await send()).status).toBeGreaterThanOrEqual(400)
      expect(await rangeOf(location)).toBe('0-49')
    })
  }
})

describe('case 18: a PUT with the last chunk', () => {
  it('makes the blob when it goes on where the others ended', async () => {
    const blob = someBytes(250)
    const location = await startUpload(client, 'case18')
    await sendChunk(client, location, blob, [0, 99])
    await sendChunk(client, location, blob, [100, 199])
    const url = `${location}?digest=${sha256(blob)}`
    const put = (range: string) =>
      client.send('PUT', url, { headers: { 'Content-Range': range }, body: blob.subarray(200) })

    const early = await put('250-299')
    expectError(early, 416, 'BLOB_UPLOAD_INVALID')
    expect(early.headers['range']).toBe('0-199')
    const done = await put('200-249')

    expectStatus(done, 201)
    expect(done.headers['docker-content-digest']).toBe(sha256(blob))
    expect(locationOf(done)).toBe(`/v2/case18/blobs/${sha256(blob)}`)
    await expectBlob(client, 'case18', blob)
    expectError(await client.get(location), 404, 'BLOB_UPLOAD_UNKNOWN')
  })
})

describe('case 19: a digest parameter that went astray', () => {
  it('is ignored on PATCH, and other parameters on PUT', async () => {
    const blob = someBytes()
    const location = await startUpload(client, 'case19')
    const stray = await client.send('PATCH', `${location}?digest=${sha256('other')}`, {
      body: blob,
    })
    expectStatus(stray, 202)
    const junk = await client.send('PATCH', `${location}?digest=junk&x=1`, { body: '' })
    expectStatus(junk, 202)
    const url = `${location}?_state=abc&digest=${sha256(blob)}&x=y`
    expectStatus(await client.send('PUT', url), 201)
    await expectBlob(client, 'case19', blob)
  })
})

describe('case 20, but for the other user: a session that is cancelled', () => {
  const methods = ['GET', 'PATCH', 'PUT', 'DELETE'] as const
  const query = `?digest=${sha256('x')}`

  it('is gone for every method', async () => {
    const location = await startUpload(client, 'case20')
    await sendChunk(client, location, someBytes(), [0, 9])
    expectStatus(await client.delete(location), 204)
    for (const method of methods) {
      expectError(
        await client.send(method, location + query, { body: 'x' }),
        404,
        'BLOB_UPLOAD_UNKNOWN',
      )
    }
  })

  it('or belongs to another repository, is not there', async () => {
    const location = await startUpload(client, 'case20')
    await pushBlob(client, 'case20-other', 'y')
    for (const other of ['case20-other', 'case20-none']) {
      const elsewhere = location.replace('/case20/', `/${other}/`)
      for (const method of methods) {
        const answer = await client.send(method, elsewhere + query, { body: 'x' })
        expectError(answer, 404, 'BLOB_UPLOAD_UNKNOWN')
      }
    }
    expectStatus(await client.send('PUT', location + query, { body: 'x' }), 201)
  })
})

describe('case 21: a session that is not there', () => {
  const unknown = `/v2/case21/blobs/uploads/${randomUUID()}`
  it('answers 404 to an id nobody gave out', async () => {
    expectError(await client.get(unknown), 404, 'BLOB_UPLOAD_UNKNOWN')
    expectStatus(await client.head(unknown), 404)
  })

  it('answers 404 to what is no id', async () => {
    for (const id of ['not-a-uuid', '0', 'x%2Fy', '%00', randomUUID().toUpperCase()]) {
      const target = `/v2/case21/blobs/uploads/${id}`
      expectError(await client.send('PATCH', target, { body: 'x' }), 404, 'BLOB_UPLOAD_UNKNOWN')
    }
  })

  it('answers HEAD as GET, without a body', async () => {
    const location = await startUpload(client, 'case21')
    await sendChunk(client, location, someBytes(), [0, 9])
    const head = await client.head(location)
    expectStatus(head, 204)
    expect(head.headers['range']).toBe('0-9')
  })
})

describe('a hint which digest will come', () => {
  it('is taken, and binds nobody', async () => {
    for (const digestOf of [sha256, sha512]) {
      for (const hint of ['sha256', 'sha512']) {
        const blob = someBytes()
        const url = `/v2/hints/blobs/uploads/?digest-algorithm=${hint}`
        const location = locationOf(await client.send('POST', url))
        await sendChunk(client, location, blob, [0, 63])
        expectStatus(await client.send('PUT', `${location}?digest=${digestOf(blob)}`), 201)
        await expectBlob(client, 'hints', blob, digestOf(blob))
      }
    }
  })
})
