import { isPlainLoopback, parseProviderUrl } from './provider-url.ts'

/** OpenID Connect Discovery 1.0, section 4.1. */
export function discoveryUrlOf(issuer: string): URL {
  return new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
}

/** @throws unless the document is the issuer's own and says where its keys are */
export function keysUrlOf(document: unknown, issuer: string): URL {
  if (typeof document !== 'object' || document === null) throw new Error('no discovery document')
  if (!('issuer' in document) || document.issuer !== issuer) {
    throw new Error('the discovery document is of another issuer')
  }
  const text = 'jwks_uri' in document ? document.jwks_uri : undefined
  const url = typeof text === 'string' ? parseProviderUrl(text) : undefined
  if (url === undefined) throw new Error('the discovery document has no jwks_uri over https')
  // An issuer elsewhere has no business on this machine.
  if (isPlainLoopback(url) && !isPlainLoopback(new URL(issuer))) {
    throw new Error('the discovery document leads to loopback, where its issuer is not')
  }
  return url
}
