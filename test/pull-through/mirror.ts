import { type Client, type RunningRegistry, runRegistry } from '../acceptance/client.ts'
import type { TestRegistryOptions } from '../support/registry.ts'
import { UpstreamProxy } from '../support/upstream/fault-proxy.ts'
import type { UpstreamRequest } from '../support/upstream/request.ts'
import { SettlingClient } from './settling-client.ts'

/** Another registry, open to everybody, and what stands between it and the mirror. */
interface Elsewhere {
  /** Pushes there, past the proxy. */
  readonly client: Client
  readonly proxy: UpstreamProxy
}

/** A registry that pulls through from Docker Hub and from Quay, as far as names go. */
export interface Mirror<Running extends RunningRegistry = RunningRegistry> {
  readonly here: Running
  readonly client: Client
  /** As `docker.io`: for names without a prefix as well, and with its `library/`. */
  readonly hub: Elsewhere
  /** As `quay.io`. */
  readonly quay: Elsewhere
  /** What either was asked since {@link forget}. */
  asked(this: void): readonly UpstreamRequest[]
  forget(this: void): void
  close(this: void): Promise<void>
}

export interface MirrorOptions<Running extends RunningRegistry> {
  /** Fields of the upstreams. */
  readonly hub?: object
  readonly quay?: object
  /** Opens the mirror. */
  readonly run: (options: Pick<TestRegistryOptions, 'upstreams'>) => Promise<Running>
}

export function openMirror(
  fields: Omit<MirrorOptions<RunningRegistry>, 'run'> = {},
): Promise<Mirror> {
  return openMirrorBy({ ...fields, run: runRegistry })
}

export async function openMirrorBy<Running extends RunningRegistry>({
  hub: hubFields,
  quay: quayFields,
  run,
}: MirrorOptions<Running>): Promise<Mirror<Running>> {
  const [hub, quay] = [await openElsewhere(), await openElsewhere()]
  const here = await run({
    upstreams: {
      'docker.io': { url: hub.proxy.url, privateAddresses: true, ...hubFields },
      'quay.io': { url: quay.proxy.url, privateAddresses: true, ...quayFields },
    },
  })
  const proxies = [hub.proxy, quay.proxy]
  const client = new SettlingClient(here)
  return {
    here,
    client,
    hub,
    quay,
    asked: () => proxies.flatMap((proxy) => proxy.requests()),
    forget: () => proxies.forEach((proxy) => proxy.reset()),
    close: async () => {
      client.close()
      await here.close()
      await hub.close()
      await quay.close()
    },
  }
}

async function openElsewhere(): Promise<Elsewhere & { close(this: void): Promise<void> }> {
  const running = await runRegistry()
  const proxy = await UpstreamProxy.start(`http://${running.registry.host}`)
  return {
    client: running.client,
    proxy,
    close: async () => {
      await proxy.close()
      await running.close()
    },
  }
}

/** `/v2/…` of a name that may have a query behind it: `alpine?ns=docker.io`. */
export function pathOf(name: string, rest: string): string {
  const [repository, query] = name.split('?')
  return `/v2/${repository}/${rest}${query === undefined ? '' : `?${query}`}`
}
