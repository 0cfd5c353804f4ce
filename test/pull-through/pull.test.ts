import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { sha256 } from '../acceptance/client.ts'
import type { PushedImage } from '../support/upstream/images.ts'
import { NAME, openStage, type Stage } from './stage.ts'

let stage: Stage
let image: PushedImage

beforeAll(async () => {
  stage = await openStage()
  image = await stage.upstream.push({ repository: 'team/app', layers: [300_000, 1] })
})
afterAll(() => stage.close())
beforeEach(() => stage.proxy.reset())

describe('a manifest by tag', () => {
  it('is the bytes of the upstream, and is asked for once', async () => {
    const first = await fetch(`${stage.url}/v2/${NAME}/team/app/manifests/latest`)
    expect(first.status).toBe(200)
    expect(first.headers.get('docker-content-digest')).toBe(image.digest)
    expect(first.headers.get('content-type')).toBe(image.mediaType)
    expect(Buffer.from(await first.arrayBuffer())).toEqual(image.bytes)
    const second = await fetch(`${stage.url}/v2/${NAME}/team/app/manifests/latest`)
    expect(second.headers.get('cache-status')).toBe('Slipway; hit')
    expect(stage.proxy.requests('manifest').filter(({ status }) => status === 200)).toHaveLength(2)
  })
})

describe('a blob', () => {
  it('arrives, and is kept', async () => {
    const [layer] = image.layers
    const path = `/v2/${NAME}/team/app/blobs/${layer!.digest}`
    const head = await fetch(stage.url + path, { method: 'HEAD' })
    expect(head.headers.get('content-length')).toBe(String(layer!.size))
    expect(stage.proxy.blobBytes).toBe(0)
    const first = await fetch(stage.url + path)
    expect(first.status).toBe(200)
    expect(sha256(Buffer.from(await first.arrayBuffer()))).toBe(layer!.digest)
    const { fetches } = stage.here.registry.pullThrough
    await vi.waitFor(() => expect(fetches.size).toBe(0))
    const second = await fetch(stage.url + path)
    expect(second.headers.get('cache-status')).toBe('Slipway; hit')
    expect(sha256(Buffer.from(await second.arrayBuffer()))).toBe(layer!.digest)
    expect(stage.proxy.blobBytes).toBe(layer!.size)
  })
})
