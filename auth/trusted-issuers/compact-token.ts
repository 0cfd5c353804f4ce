import { createHash } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader, type JWTPayload } from 'jose'
import { TokenInvalid } from '../tokens/token-invalid.ts'

const MOST_CHARACTERS = 16 * 1024

/** None that a public key could be the secret of. RFC 7518, section 3.1, and RFC 8037. */
export const ALGORITHMS = 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA'.split(' ')

/**
 * What a token claims, which nothing has been checked of: good for choosing whom to check it with.
 *
 * @throws TokenInvalid unless it is a JWT in the compact form of RFC 7515, section 7.1, of at most
 *   16 KiB, and signed in one of {@link ALGORITHMS}
 */
export function readUnverified(token: string): JWTPayload {
  if (token.length > MOST_CHARACTERS) throw new TokenInvalid('the token is too long')
  const parts = token.split('.')
  if (parts.length !== 3 || !parts.every(isCanonical)) {
    throw new TokenInvalid('the token is not a signed JWT')
  }
  let header: { alg?: string }
  let payload: JWTPayload
  try {
    header = decodeProtectedHeader(token)
    payload = decodeJwt(token)
  } catch {
    throw new TokenInvalid('the token is not a signed JWT')
  }
  if (header.alg === undefined || !ALGORITHMS.includes(header.alg)) {
    throw new TokenInvalid('the token is not signed in an algorithm that is accepted')
  }
  return payload
}

/**
 * sha256 of header and payload. The signature is left out: with ECDSA, who has one can make
 * another for the same content.
 */
export function hashSigningInput(token: string): Uint8Array {
  return createHash('sha256')
    .update(token.slice(0, token.lastIndexOf('.')))
    .digest()
}

/** The last character of base64url may have bits that say nothing. */
function isCanonical(part: string): boolean {
  return part !== '' && Buffer.from(part, 'base64url').toString('base64url') === part
}
