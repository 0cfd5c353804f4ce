import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ExternalTokens } from '../../../auth/external-tokens.ts'
import { TokenInvalid } from '../../../auth/tokens/token-invalid.ts'
import {
  createEcKey,
  createRsaKey,
  jwkOf,
  keySetOf,
  macToken,
  signToken,
  unsignedToken,
} from './signing.ts'
import { claims, ec, expectTokenInvalid, openFor, openForAll, rsa, signed } from './verifier.ts'

const attacker = createEcKey()
let tokens: ExternalTokens

beforeAll(async () => {
  tokens = await openForAll()
})

afterAll(() => tokens.close())

const signedWithRsa = (alg: string): string => signToken(rsa, { alg, kid: 'rsa' }, claims())

const expectRefused = (token: string, why?: string): Promise<void> =>
  expectTokenInvalid(tokens, token, why)

describe('an attack on the algorithm', () => {
  it.each(['none', 'None', 'NONE', 'nOnE', '', ' none', null, undefined, ['ES256'], 'ES256K'])(
    'with alg %j is refused',
    async (alg) => {
      await expectRefused(unsignedToken({ alg, kid: 'ec' }, claims()))
      const [, , signature] = signed().split('.')
      await expectRefused(unsignedToken({ alg, kid: 'ec' }, claims(), signature))
    },
  )

  it('with HS256 and the public key as the secret is refused', async () => {
    const { publicKey } = rsa
    const secrets = [
      publicKey.export({ format: 'pem', type: 'spki' }),
      publicKey.export({ format: 'pem', type: 'spki' }).toString().trimEnd(),
      publicKey.export({ format: 'pem', type: 'pkcs1' }),
      publicKey.export({ format: 'der', type: 'spki' }),
      JSON.stringify(publicKey.export({ format: 'jwk' })),
      JSON.stringify(jwkOf(rsa, { kid: 'rsa', use: 'sig' })),
      Buffer.from(publicKey.export({ format: 'jwk' }).n!, 'base64url'),
    ]
    for (const secret of secrets) {
      await expectRefused(macToken(secret, { kid: 'rsa' }, claims()), 'algorithm')
      await expectRefused(macToken(secret, {}, claims()), 'algorithm')
    }
    await expectRefused(macToken('secret', { kid: 'oct' }, claims()), 'algorithm')
  })

  it('with a key of another type or curve is refused', async () => {
    await expectRefused(signToken(rsa, { alg: 'RS256', kid: 'ec' }, claims()), 'no key')
    await expectRefused(signToken(ec, { alg: 'ES256', kid: 'p384' }, claims()), 'no key')
  })

  it('with another algorithm than the key is for is refused', async () => {
    const own = await openFor(jwkOf(rsa, { kid: 'rsa', alg: 'RS256' }))
    await expect(own.verify(signedWithRsa('RS256'))).resolves.toBeDefined()
    await expect(own.verify(signedWithRsa('PS256'))).rejects.toThrow(TokenInvalid)
    await expect(own.verify(signedWithRsa('RS512'))).rejects.toThrow(TokenInvalid)
    own.close()
  })

  it('with a key for encryption is refused', async () => {
    const own = await openFor(jwkOf(rsa, { kid: 'enc', use: 'enc' }), jwkOf(ec))
    const token = signToken(rsa, { alg: 'RS256', kid: 'enc' }, claims())
    await expect(own.verify(token)).rejects.toThrow('no key')
    own.close()
  })

  it('with a short key is refused', async () => {
    const short = createRsaKey(1024)
    const own = await openFor(jwkOf(short, { kid: 'short' }), jwkOf(ec))
    const token = signToken(short, { alg: 'RS256', kid: 'short' }, claims())
    await expect(own.verify(token)).rejects.toThrow(TokenInvalid)
    own.close()
  })
})

