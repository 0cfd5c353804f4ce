import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { describeWithS3, s3Variables } from '../support/s3.ts'
import { type OpenedS3Store, openS3Store } from '../support/s3-store.ts'
import { admin, linesOf, scopesOf, tokenRequests } from './support/accounts.ts'
import { lacks } from './support/clients.ts'
import { type Docker, startDockerd } from './support/dockerd.ts'
import { type Layout, writeImage, writeMultiPlatformImage } from './support/images.ts'
import { blobBytes, expectAskedWell, type Mirror, openMirror, pulled } from './support/mirror.ts'
import { guardedMirror } from './support/mirror-accounts.ts'
import { skopeoIn } from './support/skopeo.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const MIB = 2 ** 20

const unable = lacks('dockerd', 'docker', 'skopeo', 'root')

describe.skipIf(unable)('a Docker daemon with a mirror', () => {
  let workspace: Workspace
  let mirror: Mirror
  let builder: Docker
  let puller: Docker

  beforeAll(async () => {
    workspace = await openWorkspace()
    mirror = await openMirror(workspace)
    builder = await startDockerd(workspace, 'builder', mirror.deadEnd)
    puller = await daemon('puller')
  })
  beforeEach(() => mirror.reset())
  afterAll(() => workspace.close())

  it('pulls an official image of Docker Hub by its short name', async () => {
    const source = `${mirror.origin.host}/library/app`
    await builder.build(`${source}:1`, randomBytes(MIB), 'a second layer')
    await builder.docker('push', `${source}:1`)
    mirror.reset()

    await puller.docker('pull', 'app:1')

    expect(await puller.digestOf('app')).toBe(await builder.digestOf(source))
    expectAskedWell(mirror, 'library/app')
    const total = await blobBytes(mirror.origin, 'library/app')
    expect(total).toBeGreaterThan(MIB)
    expect(mirror.hub.blobBytes).toBe(total)
    expect(sentBytes(mirror)).toBe(total)
    expect(mirror.deadEnd.take()).toEqual([])
  })

  it('pulls it again without a byte of a blob from Docker Hub', async () => {
    await puller.docker('rmi', 'app:1')

    await puller.docker('pull', 'docker.io/library/app:1')

    const asked = mirror.hub.registry.requests().map(({ method, path: to }) => `${method} ${to}`)
    expect(new Set(asked)).toEqual(new Set(['HEAD /v2/library/app/manifests/1']))
    expect(mirror.hub.cdn.requests()).toEqual([])
    const blobs = pulled(mirror.recorder.take(), 'blobs')
    expect(blobs).toHaveLength(3)
    for (const { responseHeaders } of blobs) {
      expect(responseHeaders['cache-status']).toBe('Slipway; hit')
    }
    expect(mirror.deadEnd.take()).toEqual([])
  })

  it('pulls the image of its own platform from an index, and only that', async () => {
    const layout = await writeMultiPlatformImage(folderFor('index'), ['amd64', 'arm64'])
    await mirror.push(layout, mirror.origin, 'someone/index')
    mirror.reset()

    await puller.docker('pull', 'someone/index:1')

    expect(await puller.digestOf('someone/index')).toBe(layout.root.digest)
    expect(mirror.hub.cdn.requests().filter(({ method }) => method === 'GET')).toHaveLength(2)
    expect(mirror.deadEnd.take()).toEqual([])
  })

  it('gets the image that is hosted here under the same name', async () => {
    const [there, here] = await Promise.all([image('of the hub'), image('of our own')])
    await mirror.push(there, mirror.origin, 'library/hosted')
    mirror.reset()
    await mirror.push(here, mirror.slipway, 'library/hosted')

    await puller.docker('pull', 'hosted:1')

    expect(await puller.digestOf('hosted')).toBe(here.root.digest)
    expect(mirror.hub.registry.requests()).toEqual([])
    expect(mirror.hub.tokens.requests()).toEqual([])
    expect(mirror.deadEnd.take()).toEqual([])
  })

  it('gets another image when the tag names another on Docker Hub', async () => {
    const [older, newer] = await Promise.all([image('older'), image('newer')])
    await mirror.push(older, mirror.origin, 'library/moved')
    await puller.docker('pull', 'moved:1')
    expect(await puller.digestOf('moved')).toBe(older.root.digest)

    await mirror.push(newer, mirror.origin, 'library/moved')
    await puller.docker('pull', 'moved:1')

    const digests = await puller.docker(
      'images',
      '--digests',
      '--format',
      '{{.Tag}} {{.Digest}}',
      'moved',
    )
    expect(digests.split('\n')).toContain(`1 ${newer.root.digest}`)
    expect(mirror.deadEnd.take()).toEqual([])
  })

  it('pulls by the prefix as well, with and without library, and cannot push there', async () => {
    const layout = await image('prefixed')
    await mirror.push(layout, mirror.origin, 'library/prefixed')
    const { host } = mirror.recorder
    mirror.reset()

    await builder.docker('pull', `${host}/docker.io/library/prefixed:1`)
    await builder.docker('pull', `${host}/docker.io/prefixed:1`)

    expect(await builder.digestOf(`${host}/docker.io/library/prefixed`)).toBe(layout.root.digest)
    expect(await builder.digestOf(`${host}/docker.io/prefixed`)).toBe(layout.root.digest)
    expectAskedWell(mirror, 'library/prefixed')
    expect(mirror.hub.blobBytes).toBe(await blobBytes(mirror.origin, 'library/prefixed'))
    await expect(builder.docker('push', `${host}/docker.io/prefixed:1`)).rejects.toMatchObject({
      stderr: expect.stringContaining('denied'),
    })
  })

  it('is told what Docker Hub said of an image that it does not have', async () => {
    const missing = `${mirror.recorder.host}/docker.io/library/missing:1`
    await expect(builder.docker('pull', missing)).rejects.toMatchObject({
      stderr: expect.stringMatching(/manifest unknown.*docker\.io: 401 Unauthorized/),
    })
  })

  it('pulls what was pulled before when Docker Hub cannot be reached', async () => {
    const { hub, recorder } = mirror
    await Promise.all([hub.registry.stop(), hub.tokens.stop(), hub.cdn.stop()])
    const other = await daemon('other')

    await other.docker('pull', 'app:1')

    expect(await other.digestOf('app')).toBe(
      await builder.digestOf(`${mirror.origin.host}/library/app`),
    )
    const exchanges = recorder.take()
    const byTag = exchanges.find(({ target }) => target === '/v2/library/app/manifests/1')
    expect(byTag?.responseHeaders).toMatchObject({
      'cache-status': 'Slipway; hit; fwd=stale',
      warning: expect.stringMatching(/^299 - "served as it was: .+"$/),
    })
    expect(pulled(exchanges, 'blobs')).toHaveLength(3)
    expect(mirror.deadEnd.take()).toEqual([])
  })

  function daemon(name: string): Promise<Docker> {
    return daemonOf(workspace, mirror, name)
  }

  function image(content: string): Promise<Layout> {
    return writeImage(folderFor(content), content)
  }

  function folderFor(name: string): string {
    return path.join(workspace.directory, `image-${name.replaceAll(' ', '-')}`)
  }
})

