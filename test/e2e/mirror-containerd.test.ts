import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { UpstreamProxy } from '../support/upstream/fault-proxy.ts'
import { requestsIn } from './support/access-log.ts'
import { lacks } from './support/clients.ts'
import { type Ctr, startContainerd } from './support/containerd.ts'
import { type Layout, writeImage, writeMultiPlatformImage } from './support/images.ts'
import { expectAskedWell, type Mirror, openMirror } from './support/mirror.ts'
import type { Exchange } from './support/recording-proxy.ts'
import { openWorkspace, type Workspace } from './support/workspace.ts'

const OTHER = 'ghcr.example'

describe.skipIf(lacks('containerd', 'ctr', 'skopeo', 'root'))('containerd with mirrors', () => {
  let workspace: Workspace
  let mirror: Mirror
  /** Before the registry that is called ghcr.example. */
  let other: UpstreamProxy
  let hostsFolder: string

  beforeAll(async () => {
    workspace = await openWorkspace()
    mirror = await openMirror(workspace, {
      others: async ({ url }) => {
        other = await UpstreamProxy.start(url)
        workspace.onClose(() => other.close())
        return { [OTHER]: { url: other.url, privateAddresses: true } }
      },
    })
    hostsFolder = await workspace.folder('certs.d')
    for (const [file, content] of await mirror.clientConfig('containerd')) {
      const written = path.join(hostsFolder, path.relative('/etc/containerd/certs.d', file))
      await mkdir(path.dirname(written))
      await writeFile(written, content)
    }
  })
  beforeEach(() => {
    mirror.reset()
    other.reset()
  })
  afterAll(() => workspace.close())

  it('pulls an official image of Docker Hub, all its platforms', async () => {
    const layout = await writeMultiPlatformImage(folderFor('index'), ['amd64', 'arm64'])
    await mirror.push(layout, mirror.origin, 'library/index')
    mirror.reset()
    const ctr = await startContainerd(workspace, 'hub', mirror.deadEnd.environment)

    await pull(ctr, 'docker.io/library/index:1', '--all-platforms')

    await expectPulled(ctr, layout, 'docker.io/library/index:1')
    expectAskedWell(mirror, 'library/index')
    expectNamespace(mirror.recorder.take(), 'library/index', 'docker.io')
    await expectLogged('library/index', 'docker.io')
    expect(other.requests()).toEqual([])
    expect(mirror.deadEnd.take()).toEqual([])
  })

  it('pulls from another upstream what has the same name there', async () => {
    const [hubs, others] = await Promise.all([image('of the hub'), image('of the other')])
    await mirror.push(hubs, mirror.origin, 'library/same')
    await mirror.push(others, mirror.origin, 'team/same')
    mirror.reset()
    const ctr = await startContainerd(workspace, 'other', mirror.deadEnd.environment)

    await pull(ctr, `${OTHER}/team/same:1`)

    await expectPulled(ctr, others, `${OTHER}/team/same:1`)
    expectNamespace(mirror.recorder.take(), 'team/same', OTHER)
    await expectLogged('team/same', OTHER)
    expect(other.requests('blob').filter(({ method }) => method === 'GET')).toHaveLength(2)
    expect(mirror.hub.registry.requests()).toEqual([])
    expect(mirror.deadEnd.take()).toEqual([])

    // A name is of the registry that it is asked of: this one has it as well, with other content.
    await pull(ctr, 'docker.io/library/same:1')
    await expectPulled(ctr, hubs, 'docker.io/library/same:1')
  })

  it('gets the image that is hosted here in place of that of Docker Hub, and of no other', async () => {
    const [there, here] = await Promise.all([image('hosted there'), image('hosted here')])
    await mirror.push(there, mirror.origin, 'library/hosted')
    await mirror.push(here, mirror.slipway, 'library/hosted')
    mirror.reset()
    const ctr = await startContainerd(workspace, 'hosted', mirror.deadEnd.environment)

    await pull(ctr, 'docker.io/library/hosted:1')
    await expectPulled(ctr, here, 'docker.io/library/hosted:1')
    expect(mirror.hub.registry.requests()).toEqual([])

    await pull(ctr, `${OTHER}/library/hosted:1`)
    await expectPulled(ctr, there, `${OTHER}/library/hosted:1`)
    expect(mirror.deadEnd.take()).toEqual([])
  })

  it('is told the namespace by which it was answered, and by prefix none', async () => {
    await mirror.push(await image('asked for'), mirror.origin, 'library/asked')
    const ask = async (target: string) => {
      const answer = await fetch(`${mirror.slipway.url}/v2/${target}`)
      await answer.arrayBuffer()
      return { status: answer.status, namespace: answer.headers.get('oci-namespace') }
    }

    expect(await ask('library/asked/manifests/1?ns=docker.io')).toEqual({
      status: 200,
      namespace: 'docker.io',
    })
    expect(await ask(`library/asked/manifests/1?ns=${OTHER}`)).toEqual({
      status: 200,
      namespace: OTHER,
    })
    expect(await ask('docker.io/library/asked/manifests/1')).toEqual({
      status: 200,
      namespace: null,
    })
    expect(await ask('library/asked/manifests/1?ns=unknown.example')).toEqual({
      status: 404,
      namespace: null,
    })
  })

  it('pulls what was pulled before when nothing outside can be reached', async () => {
    const { hub, recorder } = mirror
    await Promise.all([hub.registry.stop(), hub.tokens.stop(), hub.cdn.stop(), other.stop()])
    const ctr = await startContainerd(workspace, 'later', mirror.deadEnd.environment)

    await pull(ctr, 'docker.io/library/index:1', '--all-platforms')

    const [head] = recorder.take().filter(({ target }) => target.includes('/manifests/1'))
    expect(head?.responseHeaders.warning).toMatch(/^299 - "served as it was: .+"$/)
    expect(mirror.deadEnd.take()).toEqual([])
  })

  async function pull(ctr: Ctr, name: string, ...flags: string[]): Promise<void> {
    await ctr('images', 'pull', '--hosts-dir', hostsFolder, ...flags, name)
  }

  /** Slipway's own log has the namespace of each request for the repository. */
  async function expectLogged(repository: string, namespace: string): Promise<void> {
    const requests = await requestsIn(mirror.slipway)
    const urls = requests.map(({ url }) => url).filter((url) => url.includes(`/${repository}/`))
    expect(urls).not.toEqual([])
    for (const url of urls) {
      expect(new URL(url, 'http://slipway').searchParams.get('ns')).toBe(namespace)
    }
  }

  function image(content: string): Promise<Layout> {
    return writeImage(folderFor(content.replaceAll(' ', '-')), content)
  }

  function folderFor(name: string): string {
    return path.join(workspace.directory, `image-${name}`)
  }
})

/** All that containerd got of it came from Slipway, and told of where it is. */
function expectNamespace(
  exchanges: readonly Exchange[],
  repository: string,
  namespace: string,
): void {
  const answers = exchanges.filter(({ target }) => target.startsWith(`/v2/${repository}/`))
  expect(answers.some(({ target }) => target.includes('/manifests/'))).toBe(true)
  expect(answers.some(({ target }) => target.includes('/blobs/'))).toBe(true)
  for (const { status, responseHeaders } of answers) {
    expect({ status, namespace: responseHeaders['oci-namespace'] }).toEqual({
      status: 200,
      namespace,
    })
  }
}

async function expectPulled(ctr: Ctr, { root }: Layout, name: string): Promise<void> {
  expect(await ctr('images', 'list', `name==${name}`)).toContain(root.digest)
}
