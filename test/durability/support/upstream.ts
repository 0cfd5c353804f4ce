import { UpstreamProxy } from '../../support/upstream/fault-proxy.ts'
import type { UpstreamRequest } from '../../support/upstream/request.ts'
import { openUpstreamRegistry } from '../../support/upstream/second-slipway.ts'

const NAME = 'up.example'

/** A layer of another registry, which no server under test has yet. */
export interface RemoteLayer {
  readonly digest: string
  readonly size: number
  /** Of the repository that keeps it here. */
  readonly repository: string
  /** Paths of the API here. */
  readonly path: string
  readonly tagPath: string
}

/** Another registry, which asks for tokens, and what stands between it and the servers under test. */
export interface Upstream {
  readonly proxy: UpstreamProxy
  /** Settings of a server that pulls through from it. */
  readonly environment: NodeJS.ProcessEnv
  /** Pushes an image there, past the proxy, with one layer of so many bytes. */
  push(this: void, repository: string, size: number): Promise<RemoteLayer>
  close(this: void): Promise<void>
}

/** @param fields of the upstream, besides where it is and who asks */
export async function openUpstream(fields: object = {}): Promise<Upstream> {
  const registry = await openUpstreamRegistry()
  const proxy = await UpstreamProxy.start(registry.url)
  const definition = {
    url: proxy.url,
    privateAddresses: true,
    ...registry.credentials,
    ...fields,
  }
  return {
    proxy,
    environment: { SLIPWAY_UPSTREAMS: JSON.stringify({ [NAME]: definition }) },
    push: async (repository, size) => {
      const { layers, tag } = await registry.push({ repository, layers: [size] })
      const { digest } = layers[0]!
      const here = `${NAME}/${repository}`
      return {
        digest,
        size,
        repository: here,
        path: `/v2/${here}/blobs/${digest}`,
        tagPath: `/v2/${here}/manifests/${tag}`,
      }
    },
    close: async () => {
      await proxy.close()
      await registry.close()
    },
  }
}

/** Asks for a blob and may have it: without a token it would be refused before a byte was sent. */
export function isBlobFetch({ kind, method, authorization }: UpstreamRequest): boolean {
  return kind === 'blob' && method === 'GET' && authorization === 'bearer'
}
