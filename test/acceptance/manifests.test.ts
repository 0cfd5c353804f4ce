import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RawConnection } from '../support/raw-http.ts'
import {
  type Answer,
  type Client,
  expectError,
  expectStatus,
  json,
  locationOf,
  type RunningRegistry,
  runRegistry,
  sha256,
  sha512,
  someBytes,
} from './client.ts'
import {
  artifact,
  type Content,
  DOCKER_MANIFEST,
  describeContent,
  descriptorOf,
  EMPTY,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
  pushEmpty,
  pushImage,
  pushManifest,
  putManifest,
} from './images.ts'

const MAX_BYTES = 4 * 2 ** 20

let running: RunningRegistry
let client: Client
beforeAll(async () => {
  running = await runRegistry()
  client = running.client
  await pushEmpty(client, 'm')
})
afterAll(() => running.close())

/** An artifact of exactly so many bytes. */
function artifactOf(sizeBytes: number): Content {
  const { bytes } = artifact({ annotations: { padding: '' } })
  const padding = 'x'.repeat(sizeBytes - bytes.length)
  return artifact({ annotations: { padding } })
}

describe('case 26: the size of a manifest', () => {
  it('may be 4 MiB, and not one byte more', async () => {
    const largest = artifactOf(MAX_BYTES)
    expect(largest.bytes).toHaveLength(MAX_BYTES)
    expectStatus(await putManifest(client, 'm', 'large', largest), 201)
    const pulled = await client.get('/v2/m/manifests/large')
    expect(pulled.body.equals(largest.bytes)).toBe(true)

    const refused = await putManifest(client, 'm', 'larger', artifactOf(MAX_BYTES + 1))
    expectError(refused, 413, 'SIZE_INVALID')
    expectStatus(await client.get('/v2/m/manifests/larger'), 404)
  })

  const heads = {
    'of unknown length': { 'Transfer-Encoding': 'chunked' },
    'of 100 MB': { 'Content-Length': 100_000_000 },
  }
  for (const [what, headers] of Object.entries(heads)) {
    it(`is refused early, and the connection closed: a body ${what}`, async () => {
      const connection = await RawConnection.open(running.registry.host)
      await connection.begin('PUT', '/v2/m/manifests/x', headers)
      const piece = Buffer.alloc(2 ** 20, ' ')
      let sentMib = 0
      const sending = (async () => {
        for (; sentMib < 95 && !connection.ended; sentMib++) {
          if ('Content-Length' in headers) await connection.send(piece)
          else await connection.sendChunk(piece)
        }
      })()
      const answer = await connection.answer()
      expectError(answer, 413, 'SIZE_INVALID')
      expect(answer.headers['connection']).toBe('close')
      await connection.untilEnded()
      await connection.close()
      await sending
      expect(sentMib).toBeLessThan(50)
    })
  }
})

function body(fields: object): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, ...fields }))
}

function put(contentType: string | undefined, bytes: Buffer): Promise<Answer> {
  const headers = contentType === undefined ? {} : { 'Content-Type': contentType }
  return client.send('PUT', '/v2/m/manifests/case27', { headers, body: bytes })
}

function nest(open: string, close: string): string {
  return open.repeat(100_000) + close.repeat(100_000)
}

const IMAGE = { mediaType: OCI_MANIFEST, config: EMPTY, layers: [] }

/** A document with two fields `layers`. */
function twice(first: unknown[], second: unknown[]): Buffer {
  const once = JSON.stringify({ ...IMAGE, layers: first })
  return Buffer.from(once.replace(/}$/, `,"layers":${JSON.stringify(second)}}`))
}

