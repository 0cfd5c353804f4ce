import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls'
import { buildConnector } from 'undici'
import { AddressRefused, type AddressRule, lookupAllowed } from './addresses.ts'

export interface ConnectorOptions {
  /** Certificates in PEM that are trusted besides those Node brings along. */
  readonly ca?: string | undefined
  readonly isAllowed: AddressRule
  readonly connectMs: number
}

/** One family of addresses is given so long before the other is tried. */
const FAMILY_MS = 1000

/**
 * Opens connections, the handshake of TLS included, and refuses addresses where they are really
 * used: the one place that neither a name, a redirect nor a realm gets around.
 *
 * @throws Error when `ca` is no certificate in PEM
 */
export function createConnector({
  ca,
  isAllowed,
  connectMs,
}: ConnectorOptions): buildConnector.connector {
  const connect = buildConnector({
    timeout: connectMs,
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: Math.min(FAMILY_MS, connectMs),
    lookup: lookupAllowed(isAllowed),
    ...(ca === undefined ? {} : { secureContext: trust(ca) }),
  })
  return (options, callback) => {
    // Nobody looks up a host that is an address.
    const { hostname } = options
    if (isIP(hostname) !== 0 && !isAllowed(hostname)) {
      callback(new AddressRefused(hostname), null)
      return
    }
    connect(options, callback)
  }
}

/** Made once for all connections: a hundred certificates take a while to read. */
function trust(ca: string): SecureContext {
  try {
    // Below, what is no certificate would be skipped without a word.
    void new X509Certificate(ca)
  } catch (error) {
    throw new Error('what is to be trusted is no certificate in PEM', { cause: error })
  }
  return createSecureContext({ ca: [...rootCertificates, ca] })
}
