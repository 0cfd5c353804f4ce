import path from 'node:path'
import { expect } from 'vitest'
import { type Hub, startHub } from '../../support/upstream/hub.ts'
import { type DeadEnd, startDeadEnd } from './dead-end.ts'
import type { Layout } from './images.ts'
import { type Exchange, type RecordingProxy, startRecordingProxy } from './recording-proxy.ts'
import { type Skopeo, skopeoIn } from './skopeo.ts'
import { runSlipway, type Slipway, startSlipway } from './slipway.ts'
import type { Workspace } from './workspace.ts'

/** The built server as a cache of Docker Hub, between the Hub and its clients. */
export interface Mirror {
  /** The registry behind the Hub, open to everybody: what is pushed here the Hub has. */
  readonly origin: Slipway
  readonly hub: Hub
  /** Has the Hub as its upstream `docker.io`, and an account there. */
  readonly slipway: Slipway
  /** Before Slipway. Clients ask here. */
  readonly recorder: RecordingProxy
  /** The way out for clients, that they had better not take. */
  readonly deadEnd: DeadEnd
  /** Copies an image to a registry, as its tag `1`. */
  push(this: void, layout: Layout, to: Slipway, repository: string): Promise<void>
  /** What `slipway upstream client-config` prints for a kind of client: content by path. */
  clientConfig(this: void, format: string): Promise<ReadonlyMap<string, string>>
  /** All that was noted so far is forgotten. */
  reset(this: void): void
}

export interface MirrorOptions {
  /** Settings of Slipway besides its upstreams. */
  readonly environment?: NodeJS.ProcessEnv
  /** By name, besides `docker.io`. They are given the URL of the registry behind the Hub. */
  readonly others?: (origin: Slipway) => Promise<Readonly<Record<string, object>>>
  readonly skopeo?: Skopeo
}

const ACCOUNT = { username: 'mirror', password: 'known-to-the-hub' }

export async function openMirror(
  workspace: Workspace,
  { environment = {}, others = async () => ({}), skopeo = skopeoIn(workspace) }: MirrorOptions = {},
): Promise<Mirror> {
  const origin = await startSlipway(workspace, path.join(workspace.directory, 'origin'))
  const hub = await startHub({ target: origin.url, account: ACCOUNT })
  workspace.onClose(hub.close)
  const upstreams = {
    'docker.io': {
      url: hub.url,
      privateAddresses: true,
      realms: [hub.tokenHost],
      freshSeconds: 0, // each pull asks whether the tag is still the same
      ...ACCOUNT,
    },
    ...(await others(origin)),
  }
  const settings = { SLIPWAY_UPSTREAMS: JSON.stringify(upstreams), ...environment }
  const slipway = await startSlipway(workspace, undefined, { environment: settings })
  const recorder = await startRecordingProxy(workspace, slipway.host)
  const deadEnd = await startDeadEnd(workspace)
  return {
    origin,
    hub,
    slipway,
    recorder,
    deadEnd,
    push: ({ directory, tag }, { host }, repository) =>
      skopeo.copy(`oci:${directory}:${tag}`, `docker://${host}/${repository}:1`),
    clientConfig: async (format) => {
      const command = ['upstream', 'client-config', '--data', slipway.dataDirectory]
      const flags = ['--format', format, '--address', `http://${recorder.host}`]
      return filesIn(await runSlipway([...command, ...flags], settings))
    },
    reset: () => {
      for (const part of [hub.registry, hub.tokens, hub.cdn]) part.reset()
      recorder.take()
      deadEnd.take()
    },
  }
}

/** The sizes of its config and its layers, in bytes. @param image `library/app`, of one platform */
export async function blobBytes({ url }: Slipway, image: string): Promise<number> {
  const response = await fetch(`${url}/v2/${image}/manifests/1`)
  const { config, layers } = (await response.json()) as {
    config: { size: number }
    layers: { size: number }[]
  }
  return [config, ...layers].reduce((sum, { size }) => sum + size, 0)
}

/** The Hub was asked as Slipway is meant to: by its token service, and the CDN by links alone. */
export function expectAskedWell({ hub }: Mirror, repository: string): void {
  const tokens = hub.tokens.requests()
  expect(tokens.map(({ kind, authorization }) => ({ kind, authorization }))).toEqual(
    tokens.map(() => ({ kind: 'token', authorization: 'basic' })),
  )
  expect(tokens.some(({ path: asked }) => isScopeOf(repository, asked))).toBe(true)

  const atRegistry = hub.registry.requests().map(({ authorization }) => authorization)
  expect(atRegistry).toContain('bearer')
  expect(atRegistry).not.toContain('basic')
  expect(hub.registry.requests('token')).toEqual([])

  const atCdn = hub.cdn.requests().map(({ authorization }) => authorization)
  expect(new Set(atCdn)).toEqual(new Set(['none']))
}

/** Of manifests, or of blobs, that clients got. */
export function pulled(
  exchanges: readonly Exchange[],
  kind: 'manifests' | 'blobs',
): readonly Exchange[] {
  return exchanges.filter(
    ({ method, target, status }) =>
      method === 'GET' && target.includes(`/${kind}/`) && status === 200,
  )
}

function isScopeOf(repository: string, target: string): boolean {
  const scopes = new URL(target, 'http://tokens').searchParams.getAll('scope')
  return scopes.includes(`repository:${repository}:pull`)
}

/** Each begins with a line `# /its/path`. */
function filesIn(printed: string): ReadonlyMap<string, string> {
  const files = printed.split(/^# (?=\/)/m).slice(1)
  return new Map(
    files.map((file) => {
      const end = file.indexOf('\n')
      return [file.slice(0, end), file.slice(end + 1)]
    }),
  )
}
