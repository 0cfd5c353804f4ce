import type { Exchange } from '../../proxy/exchange.ts'
import { answerOf, type Refusal } from '../fault.ts'
import type { UpstreamProxy } from '../fault-proxy.ts'
import { kindOf, repositoryIn } from '../request.ts'
import type { DownloadLinks } from './download-links.ts'
import type { RateLimit } from './rate-limit.ts'
import { type Grant, SERVICE, type TokenService } from './token-service.ts'

export interface RegistryOptions {
  readonly target: string
  readonly service: TokenService
  /** The URL of the token service. */
  readonly realm: string
  readonly links: DownloadLinks
  readonly cdn: UpstreamProxy
  readonly rateLimit: RateLimit
}

/** `registry-1.docker.io`: nothing without a token, few manifests, blobs elsewhere. */
export function registryOf(options: RegistryOptions): (exchange: Exchange) => Promise<void> {
  return async (exchange) => {
    const { method = '', url: path = '', headers } = exchange.incoming
    const kind = kindOf(path)
    const repository = repositoryIn(path)
    const token = /^bearer (.+)$/i.exec(headers.authorization ?? '')?.[1]
    const grant = token === undefined ? undefined : options.service.grantOf(token)
    const reads = method === 'GET' || method === 'HEAD'
    const isGranted = repository === undefined || (reads && grant?.repositories.has(repository))
    if (token === undefined) return exchange.reply(challenge(options, repository))
    if (grant === undefined) return exchange.reply(challenge(options, repository, 'invalid_token'))
    if (!isGranted) return exchange.reply(challenge(options, repository, 'insufficient_scope'))

    if (kind === 'manifest') await serveManifest(options, exchange, grant)
    else if (kind === 'blob') await serveBlob(options, exchange)
    else await exchange.pass(await exchange.ask({ without: CREDENTIALS }))
  }
}

const CREDENTIALS = ['authorization']

function challenge(
  { realm }: RegistryOptions,
  repository: string | undefined,
  error?: 'invalid_token' | 'insufficient_scope',
) {
  const scope = repository === undefined ? '' : `,scope="repository:${repository}:pull"`
  const because = error === undefined ? '' : `,error="${error}"`
  return refuse({
    status: 401,
    message: 'authentication required',
    headers: {
      'WWW-Authenticate': `Bearer realm="${realm}",service="${SERVICE}"${scope}${because}`,
    },
  })
}

async function serveManifest(
  { rateLimit }: RegistryOptions,
  exchange: Exchange,
  { account }: Grant,
): Promise<void> {
  const { method, socket } = exchange.incoming
  const source = account ?? socket.remoteAddress ?? ''
  if (method === 'GET' && !rateLimit.take()) {
    const headers = rateLimit.headers(source)
    return exchange.reply(refuse({ status: 429, message: limitReached(account), headers }))
  }
  const answer = await exchange.ask({ without: CREDENTIALS })
  await exchange.pass(answer, { headers: rateLimit.headers(source) })
}

function limitReached(account: string | undefined): string {
  const more = 'https://www.docker.com/increase-rate-limit'
  return account === undefined
    ? `You have reached your unauthenticated pull rate limit. ${more}`
    : `You have reached your pull rate limit as '${account}'. You may increase the limit by upgrading. ${more}`
}

/** HEAD is redirected too. */
async function serveBlob(
  { target, links, cdn }: RegistryOptions,
  exchange: Exchange,
): Promise<void> {
  const { url: path = '' } = exchange.incoming
  const { ok } = await fetch(`${target}${path}`, { method: 'HEAD' })
  if (!ok) return exchange.pass(await exchange.ask({ without: CREDENTIALS }))
  const location = cdn.url + links.make(path)
  await exchange.reply({
    status: 307,
    headers: { Location: location, 'Content-Type': 'text/html; charset=utf-8' },
    body: `<a href="${location.replaceAll('&', '&amp;')}">Temporary Redirect</a>.\n\n`,
  })
}

function refuse(refusal: Refusal) {
  const headers = { 'Docker-Distribution-Api-Version': 'registry/2.0', ...refusal.headers }
  return answerOf({ ...refusal, headers })
}
