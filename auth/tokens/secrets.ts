import { createHash, randomBytes } from 'node:crypto'

/** What a secret opens can be seen from its beginning, by people and by scanners of code. */
const PREFIXES = {
  robot: 'slipr_',
  personal: 'slipp_',
  identity: 'slipi_',
  keyless: 'slipk_',
} as const

export type SecretKind = keyof typeof PREFIXES

const KINDS: readonly SecretKind[] = ['robot', 'personal', 'identity', 'keyless']

const BYTES = 32

/** A new secret with 256 random bits; it is shown once, and only its hash is kept. */
export function createSecret(kind: SecretKind): { readonly secret: string; readonly hash: Buffer } {
  const secret = PREFIXES[kind] + randomBytes(BYTES).toString('base64url')
  return { secret, hash: hashSecret(secret) }
}

/** A fast hash will do: there are too many secrets to guess one, and it is looked up by its hash. */
export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}

/** Undefined for what is a password. */
export function kindOfSecret(text: string): SecretKind | undefined {
  return KINDS.find((kind) => text.startsWith(PREFIXES[kind]))
}
