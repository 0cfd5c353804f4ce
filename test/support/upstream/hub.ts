import { UpstreamProxy } from './fault-proxy.ts'
import { DownloadLinks } from './hub/download-links.ts'
import { RateLimit } from './hub/rate-limit.ts'
import { registryOf } from './hub/registry.ts'
import { TokenService } from './hub/token-service.ts'

export interface HubOptions {
  /** The registry that has the content and lets everybody pull, `http://127.0.0.1:5000`. */
  readonly target: string
  readonly account?: { readonly username: string; readonly password: string }
  /** Names of repositories that only the account may pull. */
  readonly privateRepositories?: readonly string[]
  /** Manifests that may be pulled; Infinity for no limit and none of its headers. 100 by default. */
  readonly limit?: number
  /** How long tokens are good for; 300 by default. */
  readonly tokenSeconds?: number
}

/**
 * Docker Hub, as clients see it: a registry, a token service and a CDN on three hosts. Each notes
 * what it is asked, and fails on demand.
 */
export interface Hub {
  /** As `registry-1.docker.io`, on 127.0.0.1. */
  readonly registry: UpstreamProxy
  /** As `auth.docker.io`, on 127.0.0.2. */
  readonly tokens: UpstreamProxy
  /** As `production.cloudflare.docker.com`, on 127.0.0.3. */
  readonly cdn: UpstreamProxy
  /** Of the registry. */
  readonly url: string
  /** Address and port of the token service. */
  readonly tokenHost: string
  /** Sent by the CDN. */
  readonly blobBytes: number
  /** Manifests that may still be pulled. */
  readonly remaining: number
  setRemaining(this: void, remaining: number): void
  /** Tokens that were issued are not good any more. */
  expireTokens(this: void): void
  /** Nor are the URLs that lead to the CDN. */
  expireLinks(this: void): void
  close(this: void): Promise<void>
}

export async function startHub({
  target,
  account,
  privateRepositories = [],
  limit = 100,
  tokenSeconds = 300,
}: HubOptions): Promise<Hub> {
  const service = new TokenService({ target, account, privateRepositories, tokenSeconds })
  const links = new DownloadLinks()
  const rateLimit = new RateLimit(limit)
  const tokens = await UpstreamProxy.start(target, { host: '127.0.0.2', conduct: service.serve })
  const cdn = await UpstreamProxy.start(target, { host: '127.0.0.3', conduct: links.serve })
  const registry = await UpstreamProxy.start(target, {
    conduct: registryOf({ target, service, realm: `${tokens.url}/token`, links, cdn, rateLimit }),
  })
  return {
    registry,
    tokens,
    cdn,
    url: registry.url,
    tokenHost: new URL(tokens.url).host,
    get blobBytes() {
      return cdn.blobBytes
    },
    get remaining() {
      return rateLimit.remaining
    },
    setRemaining: (remaining) => {
      rateLimit.remaining = remaining
    },
    expireTokens: () => service.expire(),
    expireLinks: () => links.expire(),
    close: async () => {
      await Promise.all([registry.close(), tokens.close(), cdn.close()])
    },
  }
}
