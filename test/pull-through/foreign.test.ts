import { afterAll, beforeAll, expect, it } from 'vitest'
import { type RunningRegistry, runRegistry, sha256 } from '../acceptance/client.ts'
import {
  describeWithDockerRegistry,
  type ForeignRegistry,
  openDockerRegistry,
} from '../support/upstream/docker-registry.ts'
import { type PushedImage, pushRandomImage } from '../support/upstream/images.ts'
import { SettlingClient } from './settling-client.ts'

const NAME = 'foreign.example'

describeWithDockerRegistry('docker-registry as an upstream', () => {
  let upstream: ForeignRegistry
  let here: RunningRegistry
  let client: SettlingClient
  let image: PushedImage

  beforeAll(async () => {
    upstream = await openDockerRegistry()
    const fields = { url: upstream.url, privateAddresses: true, freshSeconds: 1 }
    here = await runRegistry({ upstreams: { [NAME]: fields } })
    client = new SettlingClient(here)
    image = await pushRandomImage(upstream, {
      repository: 'team/app',
      layers: [100_000, 1],
      architectures: ['amd64', 'arm64'],
    })
  })
  afterAll(async () => {
    client?.close()
    await here?.close()
    await upstream?.close()
  })

  const get = (rest: string) => client.get(`/v2/${NAME}/team/app/${rest}`)

  it('gives its index, its manifests and its blobs, byte by byte', async () => {
    const index = await get('manifests/latest')
    expect(index.body).toEqual(image.bytes)
    expect(index.headers['content-type']).toBe(image.mediaType)
    for (const child of image.children) {
      expect((await get(`manifests/${child.digest}`)).body).toEqual(child.bytes)
    }
    for (const { digest } of [...image.layers, ...image.configs]) {
      expect(sha256((await get(`blobs/${digest}`)).body)).toBe(digest)
      expect((await get(`blobs/${digest}`)).headers['cache-status']).toBe('Slipway; hit')
    }
  })

  it('gives its tags, and no referrers as it has no API for them', async () => {
    expect(JSON.parse((await get('tags/list')).body.toString())).toMatchObject({ tags: ['latest'] })
    const referrers = await get(`referrers/${image.digest}`)
    expect(referrers.status).toBe(200)
    expect(JSON.parse(referrers.body.toString())).toMatchObject({ manifests: [] })
  })

  it('says what it does not have', async () => {
    const absent = await get('manifests/absent')
    expect(absent.status).toBe(404)
    expect((await get(`manifests/sha256:${'0'.repeat(64)}`)).body.toString()).toContain(
      `${NAME}: 404`,
    )
    expect((await get(`blobs/sha256:${'0'.repeat(64)}`)).status).toBe(404)
  })

  it('is not needed for what is kept', async () => {
    expect((await get('manifests/latest')).status).toBe(200)
    await upstream.close()
    await here.registry.database.pool.query("update tags set checked_at = now() - interval '1 day'")
    here.registry.registry.cache.forgetUpstreamTags()
    const stale = await get('manifests/latest')
    expect(stale.body).toEqual(image.bytes)
    expect(stale.headers['warning']).toContain(`${NAME}: cannot be reached`)
  })
})