describe.skipIf(unable)('a Docker daemon without an account, with a mirror that has some', () => {
  let workspace: Workspace
  let mirror: Mirror
  let puller: Docker

  beforeAll(async () => {
    workspace = await openWorkspace()
    const skopeo = skopeoIn(workspace)
    const environment = await guardedMirror(workspace, 'everybody')
    mirror = await openMirror(workspace, { environment, skopeo })
    await skopeo.login(mirror.slipway.host, admin.name, admin.password)
    puller = await daemonOf(workspace, mirror, 'puller')
  })
  beforeEach(() => mirror.reset())
  afterAll(() => workspace.close())

  it('pulls what everybody may pull of Docker Hub', async () => {
    const layout = await push('open', mirror.origin, 'library/open')

    await puller.docker('pull', 'open:1')

    expect(await puller.digestOf('open')).toBe(layout.root.digest)
    expectAskedWell(mirror, 'library/open')
    const scopes = tokenRequests(mirror.recorder.take()).flatMap(scopesOf)
    expect(new Set(scopes)).toEqual(new Set(['repository:library/open:pull']))
    expect(mirror.deadEnd.take()).toEqual([])
  })

  it.each(['team/app', 'library/app'])('does not get the private %s, by any name', async (name) => {
    await push(`the hub's ${name}`, mirror.origin, name)
    await push(`our private ${name}`, mirror.slipway, name)
    mirror.reset()

    await expect(puller.docker('pull', `${name}:1`)).rejects.toMatchObject({ code: 1 })
    await expect(puller.docker('pull', `${mirror.recorder.host}/${name}:1`)).rejects.toMatchObject({
      code: 1,
    })

    const lines = linesOf(mirror.recorder.take()).filter((line) => line.includes(name))
    expect(new Set(lines.map((line) => line.replace(/^HEAD|^GET/, 'asked')))).toEqual(
      new Set([`asked /v2/${name}/manifests/1 401`]),
    )
    expect(mirror.hub.registry.requests()).toEqual([])
    // Where Docker then goes by itself.
    expect(mirror.deadEnd.take()).toContain('registry-1.docker.io:443')
  })

  it('pulls what is kept, and no more, when the limit of Docker Hub is reached', async () => {
    await push('beyond the limit', mirror.origin, 'library/beyond')
    mirror.hub.setRemaining(0)
    await puller.docker('rmi', 'open:1')

    const beyond = `${mirror.recorder.host}/docker.io/library/beyond:1`
    await expect(puller.docker('pull', beyond)).rejects.toMatchObject({
      stderr: expect.stringMatching(
        /toomanyrequests: .*docker\.io: 429 .*You have reached your pull rate limit/,
      ),
    })
    mirror.reset()
    await puller.docker('pull', 'open:1')

    expect(mirror.hub.registry.requests()).toEqual([])
    const byTag = mirror.recorder.take().find(({ target }) => target.endsWith('/manifests/1'))
    expect(byTag?.responseHeaders.warning).toMatch(/^299 - "served as it was: .+"$/)
    expect(mirror.deadEnd.take()).toEqual([])
  })

  async function push(content: string, to: Mirror['slipway'], name: string): Promise<Layout> {
    const folder = path.join(workspace.directory, `image-${content.replaceAll(/\W/g, '-')}`)
    const layout = await writeImage(folder, content)
    await mirror.push(layout, to, name)
    return layout
  }
})

