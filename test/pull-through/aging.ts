import { parseUpstream } from '../../config/upstream-settings.ts'
import { openUpstream } from '../../server/upstreams.ts'
import {
  type Answer,
  type Client,
  type RunningRegistry,
  runRegistry,
} from '../acceptance/client.ts'
import { type Image, pushImage } from '../acceptance/images.ts'
import type { FaultHandle } from '../support/proxy/fault.ts'
import type { TestRegistryOptions } from '../support/registry.ts'
import { UpstreamProxy } from '../support/upstream/fault-proxy.ts'

export const NAME = 'up.example'

/** A registry that pulls through, where time passes for what is kept as a test likes it. */
export interface AgingStage {
  readonly here: RunningRegistry
  readonly client: Client
  /** Of the upstream, past the proxy. */
  readonly upstream: Client
  readonly proxy: UpstreamProxy
  /** The upstream as after a restart: nothing is known of how it is doing. Its fields may be others. */
  renew(this: void, fields?: object): Promise<void>
  /** Holds until {@link recover}. */
  failBy(this: void, fault: FaultHandle): void
  /** Everything that fails is over, outages too; what is known of it stays. */
  recover(this: void): Promise<void>
  /** Another image under the tag, there. */
  push(this: void, repository: string, tag?: string): Promise<Image>
  pull(this: void, repository: string, reference?: string, method?: 'GET' | 'HEAD'): Promise<Answer>
  /** Makes all that is kept older, as far as its upstream's word goes. */
  age(this: void, seconds: number): Promise<void>
  close(this: void): Promise<void>
}

/** @param patience in milliseconds; that of the product when left out */
export async function openAgingStage(
  options: Pick<TestRegistryOptions, 'patience'> = {},
): Promise<AgingStage> {
  const upstream = await runRegistry()
  const proxy = await UpstreamProxy.start(`http://${upstream.registry.host}`)
  const here = await runRegistry(options)
  const { registry, database } = here.registry
  const renew = async (fields: object = {}) => {
    const settings = { url: proxy.url, privateAddresses: true, ...fields }
    registry.pullThrough.upstreams.replace([await openUpstream(parseUpstream(NAME, settings))])
  }
  await renew()
  const faults: FaultHandle[] = []
  return {
    here,
    client: here.client,
    upstream: upstream.client,
    proxy,
    renew,
    failBy: (fault) => {
      faults.push(fault)
    },
    recover: async () => {
      for (const fault of faults.splice(0)) fault.clear()
      await proxy.restore()
    },
    push: (repository, tag = 'latest') => pushImage(upstream.client, repository, tag),
    pull: (repository, reference = 'latest', method = 'GET') =>
      here.client.send(method, `/v2/${NAME}/${repository}/manifests/${reference}`),
    age: async (seconds) => {
      await database.pool.query(
        `update tags set checked_at = checked_at - make_interval(secs => $1)`,
        [seconds],
      )
      registry.cache.forgetAll()
    },
    close: async () => {
      await here.close()
      await proxy.close()
      await upstream.close()
    },
  }
}