describe('an attack on the choice of the key', () => {
  it('by a key in the header is refused', async () => {
    const jwk = jwkOf(attacker, { kid: 'ec' })
    for (const kid of ['ec', 'other', undefined]) {
      await expectRefused(signToken(attacker, { alg: 'ES256', kid, jwk }, claims()))
    }
  })

  it('by an address in the header is refused, and the address not asked', async () => {
    let requests = 0
    const server = createServer((_request, response) => {
      requests += 1
      response.end(keySetOf(jwkOf(attacker, { kid: 'evil' })))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`
    for (const header of [{ jku: url }, { x5u: url }, { jku: url, kid: 'evil' }, { kid: url }]) {
      await expectRefused(signToken(attacker, { alg: 'ES256', ...header }, claims()))
    }
    await new Promise((resolve) => server.close(resolve))
    expect(requests).toBe(0)
  })

  it.each([
    '../../../../dev/null',
    '/etc/passwd',
    "ec' or '1'='1",
    "x' union select 'key' --",
    'ec\0',
    '__proto__',
    'constructor',
    'toString',
    '',
    '*',
    'EC',
  ])('by the kid %j is refused', async (kid) => {
    await expectRefused(signToken(attacker, { alg: 'ES256', kid }, claims()))
    await expectRefused(signToken(ec, { alg: 'ES256', kid }, claims()), 'no key')
  })

  it.each([null, 7, ['ec'], { kid: 'ec' }])('by the kid %j is refused', async (kid) => {
    await expectRefused(signToken(ec, { alg: 'ES256', kid }, claims()))
  })

  it('without a kid is refused when several keys fit', async () => {
    const own = await openFor(jwkOf(ec, { kid: '1' }), jwkOf(createEcKey(), { kid: '2' }))
    const token = signToken(ec, { alg: 'ES256' }, claims())
    await expect(own.verify(token)).rejects.toThrow('more than one key')
    own.close()
  })

  it('by certificates is refused where there are no roots', async () => {
    await expectRefused(signed({}, { x5c: ['MIIB'] }), 'x5c')
  })

  it('by an extension that is not known is refused', async () => {
    await expectRefused(signed({}, { crit: ['urn:example'], 'urn:example': true }), 'extension')
    await expectRefused(signed({}, { crit: [] }))
    await expectRefused(signed({}, { crit: ['b64'], b64: false }))
  })
})

describe('a token that is not whole', () => {
  it('is refused with the signature of another', async () => {
    const [header, payload] = signed({ sub: 'root' }).split('.')
    const signature = signed().split('.')[2]
    await expectRefused(`${header}.${payload}.${signature}`, 'signature')
  })

  it('is refused when it was cut, wherever', async () => {
    const token = signed()
    for (let length = 0; length < token.length; length += 7) {
      await expectRefused(token.slice(0, length))
    }
    await expectRefused(token.slice(0, -1))
  })

  it.each(['', '.', '..', '...', 'a.b.c', 'a.b.c.d.e', '{}.{}.{}', 'e30.e30.', ' '])(
    'is refused as %j',
    async (token) => {
      await expectRefused(token)
    },
  )

  it('is refused with something behind it', async () => {
    await expectRefused(`${signed()}.x`)
    await expectRefused(`${signed()}\n.`)
    await expectRefused(`${signed()}, ${signed()}`)
  })
})

describe('a token that is too much', () => {
  it('is refused at 16 KiB, before anything is read', async () => {
    await expectRefused(signed({ fill: 'x'.repeat(1_000_000) }), '16 KiB')
    await expectRefused('x'.repeat(16 * 1024 + 1), '16 KiB')
    await expectRefused('x'.repeat(16 * 1024), 'malformed')
  })

  it('does no harm with deep nesting', async () => {
    const deep = '['.repeat(5000) + ']'.repeat(5000)
    const text = JSON.stringify(claims()).slice(0, -1)
    const header = { alg: 'ES256', kid: 'ec' }
    for (const claim of ['access', 'anything']) {
      const { access } = await tokens.verify(signToken(ec, header, `${text},"${claim}":${deep}}`))
      expect(access).toEqual([])
    }
    await expectRefused(signToken(ec, header, `${text},"iss":${deep}}`), 'iss')
    await expectRefused(signToken(ec, `{"alg":"ES256","kid":${deep}}`, claims()))
  })
})
