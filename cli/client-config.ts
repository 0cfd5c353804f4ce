/* Files that make the clients of other machines ask this registry in place of upstreams. */
import { listensOnLoopback } from '../config/config.ts'
import type { OutlinedUpstream } from './upstreams.ts'

export const CLIENT_FORMATS = ['docker', 'containerd', 'podman'] as const

export type ClientFormat = (typeof CLIENT_FORMATS)[number]

export interface ClientFile {
  readonly path: string
  readonly content: string
}

type Upstreams = readonly Pick<OutlinedUpstream, 'url' | 'hosts' | 'prefix' | 'plain'>[]

/**
 * @param address of this registry, as clients reach it
 * @returns none where such a client has no way to ask for any of the upstreams
 */
export function clientFiles(
  format: ClientFormat,
  upstreams: Upstreams,
  address: URL,
): readonly ClientFile[] {
  const write = { docker: dockerFiles, containerd: containerdFiles, podman: podmanFiles }
  return write[format](upstreams, address)
}

/** Docker takes mirrors for Docker Hub alone, and asks them for plain names. */
function dockerFiles(upstreams: Upstreams, address: URL): ClientFile[] {
  if (!upstreams.some(({ plain }) => plain)) return []
  const settings = {
    'registry-mirrors': [address.origin],
    ...(isInsecure(address) && { 'insecure-registries': [address.host] }),
  }
  return [
    { path: '/etc/docker/daemon.json', content: `${JSON.stringify(settings, undefined, 2)}\n` },
  ]
}

/** Docker does without TLS on loopback, and nowhere else unless told so. */
function isInsecure({ protocol, hostname }: URL): boolean {
  const host = hostname.replaceAll(/[[\]]/g, '')
  return protocol === 'http:' && !listensOnLoopback({ listen: { host, port: 0 } })
}

function containerdFiles(upstreams: Upstreams, address: URL): ClientFile[] {
  return upstreams.flatMap(({ url, hosts }) =>
    hosts.filter(isHost).map((host) => ({
      path: `/etc/containerd/certs.d/${host}/hosts.toml`,
      content: `server = ${quote(url)}

[host.${quote(address.origin)}]
  capabilities = ["pull", "resolve"]
`,
    })),
  )
}

function podmanFiles(upstreams: Upstreams, address: URL): ClientFile[] {
  const registries = upstreams.flatMap(({ hosts, prefix }) =>
    hosts.filter(isHost).map(
      (host) => `[[registry]]
prefix = ${quote(host)}
location = ${quote(host)}

[[registry.mirror]]
location = ${quote(`${address.host}/${prefix}`)}
${address.protocol === 'http:' ? 'insecure = true\n' : ''}`,
    ),
  )
  if (registries.length === 0) return []
  return [
    { path: '/etc/containers/registries.conf.d/slipway.conf', content: registries.join('\n') },
  ]
}

/** Others, at the beginning of an image's name, are part of a name on Docker Hub. */
function isHost(host: string): boolean {
  return /[.:]/.test(host) || host === 'localhost'
}

/** A basic string of TOML; neither URLs nor hosts have anything to escape. */
function quote(text: string): string {
  return `"${text}"`
}
