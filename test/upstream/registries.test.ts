import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../oci/digest.ts'
import { parseReference, type Reference } from '../../oci/reference.ts'
import type { UpstreamClient } from '../../upstream/upstream.ts'
import {
  describeWithDockerRegistry,
  openDockerRegistry,
} from '../support/upstream/docker-registry.ts'
import { type Hub, startHub } from '../support/upstream/hub.ts'
import { type PushedImage, pushRandomImage } from '../support/upstream/images.ts'
import { openUpstreamRegistry, type UpstreamRegistry } from '../support/upstream/second-slipway.ts'
import { connect, patiently } from './server.ts'

const REPOSITORY = 'library/alpine'
const IMAGE = { repository: REPOSITORY, tag: '3.20', layers: [300_000] }
const TAG = parseReference('3.20')
const STRANGER = digestOf(Buffer.from('stranger'))

async function readBlob(client: UpstreamClient, image: PushedImage, first: number) {
  const digest = digestIn(image)
  const blob = await client.openBlob(REPOSITORY, digest, { ...patiently(), first })
  const chunks: Uint8Array[] = []
  for await (const chunk of blob.body) chunks.push(chunk)
  return { sizeBytes: blob.sizeBytes, bytes: Buffer.concat(chunks) }
}

function digestIn({ layers }: PushedImage) {
  const reference = parseReference(layers[0]!.digest)
  if (reference.kind === 'tag') throw new Error('not a digest')
  return reference.digest
}

/** What every registry has to give. */
function itPulls(open: () => { client: UpstreamClient; image: PushedImage }): void {
  it.each<[string, (image: PushedImage) => Reference]>([
    ['tag', () => TAG],
    ['digest', ({ digest }) => parseReference(digest)],
  ])('gives a manifest by %s', async (_, reference) => {
    const { client, image } = open()
    const asked = reference(image)
    expect(await client.statManifest(REPOSITORY, asked, patiently())).toEqual({
      digest: image.digest,
    })
    const manifest = await client.getManifest(REPOSITORY, asked, patiently())
    expect(manifest.bytes).toEqual(image.bytes)
    expect(manifest.contentType).toBe(image.mediaType)
  })

  it('gives a blob, and the rest of one', async () => {
    const { client, image } = open()
    const size = await client.statBlob(REPOSITORY, digestIn(image), patiently())
    const { sizeBytes, bytes } = await readBlob(client, image, 0)
    expect([size, sizeBytes, bytes.length]).toEqual([300_000, 300_000, 300_000])
    expect(digestOf(bytes)).toBe(digestIn(image))
    const rest = await readBlob(client, image, 123_456)
    expect(rest).toEqual({ sizeBytes, bytes: bytes.subarray(123_456) })
  })

  it('gives its tags', async () => {
    const { client } = open()
    const page = { after: '', limit: 100 }
    expect(await client.listTags(REPOSITORY, page, patiently())).toEqual({
      tags: ['3.20'],
      more: false,
    })
  })

  it('has no stranger', async () => {
    const { client } = open()
    const blob = { ...patiently(), first: 0 }
    const unknown = { reason: 'unknown' }
    const missing = parseReference('missing')
    await expect(client.statManifest(REPOSITORY, missing, patiently())).rejects.toMatchObject(
      unknown,
    )
    await expect(client.getManifest(REPOSITORY, missing, patiently())).rejects.toMatchObject(
      unknown,
    )
    await expect(client.statBlob(REPOSITORY, STRANGER, patiently())).rejects.toMatchObject(unknown)
    await expect(client.openBlob(REPOSITORY, STRANGER, blob)).rejects.toMatchObject(unknown)
  })
}

describe('another Slipway', () => {
  let registry: UpstreamRegistry
  let image: PushedImage

  beforeAll(async () => {
    registry = await openUpstreamRegistry()
    image = await registry.push(IMAGE)
  })

  afterAll(() => registry.close())

  function open() {
    const credentials = { kind: 'password', ...registry.credentials } as const
    return { client: connect(registry.url, { credentials }), image }
  }

  itPulls(open)

  it('gives referrers', async () => {
    const { client } = open()
    const digest = digestOf(image.bytes)
    expect(await client.listReferrers(REPOSITORY, digest, patiently())).toEqual([])
  })

  it('lets nobody in without credentials', async () => {
    const client = connect(registry.url)
    await expect(client.getManifest(REPOSITORY, TAG, patiently())).rejects.toMatchObject({
      reason: 'denied',
    })
  })

  it('lets nobody in with others', async () => {
    const credentials = { kind: 'password', username: 'puller', password: 'no idea' } as const
    const client = connect(registry.url, { credentials })
    const failure = client.getManifest(REPOSITORY, TAG, patiently())
    await expect(failure).rejects.toMatchObject({ reason: 'denied' })
    await expect(failure).rejects.not.toThrow('no idea')
  })
})

describeWithDockerRegistry('docker-registry', () => {
  let registry: Awaited<ReturnType<typeof openDockerRegistry>>
  let image: PushedImage

  beforeAll(async () => {
    registry = await openDockerRegistry()
    image = await pushRandomImage(registry, IMAGE)
  })

  afterAll(() => registry.close())

  const open = () => ({ client: connect(registry.url), image })

  itPulls(open)

  it('knows no referrers', async () => {
    const digest = digestOf(image.bytes)
    expect(await open().client.listReferrers(REPOSITORY, digest, patiently())).toBeUndefined()
  })
})

describeWithDockerRegistry('a hub of three hosts', () => {
  let registry: Awaited<ReturnType<typeof openDockerRegistry>>
  let hub: Hub
  let image: PushedImage

  const account = { username: 'alice', password: 'wonderland' }

  beforeAll(async () => {
    registry = await openDockerRegistry()
    image = await pushRandomImage(registry, IMAGE)
    hub = await startHub({ target: registry.url, account, privateRepositories: [REPOSITORY] })
  })

  afterAll(async () => {
    await hub.close()
    await registry.close()
  })

  function open() {
    const credentials = { kind: 'password', ...account } as const
    return { client: connect(hub.url, { credentials, realms: ['127.0.0.2'] }), image }
  }

  itPulls(open)

  it('tells what its rate limit leaves', async () => {
    const { client } = open()
    await client.getManifest(REPOSITORY, TAG, patiently())
    expect(client.condition().budget).toMatchObject({ limit: 100, left: hub.remaining })
  })

  it('gives again what it has given, with tokens that have expired', async () => {
    const { client } = open()
    await client.getManifest(REPOSITORY, TAG, patiently())
    hub.expireTokens()
    const { bytes } = await client.getManifest(REPOSITORY, TAG, patiently())
    expect(bytes).toEqual(image.bytes)
  })

  it('does not let in whose token service is not listed', async () => {
    const credentials = { kind: 'password', ...account } as const
    const client = connect(hub.url, { credentials })
    await expect(client.getManifest(REPOSITORY, TAG, patiently())).rejects.toMatchObject({
      reason: 'denied',
    })
  })
})
