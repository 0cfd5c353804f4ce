/**
 * The `x5c` header: RFC 7515, section 4.1.6, checked as RFC 5280 wants it as far as keys are
 * concerned. Names do not matter here, so that constraints on them are not looked at.
 */
import { type KeyObject, X509Certificate } from 'node:crypto'
import { TokenInvalid } from '../tokens/token-invalid.ts'

const MOST_CERTIFICATES = 5

/**
 * The key of the first certificate, which some root vouches for. Each certificate has to be
 * signed by the next one; the root itself may be left out or be the last.
 * @throws TokenInvalid
 */
export function verifyChain(x5c: unknown, roots: readonly X509Certificate[], now: Date): KeyObject {
  const chain = parseChain(x5c)
  for (const [index, certificate] of chain.entries()) {
    if (index > 0) requireIssuer(certificate, index - 1)
    requireValid(certificate, now)
    if (isAnchored(certificate, { roots, now, authorities: index })) return chain[0]!.publicKey
    const next = chain[index + 1]
    if (next === undefined) break
    requireStrongSignature(certificate)
    if (!isSignedBy(certificate, next)) throw new TokenInvalid('its x5c is not in one chain')
  }
  throw new TokenInvalid('its x5c leads to none of the root certificates')
}

function parseChain(x5c: unknown): X509Certificate[] {
  if (!Array.isArray(x5c) || x5c.length === 0 || x5c.length > MOST_CERTIFICATES) {
    throw new TokenInvalid(`its x5c is not a list of 1 to ${MOST_CERTIFICATES} certificates`)
  }
  return x5c.map((entry: unknown) => {
    try {
      return new X509Certificate(Buffer.from(String(entry), 'base64'))
    } catch {
      throw new TokenInvalid('its x5c has something that is no certificate')
    }
  })
}

interface Anchors {
  readonly roots: readonly X509Certificate[]
  readonly now: Date
  /** How many certificates of the chain, the one asked about included, issued another. */
  readonly authorities: number
}

/** Whether `certificate` is a root or was issued by one. */
function isAnchored(certificate: X509Certificate, { roots, now, authorities }: Anchors): boolean {
  if (roots.some((root) => root.raw.equals(certificate.raw))) return true
  const issuer = roots.find((root) => root.ca && isSignedBy(certificate, root))
  if (issuer === undefined) return false
  requireStrongSignature(certificate)
  requireIssuer(issuer, authorities)
  requireValid(issuer, now)
  return true
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  } catch {
    return false
  }
}

function requireIssuer(certificate: X509Certificate, authoritiesBelow: number): void {
  if (!certificate.ca) throw new TokenInvalid('its x5c has an issuer that is no authority')
  if (pathLengthOf(certificate) < authoritiesBelow) {
    throw new TokenInvalid('its x5c is longer than an authority in it allows')
  }
}

function requireValid(certificate: X509Certificate, now: Date): void {
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)]
  // The other way round, so that a date which cannot be read is refused.
  if (!(from <= now.getTime() && now.getTime() <= to)) {
    throw new TokenInvalid('its x5c has a certificate that is not valid at this time')
  }
}

/** AlgorithmIdentifier of RSA with MD5 and SHA-1 and of ECDSA with SHA-1, which can be forged. */
const WEAK_SIGNATURES = ['06092a864886f70d010104', '06092a864886f70d010105', '06072a8648ce3d0401']

function requireStrongSignature(certificate: X509Certificate): void {
  if (WEAK_SIGNATURES.some((oid) => certificate.raw.includes(oid, 0, 'hex'))) {
    throw new TokenInvalid('its x5c has a certificate signed with MD5 or SHA-1')
  }
}

const BASIC_CONSTRAINTS = Buffer.from('0603551d13', 'hex')
const AUTHORITY_WITH_PATH_LENGTH = Buffer.from('0101ff0201', 'hex')

/**
 * The pathLenConstraint, which node:crypto does not show. The bytes may stand elsewhere as well,
 * in a name for example; taking the smallest number can then only refuse too much.
 */
function pathLengthOf({ raw }: X509Certificate): number {
  let smallest = Number.POSITIVE_INFINITY
  for (let at = raw.indexOf(BASIC_CONSTRAINTS); at >= 0; at = raw.indexOf(BASIC_CONSTRAINTS, at)) {
    at += BASIC_CONSTRAINTS.length
    // BOOLEAN critical (3 bytes, may be left out), OCTET STRING and SEQUENCE (2 bytes each).
    const value = raw.subarray(at, at + 3 + 2 + 2 + AUTHORITY_WITH_PATH_LENGTH.length + 1)
    const found = value.indexOf(AUTHORITY_WITH_PATH_LENGTH)
    const length = found < 0 ? undefined : value[found + AUTHORITY_WITH_PATH_LENGTH.length]
    smallest = Math.min(smallest, length ?? Number.POSITIVE_INFINITY)
  }
  return smallest
}
