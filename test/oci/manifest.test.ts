import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'
import { parseManifest } from '../../oci/manifest.ts'
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  OCI_ARTIFACT,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../../oci/media-types.ts'

const descriptor = (text: string, mediaType = 'application/octet-stream') => ({
  mediaType,
  digest: digestOf(Buffer.from(text)),
  size: text.length,
})
const config = descriptor('{}', 'application/vnd.oci.image.config.v1+json')
const layer = descriptor('layer', 'application/vnd.oci.image.layer.v1.tar+gzip')
const image = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer] }

const bytesOf = (value: unknown) => Buffer.from(JSON.stringify(value))
const parse = (value: object, contentType = '') => parseManifest(bytesOf(value), contentType)
const digestsOf = (descriptors: readonly { digest: string }[]) => descriptors.map((d) => d.digest)

describe('an image manifest', () => {
  it.each([OCI_MANIFEST, DOCKER_MANIFEST])('as %s needs its config and layers', (mediaType) => {
    const manifest = parse({ ...image, mediaType }, mediaType)
    expect(manifest.mediaType).toBe(mediaType)
    expect(digestsOf(manifest.blobs)).toEqual([config.digest, layer.digest])
    expect(manifest.optionalBlobs).toEqual([])
    expect(manifest.children).toEqual([])
    expect(manifest.subject).toBeUndefined()
  })

  it('keeps the bytes and their digest, whatever else is in them', () => {
    const bytes = Buffer.from(` {"schemaVersion":2, "mediaType":"${OCI_MANIFEST}",\n "x":[1,{}] } `)
    const manifest = parseManifest(bytes, '')
    expect(manifest.bytes).toBe(bytes)
    expect(manifest.digest).toBe(digestOf(bytes))
    expect(parseManifest(bytes, '', 'sha512').digest).toBe(digestOf(bytes, 'sha512'))
  })

  it.each([
    ['no layers', { layers: [] }],
    ['null for layers', { layers: null }],
    ['layers left out', { layers: undefined }],
  ])('may have %s', (_, change) => {
    expect(digestsOf(parse({ ...image, ...change }).blobs)).toEqual([config.digest])
  })

  it('may have no config', () => {
    expect(digestsOf(parse({ ...image, config: undefined }).blobs)).toEqual([layer.digest])
  })

  it('can do without layers that may not be distributed', () => {
    const foreign = [
      'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
      'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    ].map((mediaType, index) => descriptor(`foreign ${index}`, mediaType))
    const manifest = parse({ ...image, layers: [layer, ...foreign] })
    expect(digestsOf(manifest.blobs)).toEqual([config.digest, layer.digest])
    expect(digestsOf(manifest.optionalBlobs)).toEqual(digestsOf(foreign))
  })

  it('shows the type of its config as its artifact type, unless it has its own', () => {
    expect(parse(image).artifactType).toBe(config.mediaType)
    expect(parse({ ...image, artifactType: '' }).artifactType).toBe(config.mediaType)
    expect(parse({ ...image, artifactType: 'a/b' }).artifactType).toBe('a/b')
    expect(parse({ ...image, config: undefined }).artifactType).toBeUndefined()
  })

  it('of Helm has no mediaType in its body', () => {
    const helm = { ...image, mediaType: undefined }
    expect(parse(helm, OCI_MANIFEST).mediaType).toBe(OCI_MANIFEST)
    expect(parse({ ...helm, mediaType: '' }, OCI_MANIFEST).mediaType).toBe(OCI_MANIFEST)
  })

  it('may name digests that cannot be computed here', () => {
    const strange = { ...layer, digest: `blake3:${'0'.repeat(64)}` }
    expect(digestsOf(parse({ ...image, layers: [strange] }).blobs)).toContain(strange.digest)
  })
})

describe('an index', () => {
  it.each([OCI_INDEX, DOCKER_LIST])('as %s lists children', (mediaType) => {
    const child = descriptor('child', OCI_MANIFEST)
    const manifest = parse({ schemaVersion: 2, mediaType, manifests: [child] })
    expect(digestsOf(manifest.children)).toEqual([child.digest])
    expect(manifest.blobs).toEqual([])
    expect(manifest.artifactType).toBeUndefined()
  })

  it('may be empty', () => {
    expect(parse({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }).children).toEqual([])
  })

  it('of the cache of BuildKit lists blobs as children', () => {
    const manifests = [layer, descriptor('{}', 'application/vnd.buildkit.cacheconfig.v0')]
    const manifest = parse({ schemaVersion: 2, mediaType: OCI_INDEX, manifests })
    expect(digestsOf(manifest.children)).toEqual(digestsOf(manifests))
  })

  it('may have attestations, a subject and an artifact type', () => {
    const manifest = parse({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      artifactType: 'a/b',
      manifests: [
        {
          ...descriptor('att', OCI_MANIFEST),
          platform: { os: 'unknown', architecture: 'unknown' },
        },
      ],
      subject: descriptor('subject', OCI_MANIFEST),
    })
    expect(manifest.artifactType).toBe('a/b')
    expect(manifest.subject?.digest).toBe(descriptor('subject').digest)
  })
})

describe('an artifact manifest', () => {
  it('of the old type has blobs and a subject', () => {
    const manifest = parse({
      mediaType: OCI_ARTIFACT,
      artifactType: 'application/vnd.example.sbom',
      blobs: [layer],
      subject: descriptor('subject', OCI_MANIFEST),
    })
    expect(digestsOf(manifest.blobs)).toEqual([layer.digest])
    expect(manifest.artifactType).toBe('application/vnd.example.sbom')
    expect(manifest.subject?.digest).toBe(descriptor('subject').digest)
  })

  it('of cosign is an image manifest with a subject', () => {
    const manifest = parse({
      ...image,
      artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
      config: descriptor('{}', 'application/vnd.oci.empty.v1+json'),
      subject: descriptor('subject', OCI_MANIFEST),
      annotations: { 'dev.sigstore.bundle.content': 'dsse-envelope' },
    })
    expect(manifest.artifactType).toBe('application/vnd.dev.sigstore.bundle.v0.3+json')
    expect(manifest.annotations).toEqual({ 'dev.sigstore.bundle.content': 'dsse-envelope' })
  })
})

describe('the type a manifest is pushed with', () => {
  it.each([
    `${OCI_MANIFEST}; charset=utf-8`,
    OCI_MANIFEST.toUpperCase(),
    'application/json',
    'application/json; charset=utf-8',
    '',
  ])('%j goes with the mediaType in the body', (contentType) => {
    expect(parse(image, contentType).mediaType).toBe(OCI_MANIFEST)
  })

  it.each([DOCKER_MANIFEST, OCI_INDEX, 'text/plain', 'application/octet-stream'])(
    '%s contradicts it',
    (contentType) => {
      expectRefused(() => parse(image, contentType))
    },
  )

  it.each(['', 'application/json', 'text/plain', 'application/octet-stream'])(
    '%j is not enough without it',
    (contentType) => {
      expectRefused(() => parse({ ...image, mediaType: undefined }, contentType))
    },
  )
})

describe('what is refused', () => {
  it.each([
    ['schema version 1', { ...image, schemaVersion: 1 }],
    ['schema version 1 as Docker had it', { schemaVersion: 1, name: 'a', fsLayers: [] }],
    ['an image that is an index, too', { ...image, manifests: [] }],
    ['an image that is an index of null', { ...image, manifests: null }],
    ['an index with layers', { mediaType: OCI_INDEX, manifests: [], layers: [layer] }],
    ['an index with a config', { mediaType: OCI_INDEX, manifests: [], config }],
    ['a mediaType that is no text', { ...image, mediaType: 5 }],
    ['a mediaType that is null', { ...image, mediaType: null }],
    ['a mediaType of something else', { ...image, mediaType: 'text/plain' }],
    ['layers that are an object', { ...image, layers: {} }],
    ['layers that are a text', { ...image, layers: 'abc' }],
    ['a layer that is a text', { ...image, layers: ['abc'] }],
    ['a layer that is null', { ...image, layers: [null] }],
    ['a layer that is a list', { ...image, layers: [[]] }],
    ['a layer without a digest', { ...image, layers: [{ ...layer, digest: undefined }] }],
    ['a layer with a number for a digest', { ...image, layers: [{ ...layer, digest: 1 }] }],
    ['a layer without a size', { ...image, layers: [{ ...layer, size: undefined }] }],
    ['a layer of negative size', { ...image, layers: [{ ...layer, size: -1 }] }],
    ['a layer of half a byte', { ...image, layers: [{ ...layer, size: 0.5 }] }],
    ['a layer beyond counting', { ...image, layers: [{ ...layer, size: 2 ** 53 }] }],
    ['a layer whose size is a text', { ...image, layers: [{ ...layer, size: '5' }] }],
    ['a layer whose type is a number', { ...image, layers: [{ ...layer, mediaType: 5 }] }],
    ['a config that is a list', { ...image, config: [] }],
    ['a subject that is a text', { ...image, subject: layer.digest }],
    ['a subject without a digest', { ...image, subject: {} }],
  ])('%s', (_, value) => {
    expectRefused(() => parse(value))
  })

  it('a layer with a malformed digest, by that name', () => {
    const wrong = { ...image, layers: [{ ...layer, digest: 'sha256:zz' }] }
    expect(() => parse(wrong)).toThrow(expect.objectContaining({ code: 'DIGEST_INVALID' }))
  })

  it.each(['', ' ', 'null', '5', '"text"', '[]', '[{}]', '{', '{}x', '\u0000', '<html>'])(
    '%j',
    (text) => {
      expectRefused(() => parseManifest(Buffer.from(text), OCI_MANIFEST))
    },
  )

  it.each([
    ['lists', '['.repeat(100_000)],
    ['closed lists', '['.repeat(100_000) + ']'.repeat(100_000)],
    ['objects', '{"a":'.repeat(100_000)],
    ['layers', `{"layers":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
  ])('%s a hundred thousand deep', (_, text) => {
    expectRefused(() => parseManifest(Buffer.from(text), OCI_MANIFEST))
  })

  it('bytes that are no UTF-8, without a crash', () => {
    expectRefused(() => parseManifest(Buffer.from([0xff, 0xfe, 0x7b]), OCI_MANIFEST))
  })
})

describe('any input', () => {
  it('is either a manifest or a RegistryError, never anything else', () => {
    const kinds = fc.constantFrom(OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT, DOCKER_LIST, '', 'x/y')
    const field = fc.oneof(fc.jsonValue(), fc.constant(layer), fc.constant([layer]))
    const body = fc.record(
      {
        schemaVersion: fc.oneof(fc.constant(2), fc.jsonValue()),
        mediaType: fc.oneof(kinds, fc.jsonValue()),
        config: field,
        layers: field,
        manifests: field,
        blobs: field,
        subject: field,
        annotations: fc.jsonValue(),
        artifactType: fc.jsonValue(),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(fc.oneof(body, fc.jsonValue()), kinds, (value, contentType) => {
        expectManifestOrRefusal(() => parseManifest(bytesOf(value), contentType))
      }),
      { numRuns: 2000 },
    )
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expectManifestOrRefusal(() => parseManifest(Buffer.from(bytes), OCI_MANIFEST))
      }),
    )
  })

  it('cannot reach a prototype by its field names', () => {
    const text = `{"mediaType":"${OCI_MANIFEST}","__proto__":{"subject":{}},"annotations":{"__proto__":"x","a":"b"}}`
    const manifest = parseManifest(Buffer.from(text), '')
    expect(manifest.subject).toBeUndefined()
    expect(manifest.annotations?.['a']).toBe('b')
    expect(({} as Record<string, unknown>)['x']).toBeUndefined()
  })

  it('keeps the annotations that are texts and drops others', () => {
    expect(parse({ ...image, annotations: { a: 'b', n: 1, o: {}, z: null } }).annotations).toEqual({
      a: 'b',
    })
    expect(parse({ ...image, annotations: ['x'] }).annotations).toBeUndefined()
    expect(parse({ ...image, annotations: {} }).annotations).toBeUndefined()
  })
})

function expectRefused(work: () => unknown): void {
  expect(work).toThrow(expect.objectContaining({ code: 'MANIFEST_INVALID' }))
}

function expectManifestOrRefusal(work: () => { blobs: readonly unknown[] }): void {
  let outcome: unknown
  try {
    outcome = Array.isArray(work().blobs) ? 'a manifest' : 'no manifest'
  } catch (error) {
    outcome = error instanceof RegistryError ? error.code : error
  }
  expect(['a manifest', 'MANIFEST_INVALID', 'DIGEST_INVALID']).toContain(outcome)
}