describe('case 27: what a manifest may look like', () => {
  const accepted = {
    'without a Content-Type': undefined,
    'with application/json': 'application/json',
    'with a parameter': `${OCI_MANIFEST}; charset=utf-8`,
    'with a parameter, no space': `${OCI_MANIFEST};charset=utf-8`,
  }
  for (const [what, contentType] of Object.entries(accepted)) {
    it(`accepted: ${what}`, async () => {
      expectStatus(await put(contentType, body(IMAGE)), 201)
      const pulled = await client.get('/v2/m/manifests/case27')
      expect(pulled.headers['content-type']).toBe(OCI_MANIFEST)
      expect(pulled.body.equals(body(IMAGE))).toBe(true)
    })
  }

  const { mediaType: _, ...untyped } = IMAGE
  const refused: Record<string, [string | undefined, Buffer]> = {
    'no type at all': [undefined, body(untyped)],
    'application/json and no type in the body': ['application/json', body(untyped)],
    'two types that differ': [DOCKER_MANIFEST, body(IMAGE)],
    'an index that claims to be an image': [OCI_INDEX, body(IMAGE)],
    'a type nobody knows': ['text/plain', body({ ...untyped, mediaType: 'text/plain' })],
    'a type that is no string': [OCI_MANIFEST, body({ ...untyped, mediaType: 1 })],
    'no JSON': [OCI_MANIFEST, Buffer.from('{"schemaVersion":2')],
    'no body': [OCI_MANIFEST, Buffer.alloc(0)],
    'bytes that are no text': [OCI_MANIFEST, someBytes()],
    'an array': [OCI_MANIFEST, Buffer.from(`[${JSON.stringify(IMAGE)}]`)],
    'a string': [OCI_MANIFEST, Buffer.from('"manifest"')],
    null: [OCI_MANIFEST, Buffer.from('null')],
    'schema 1': [
      'application/vnd.docker.distribution.manifest.v1+json',
      body({ schemaVersion: 1 }),
    ],
    'schema 1 under another type': [OCI_MANIFEST, body({ ...IMAGE, schemaVersion: 1 })],
    '100 000 arrays': [OCI_MANIFEST, Buffer.from(nest('[', ']'))],
    '100 000 arrays as layers': [OCI_MANIFEST, Buffer.from(`{"layers":${nest('[', ']')}}`)],
    'layers that are no list': [OCI_MANIFEST, body({ ...IMAGE, layers: {} })],
    'a layer that is null': [OCI_MANIFEST, body({ ...IMAGE, layers: [null] })],
    'a size that is negative': [OCI_MANIFEST, body({ ...IMAGE, layers: [{ ...EMPTY, size: -1 }] })],
    'an image with entries of an index': [OCI_MANIFEST, body({ ...IMAGE, manifests: [] })],
  }
  for (const [what, [contentType, bytes]] of Object.entries(refused)) {
    it(`refused: ${what}`, async () => {
      expectError(await put(contentType, bytes), 400, 'MANIFEST_INVALID')
    })
  }

  it('refused: a descriptor with a malformed digest', async () => {
    const layers = [{ ...EMPTY, digest: 'sha256:zz' }]
    expectStatus(await put(OCI_MANIFEST, body({ ...IMAGE, layers })), 400)
  })

  it('no harm: 100 000 objects in a field that nobody knows', async () => {
    const nested = `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`
    const bytes = Buffer.from(JSON.stringify(IMAGE).replace('{', `{"x":${nested},`))
    expect([201, 400]).toContain((await put(OCI_MANIFEST, bytes)).status)
    expectStatus(await client.get('/v2/'), 200)
  })

  it('the last one of duplicate keys counts, as it does to clients in Go', async () => {
    const missing = [describeContent(OCI_LAYER, 'not here')]
    const refusal = await put(OCI_MANIFEST, twice([], missing))
    expectError(refusal, 400, 'MANIFEST_BLOB_UNKNOWN')
    expectStatus(await put(OCI_MANIFEST, twice(missing, [])), 201)
    const pulled = await client.get('/v2/m/manifests/case27')
    expect(pulled.body.equals(twice(missing, []))).toBe(true)
  })

  for (const text of ['\u0000', 'a\u0000b', '\ud800', '\udc00\ud800']) {
    it(`no harm: ${JSON.stringify(text)} in texts`, async () => {
      const places = [
        { annotations: { [text]: 'x' } },
        { annotations: { key: text } },
        { artifactType: text },
        { subject: { ...EMPTY, mediaType: text } },
        { config: { ...EMPTY, mediaType: text } },
      ]
      for (const fields of places) {
        const answer = await put(OCI_MANIFEST, body({ ...IMAGE, ...fields }))
        expect([201, 400]).toContain(answer.status)
        if (answer.status === 400) expectError(answer, 400, 'MANIFEST_INVALID')
      }
    })
  }
})

