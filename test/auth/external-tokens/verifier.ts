import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect } from 'vitest'
import { type ExternalTokens, openExternalTokens } from '../../../auth/external-tokens.ts'
import { TokenInvalid } from '../../../auth/tokens/token-invalid.ts'
import {
  claimsAt,
  createEcKey,
  createRsaKey,
  ISSUER,
  jwkOf,
  keySetOf,
  SERVICE,
  signToken,
} from './signing.ts'

export const NOW = new Date('2026-06-01T12:00:00Z')
export const silent = { info: (): void => {}, warn: (): void => {} }

export const ec = createEcKey()
export const rsa = createRsaKey()
export const ed25519 = generateKeyPairSync('ed25519')

export const claims = (changes: object = {}): object => claimsAt(NOW, changes)
export const signed = (changes: object = {}, header: object = {}): string =>
  signToken(ec, { alg: 'ES256', kid: 'ec', ...header }, claims(changes))

/** A verifier for these keys, at {@link NOW}. Closing it removes its file. */
export async function openFor(...keys: object[]): Promise<ExternalTokens> {
  const folder = await mkdtemp(path.join(tmpdir(), 'external-tokens-'))
  const jwks = path.join(folder, `${randomUUID()}.json`)
  await writeFile(jwks, keySetOf(...keys))
  const options = { issuer: ISSUER, service: SERVICE, jwks, log: silent, now: () => NOW }
  const tokens = await openExternalTokens(options)
  return {
    verify: (token) => tokens.verify(token),
    close() {
      tokens.close()
      void rm(folder, { recursive: true })
    },
  }
}

/** One key of each kind, named `ec`, `rsa`, `ed25519`, `p384` and `oct`. */
export const openForAll = (): Promise<ExternalTokens> =>
  openFor(
    jwkOf(ec, { kid: 'ec' }),
    jwkOf(rsa, { kid: 'rsa', use: 'sig' }),
    jwkOf(ed25519, { kid: 'ed25519' }),
    jwkOf(createEcKey('P-384'), { kid: 'p384' }),
    { kty: 'oct', k: Buffer.from('secret').toString('base64url'), kid: 'oct' },
  )

/** That it is refused, for that reason, and that the refusal quotes nothing of it. */
export async function expectTokenInvalid(
  tokens: ExternalTokens,
  token: string,
  why: string | RegExp = /./,
): Promise<void> {
  const error: unknown = await tokens.verify(token).then(
    () => new Error('accepted'),
    (refusal: unknown) => refusal,
  )
  expect(error).toBeInstanceOf(TokenInvalid)
  const { message, cause } = error as TokenInvalid
  expect(message).toMatch(why)
  expect(cause).toBeUndefined()
  for (const part of token.split('.').filter(({ length }) => length > 8)) {
    expect(message).not.toContain(part)
  }
}
