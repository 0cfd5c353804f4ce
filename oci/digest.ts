import { createHash, type Hash } from 'node:crypto'
import { RegistryError } from './errors.ts'

/** `algorithm:encoded`, already checked by one of the parsers here. Image spec, "Digests". */
export type Digest = string & { readonly __type: 'Digest' }

export type DigestAlgorithm = 'sha256' | 'sha512'

const SUPPORTED = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/
const GRAMMAR = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/
const REGISTERED = /^sha(?:256|512):/
const MAX_LENGTH = 255

/**
 * A digest the registry can compute: sha256 or sha512, in lower-case hex.
 *
 * @throws RegistryError DIGEST_INVALID
 */
export function parseDigest(text: string): Digest {
  if (!SUPPORTED.test(text)) throw new RegistryError('DIGEST_INVALID', quote(text))
  return text as Digest
}

/**
 * A digest inside a descriptor. Algorithms the registry cannot compute are allowed there
 * (image spec, "Digests": an implementation should let them pass), malformed text is not.
 *
 * @throws RegistryError DIGEST_INVALID
 */
export function parseDescriptorDigest(text: string): Digest {
  const pattern = REGISTERED.test(text) ? SUPPORTED : GRAMMAR
  if (text.length > MAX_LENGTH || !pattern.test(text)) {
    throw new RegistryError('DIGEST_INVALID', quote(text))
  }
  return text as Digest
}

/** @throws RegistryError DIGEST_INVALID */
export function parseDigestAlgorithm(text: string): DigestAlgorithm {
  if (text === 'sha256' || text === 'sha512') return text
  throw new RegistryError('DIGEST_INVALID', `unsupported algorithm ${quote(text)}`)
}

export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return toDigest(algorithm, createHash(algorithm).update(bytes))
}

/** Finishes `hash`; it cannot be updated afterwards. */
export function toDigest(algorithm: DigestAlgorithm, hash: Hash): Digest {
  return formatDigest(algorithm, hash.digest('hex'))
}

/** `hex`: the hash in lower case. */
export function formatDigest(algorithm: DigestAlgorithm, hex: string): Digest {
  return `${algorithm}:${hex}` as Digest
}

/** The two sides of the colon; the digest must be one of {@link parseDigest}. */
export function splitDigest(digest: Digest): { algorithm: DigestAlgorithm; hex: string } {
  const colon = digest.indexOf(':')
  return { algorithm: digest.slice(0, colon) as DigestAlgorithm, hex: digest.slice(colon + 1) }
}

/** Untrusted text, cut to a length that is safe to repeat in an answer. */
function quote(text: string): string {
  return JSON.stringify(text.slice(0, 160))
}
