import { AddressRefused } from './addresses.ts'
import { type FailureReason, UpstreamFailure } from './failure.ts'

/** What OpenSSL does not like about a certificate; `ERR_TLS_CERT_ALTNAME_INVALID` comes from Node. */
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_(?:GET_ISSUER|VERIFY)|CRL|HOSTNAME_MISMATCH/

/** Told by the library, in words that say more than its codes. */
const SAYINGS: Readonly<Record<string, readonly [FailureReason, string]>> = {
  UND_ERR_CONNECT_TIMEOUT: ['unavailable', 'cannot be reached (no connection in time)'],
  UND_ERR_HEADERS_TIMEOUT: ['unavailable', 'did not answer in time'],
  UND_ERR_BODY_TIMEOUT: ['unavailable', 'stopped in the middle of its answer'],
  UND_ERR_SOCKET: ['unavailable', 'the connection broke'],
  ECONNRESET: ['unavailable', 'the connection broke'],
  EPIPE: ['unavailable', 'the connection broke'],
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: ['unavailable', 'the connection broke'],
  UND_ERR_HEADERS_OVERFLOW: ['invalid', 'its answer has too many headers'],
}

/** An error of a connection, or of what runs over it, as the failure of `who`. */
export function asConnectionFailure(who: string, error: unknown): UpstreamFailure {
  if (error instanceof UpstreamFailure) return error
  if (error instanceof AddressRefused) {
    const what = `${error.host} has a private address, and those are not allowed`
    return new UpstreamFailure('invalid', `${who}: ${what}`)
  }
  const code = codeOf(error)
  const [reason, saying] = SAYINGS[code] ?? guess(code)
  return new UpstreamFailure(reason, `${who}: ${saying}`, { cause: error })
}

function guess(code: string): readonly [FailureReason, string] {
  if (/^HPE_|^HTTPParserError$/.test(code)) return ['invalid', 'its answer is not HTTP']
  if (CERTIFICATE.test(code)) return ['unavailable', `the certificate is not trusted (${code})`]
  return ['unavailable', `cannot be reached (${code})`]
}

/** Of several addresses that were tried: that of the first. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error'
  if ('code' in error && typeof error.code === 'string' && error.code !== '') return error.code
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0])
  return error.name
}