describe.skipIf(unable)('a Docker daemon with a mirror', () => {
  describeWithS3('whose blobs are in a bucket', () => {
    let workspace: Workspace
    let bucket: OpenedS3Store
    let mirror: Mirror

    beforeAll(async () => {
      workspace = await openWorkspace()
      bucket = openS3Store()
      workspace.onClose(() => bucket.close())
      mirror = await openMirror(workspace, { environment: s3Variables(bucket.settings.prefix) })
    })
    afterAll(() => workspace.close())

    it('pulls an image twice, and Docker Hub sends it once', async () => {
      const content = randomBytes(MIB).toString('hex')
      const layout = await writeImage(path.join(workspace.directory, 'image'), content)
      await mirror.push(layout, mirror.origin, 'library/kept')
      const puller = await daemonOf(workspace, mirror, 'puller')
      mirror.reset()

      await puller.docker('pull', 'kept:1')
      expect(await puller.digestOf('kept')).toBe(layout.root.digest)
      expectAskedWell(mirror, 'library/kept')
      const total = await blobBytes(mirror.origin, 'library/kept')
      expect(mirror.hub.blobBytes).toBe(total)
      expect((await bucket.contents()).objects).toHaveLength(2)

      await puller.docker('rmi', 'kept:1')
      mirror.reset()
      await puller.docker('pull', 'kept:1')
      expect(await puller.digestOf('kept')).toBe(layout.root.digest)
      expect(mirror.hub.cdn.requests()).toEqual([])
      expect(sentBytes(mirror)).toBe(total)
      expect(mirror.deadEnd.take()).toEqual([])
    })
  })
})

function daemonOf(workspace: Workspace, mirror: Mirror, name: string): Promise<Docker> {
  const { environment } = mirror.deadEnd
  return startDockerd(workspace, name, { mirror: `http://${mirror.recorder.host}`, environment })
}

/** Of blobs, to clients. */
function sentBytes({ recorder }: Mirror): number {
  return pulled(recorder.take(), 'blobs').reduce((sum, { responseBytes }) => sum + responseBytes, 0)
}
