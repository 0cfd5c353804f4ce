import {
  openTestRegistry,
  type TestRegistry,
  type TestRegistryOptions,
} from '../support/registry.ts'
import { UpstreamProxy } from '../support/upstream/fault-proxy.ts'
import { openUpstreamRegistry, type UpstreamRegistry } from '../support/upstream/second-slipway.ts'

/** A registry that pulls through from another one, which asks for a token and may be made to fail. */
export interface Stage {
  readonly upstream: UpstreamRegistry
  /** Between the two. */
  readonly proxy: UpstreamProxy
  readonly here: TestRegistry
  /** `http://127.0.0.1:port` of the registry that pulls through. */
  readonly url: string
  close(this: void): Promise<void>
}

export interface StageOptions extends Omit<TestRegistryOptions, 'upstreams'> {
  /** Fields of the upstream, which is called `up.example`. */
  readonly upstream?: object
}

export const NAME = 'up.example'

export async function openStage({
  upstream: fields,
  ...options
}: StageOptions = {}): Promise<Stage> {
  const upstream = await openUpstreamRegistry()
  const proxy = await UpstreamProxy.start(upstream.url)
  const here = await openTestRegistry({
    ...options,
    upstreams: {
      [NAME]: { url: proxy.url, privateAddresses: true, ...upstream.credentials, ...fields },
    },
  })
  return {
    upstream,
    proxy,
    here,
    url: `http://${here.host}`,
    close: async () => {
      await here.close()
      await proxy.close()
      await upstream.close()
    },
  }
}
