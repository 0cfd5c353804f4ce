import { createHash, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'

/** How the log calls a file of keys. */
export const KEYS_FILE = 'file of the keys of the token service'

/** Signatures only. HS256 and its kin would take a public key for a shared secret. */
export const ALGORITHMS: readonly string[] =
  'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA'.split(' ')

const SMALLEST_RSA_BITS = 2048

/** Those of `ALGORITHMS` that a key can sign with: none for a short or an unusual key. */
export function algorithmsOf(key: KeyObject): readonly string[] {
  const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ec') return ECDSA_ALGORITHMS.get(namedCurve ?? '') ?? []
  if (key.asymmetricKeyType === 'ed25519') return ['EdDSA']
  if (key.asymmetricKeyType !== 'rsa' || modulusLength < SMALLEST_RSA_BITS) return []
  return ALGORITHMS.filter((alg) => /^[RP]S/.test(alg))
}

const ECDSA_ALGORITHMS: ReadonlyMap<string, readonly string[]> = new Map([
  ['prime256v1', ['ES256']],
  ['secp384r1', ['ES384']],
  ['secp521r1', ['ES512']],
])

/** What a `kid` may call a key that came without a name. Both are SHA-256 of the key itself. */
export async function namesOf(key: KeyObject): Promise<string[]> {
  const thumbprint = await calculateJwkThumbprint(key.export({ format: 'jwk' }))
  return [thumbprint, libtrustFingerprint(key)]
}

/** `ABCD:EFGH:…`, twelve groups: how Docker's libtrust names a key, docker_auth and GitLab after it. */
export function libtrustFingerprint(key: KeyObject): string {
  const spki = key.export({ format: 'der', type: 'spki' })
  const hash = createHash('sha256').update(spki).digest().subarray(0, 30)
  return base32(hash).match(/.{4}/g)!.join(':')
}

/** RFC 4648, "Base 32 Encoding". The length has to be a multiple of 5 bytes: there is no padding. */
function base32(bytes: Buffer): string {
  const digits = BigInt(`0x${bytes.toString('hex')}`).toString(32)
  return digits
    .padStart((bytes.length * 8) / 5, '0')
    .replace(/./g, (digit) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[Number.parseInt(digit, 32)]!)
}
