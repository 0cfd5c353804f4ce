import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ExternalTokens } from '../../auth/external-tokens.ts'
import { createEcKey, ISSUER, jwkOf, SERVICE, signToken } from './external-tokens/signing.ts'
import {
  claims,
  ec,
  ed25519,
  expectTokenInvalid,
  NOW,
  openFor,
  openForAll,
  rsa,
  signed,
} from './external-tokens/verifier.ts'

const SECONDS = NOW.getTime() / 1000
let tokens: ExternalTokens

beforeAll(async () => {
  tokens = await openForAll()
})

afterAll(() => tokens.close())

const expectRefused = (token: string, why?: string): Promise<void> =>
  expectTokenInvalid(tokens, token, why)

describe('a good token', () => {
  it('gives its subject, its access and when it expires', async () => {
    const access = [
      { type: 'repository', name: 'app', actions: ['pull', 'push'] },
      { type: 'repository', class: 'plugin', name: 'plug', actions: ['*'] },
      { type: 'registry', name: 'catalog', actions: [] },
    ]
    expect(await tokens.verify(signed({ access }))).toEqual({
      subject: 'alice',
      access: [
        { type: 'repository', name: 'app', actions: ['pull', 'push'] },
        { type: 'repository', name: 'plug', actions: ['*'] },
        { type: 'registry', name: 'catalog', actions: [] },
      ],
      expiresAt: SECONDS + 300,
    })
  })

  it.each([
    ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'].map((alg) => ({
      alg,
      key: rsa,
      kid: 'rsa',
    })),
    { alg: 'ES256', key: ec, kid: 'ec' },
    { alg: 'EdDSA', key: ed25519, kid: 'ed25519' },
  ])('may be signed with $alg', async ({ alg, key, kid }) => {
    const { subject } = await tokens.verify(signToken(key, { alg, kid }, claims()))
    expect(subject).toBe('alice')
  })

  it.each([
    { curve: 'P-384', alg: 'ES384' },
    { curve: 'P-521', alg: 'ES512' },
  ])('may be signed with $alg, and without a kid when one key fits', async ({ curve, alg }) => {
    const key = createEcKey(curve)
    const own = await openFor(jwkOf(ec), jwkOf(key))
    const { subject } = await own.verify(signToken(key, { alg }, claims()))
    own.close()
    expect(subject).toBe('alice')
  })

  it('may have a list of audiences, any typ, and no subject', async () => {
    const token = signed({ aud: ['other', SERVICE], sub: undefined }, { typ: 'whatever' })
    expect((await tokens.verify(token)).subject).toBe('')
  })

  it.each([{ exp: SECONDS - 59 }, { nbf: SECONDS + 60 }])(
    'may be off by a minute: %o',
    async (change) => {
      expect((await tokens.verify(signed(change))).subject).toBe('alice')
    },
  )
})

describe('the access claim', () => {
  it('is empty when it is missing or no list', async () => {
    for (const access of [undefined, null, 'repository:app:pull', { type: 'repository' }, 7]) {
      expect((await tokens.verify(signed({ access }))).access).toEqual([])
    }
  })

  it('loses the entries that are none', async () => {
    const good = { type: 'repository', name: 'app', actions: ['pull'] }
    const parts = [{ type: '' }, { type: 7 }, { name: undefined }, { name: [] }]
    const actions = ['pull', undefined, null, {}, ['pull', 7], [['pull']]]
    const odd = [
      null,
      'repository:app:pull',
      [],
      {},
      ...parts.map((part) => ({ ...good, ...part })),
      ...actions.map((value) => ({ ...good, actions: value })),
    ]
    expect((await tokens.verify(signed({ access: [...odd, good] }))).access).toEqual([good])
  })

  it('may have as many entries as a token holds', async () => {
    const access = Array.from({ length: 300 }, () => ({ type: 'r', name: 'a', actions: [] }))
    expect((await tokens.verify(signed({ access }))).access).toHaveLength(300)
  })
})

describe('a claim that does not hold', () => {
  it.each([
    [{ iss: `${ISSUER}/` }, 'iss'],
    [{ iss: ISSUER.toUpperCase() }, 'iss'],
    [{ iss: [ISSUER] }, 'iss'],
    [{ iss: undefined }, 'iss'],
    [{ aud: 'other' }, 'aud'],
    [{ aud: [] }, 'aud'],
    [{ aud: [[SERVICE]] }, 'aud'],
    [{ aud: `${SERVICE} other` }, 'aud'],
    [{ aud: undefined }, 'aud'],
    [{ exp: undefined }, 'exp'],
    [{ exp: `${SECONDS + 300}` }, 'exp'],
    [{ exp: null }, 'exp'],
    [{ exp: SECONDS - 60 }, 'expired'],
    [{ nbf: SECONDS + 61 }, 'nbf'],
    [{ nbf: 'now' }, 'nbf'],
    [{ sub: 7 }, 'sub'],
  ])('%o makes it refused', async (change, why) => {
    await expectRefused(signed(change), why)
  })

  it('refuses a time that is infinite', async () => {
    const payload = JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e999')
    await expectRefused(signToken(ec, { alg: 'ES256', kid: 'ec' }, payload), 'exp')
  })

  it('takes the last of two claims, for the check and for the answer', async () => {
    const header = { alg: 'ES256', kid: 'ec' }
    const text = JSON.stringify(claims()).slice(1, -1)
    const evilLast = `{${text},"iss":"https://evil.example.com"}`
    await expectRefused(signToken(ec, header, evilLast), 'iss')
    const twice = `{"sub":"root","exp":1,${text}}`
    expect(await tokens.verify(signToken(ec, header, twice))).toMatchObject({
      subject: 'alice',
      expiresAt: SECONDS + 300,
    })
  })

  it.each(['', 'null', '[]', '"text"', '{', '{"iss":'])('refuses the payload %j', async (text) => {
    await expectRefused(signToken(ec, { alg: 'ES256', kid: 'ec' }, text), 'malformed')
  })
})
