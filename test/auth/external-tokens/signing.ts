import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

export const ISSUER = 'https://auth.example.com'
export const SERVICE = 'registry.example.com'

export interface KeyPair {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

export const createEcKey = (namedCurve = 'P-256'): KeyPair =>
  generateKeyPairSync('ec', { namedCurve })
export const createRsaKey = (modulusLength = 2048): KeyPair =>
  generateKeyPairSync('rsa', { modulusLength })

export const jwkOf = ({ publicKey }: KeyPair, members: object = {}): object => ({
  ...publicKey.export({ format: 'jwk' }),
  ...members,
})

export const keySetOf = (...keys: object[]): string => JSON.stringify({ keys })

/** Claims that are accepted at `now`, for five minutes. */
export function claimsAt(now: Date, claims: object = {}): object {
  const seconds = Math.floor(now.getTime() / 1000)
  return { iss: ISSUER, aud: SERVICE, sub: 'alice', exp: seconds + 300, nbf: seconds, ...claims }
}

const encode = (part: string | Buffer | object): string => {
  const text = typeof part === 'string' || Buffer.isBuffer(part) ? part : JSON.stringify(part)
  return Buffer.from(text as string).toString('base64url')
}

/** A JWS put together by hand, so that anything can be in it; text is taken as it stands. */
export function signToken(
  { privateKey }: Pick<KeyPair, 'privateKey'>,
  header: { alg: string; [name: string]: unknown } | string,
  payload: object | string,
): string {
  const input = `${encode(header)}.${encode(payload)}`
  const { alg } = (typeof header === 'string' ? JSON.parse(header) : header) as { alg: string }
  return `${input}.${encode(signatureOf(alg, privateKey, input))}`
}

function signatureOf(alg: string, key: KeyObject, input: string): Buffer {
  const hash = alg === 'EdDSA' ? null : `sha${alg.slice(2)}`
  const options = alg.startsWith('PS')
    ? { key, padding: 6, saltLength: Number(alg.slice(2)) / 8 }
    : { key, dsaEncoding: 'ieee-p1363' as const }
  return sign(hash, Buffer.from(input), options)
}

export function macToken(secret: string | Buffer, header: object, payload: object): string {
  const input = `${encode({ alg: 'HS256', ...header })}.${encode(payload)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

export const unsignedToken = (header: object, payload: object, signature = ''): string =>
  `${encode(header)}.${encode(payload)}.${signature}`
