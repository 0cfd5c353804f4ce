import { describe, expect, it } from 'vitest'
import { expectStatus, pushBlob, runRegistry, sha256, someBytes } from './client.ts'
import { DOCKER_MANIFEST, document, putManifest } from './images.ts'

const REPOSITORIES = 200
const AT_ONCE = 32

describe.each([
  ['promises are remembered', {}],
  ['every promise is written down', { graceSeconds: 0 }],
])('a layer of all images, where %s', (_, keeping) => {
  it('is mounted, found and named by many pushes at once, and none fails', async (context) => {
    const { client, close } = await runRegistry({ keeping })
    context.onTestFinished(close)
    const layer = someBytes()
    const digest = await pushBlob(client, 'base', layer)
    const descriptor = { mediaType: 'application/octet-stream', size: layer.length, digest }
    const image = document(DOCKER_MANIFEST, { config: descriptor, layers: [descriptor] })

    const numbers = Array.from({ length: REPOSITORIES }, (_unused, number) => number).values()
    const push = async () => {
      for (const number of numbers) {
        const repository = `team/app-${number}`
        const mount = `/v2/${repository}/blobs/uploads/?mount=${digest}&from=base`
        expectStatus(await client.send('POST', mount), 201)
        expectStatus(await client.head(`/v2/${repository}/blobs/${digest}`), 200)
        expectStatus(await putManifest(client, repository, 'latest', image), 201)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, push))

    const pulled = await client.get(`/v2/team/app-${REPOSITORIES - 1}/manifests/latest`)
    expect(sha256(pulled.body)).toBe(image.digest)
  })
})
