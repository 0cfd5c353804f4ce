import { isIP } from 'node:net'
import type { Challenge } from './challenge.ts'
import { UpstreamFailure } from './failure.ts'
import { isDowngrade, parseForeignUrl } from './url.ts'

/** Where an upstream says that tokens are to be had, and what it says to ask for. */
export interface TokenService {
  readonly realm: URL
  readonly service: string | undefined
  readonly scopes: readonly string[]
}

export interface ChallengeContext {
  /** The upstream's name. */
  readonly name: string
  readonly upstream: URL
  /** Asked for when the challenge names none. */
  readonly scope: string
}

/** @throws UpstreamFailure 'invalid' unless there is a realm, and over https if the upstream is */
export function readTokenService(
  { parameters }: Challenge,
  { name, upstream, scope }: ChallengeContext,
): TokenService {
  const realm = parseForeignUrl(parameters.get('realm') ?? '')
  if (realm === undefined) {
    throw new UpstreamFailure('invalid', `${name}: does not say where its tokens are to be had`)
  }
  if (isDowngrade(upstream, realm)) {
    const what = `its token service at ${realm.host} is not over https`
    throw new UpstreamFailure('invalid', `${name}: ${what}`)
  }
  const scopes = (parameters.get('scope') ?? '').split(' ').filter((each) => each !== '')
  return { realm, service: parameters.get('service'), scopes: scopes.length > 0 ? scopes : [scope] }
}

/**
 * Whether a token service may be shown the credentials of an upstream: one on the upstream's own
 * host, whatever its port, or on one of `realms`, each `host` or `host:port`.
 */
export function mayHaveCredentials(realm: URL, upstream: URL, realms: readonly string[]): boolean {
  if (realm.hostname === upstream.hostname) return true
  return realms.some((allowed) => {
    const host = isIP(allowed) === 6 ? `[${allowed}]` : allowed
    const url = parseForeignUrl(`${realm.protocol}//${host}`)
    if (url === undefined || url.hostname !== realm.hostname) return false
    return !/:\d+$/.test(host) || url.host === realm.host
  })
}