describe('case 28: a manifest without a mediaType, as Helm writes it', () => {
  it('is served with the Content-Type it was pushed with', async () => {
    const helm = 'application/vnd.cncf.helm.config.v1+json'
    const subject = descriptorOf(await pushImage(client, 'm', 'chart'))
    const config = { ...EMPTY, mediaType: helm }
    const bytes = Buffer.from(
      JSON.stringify({ schemaVersion: 2, config, layers: [], subject }, null, 3),
    )
    expectStatus(await putManifest(client, 'm', '1.0_1', { mediaType: OCI_MANIFEST, bytes }), 201)

    const pulled = await client.get('/v2/m/manifests/1.0_1')
    expect(pulled.headers['content-type']).toBe(OCI_MANIFEST)
    expect(pulled.body.equals(bytes)).toBe(true)
    const referrers = json(await client.get(`/v2/m/referrers/${subject.digest}`))
    const digest = sha256(bytes)
    expect(referrers).toMatchObject({
      manifests: [{ mediaType: OCI_MANIFEST, digest, size: bytes.length, artifactType: helm }],
    })
  })
})

describe('case 30: a manifest by digest', () => {
  it('must be that of the digest', async () => {
    const answer = await putManifest(client, 'm', sha256('other'), artifact())
    expectError(answer, 400, 'DIGEST_INVALID')
    expectStatus(await client.get(`/v2/m/manifests/${sha256('other')}`), 404)
    expectError(await putManifest(client, 'm', 'sha256:bad', artifact()), 400, 'DIGEST_INVALID')
    expect([400, 404]).toContain((await client.get('/v2/m/manifests/sha256:bad')).status)
  })

  it('may be pushed twice, and needs no tag', async () => {
    const content = artifact()
    for (let time = 0; time < 2; time++) {
      const answer = await pushManifest(client, 'm', content.digest, content)
      expect(answer.headers['docker-content-digest']).toBe(content.digest)
      expect(locationOf(answer)).toBe(`/v2/m/manifests/${content.digest}`)
      expect((await client.get(locationOf(answer))).body.equals(content.bytes)).toBe(true)
    }
  })

  it('is another one with other white space, and the tag moves', async () => {
    const first = artifact()
    const bytes = Buffer.from(`${first.bytes.toString()}\n`)
    const second = { ...first, bytes, digest: sha256(bytes) }
    await pushManifest(client, 'm', 'moving', first)
    await pushManifest(client, 'm', 'moving', second)
    const { headers, body: pulled } = await client.get('/v2/m/manifests/moving')
    expect(headers['docker-content-digest']).toBe(second.digest)
    expect(pulled.equals(bytes)).toBe(true)
    expectStatus(await client.get(`/v2/m/manifests/${first.digest}`), 200)
  })

  it('may be sha512, with tags that answer with that digest', async () => {
    const content = artifact()
    const digest = sha512(content.bytes)
    const pushed = await putManifest(client, 'm', `${digest}?tag=five&tag=twelve`, content)
    expectStatus(pushed, 201)
    expect(pushed.headers['docker-content-digest']).toBe(digest)
    expect(String(pushed.headers['oci-tag']).split(/, ?/)).toEqual(['five', 'twelve'])
    for (const reference of [digest, 'five', 'twelve']) {
      const pulled = await client.get(`/v2/m/manifests/${reference}`)
      expect(pulled.headers['docker-content-digest']).toBe(digest)
      expect(pulled.body.equals(content.bytes)).toBe(true)
    }
  })
})
