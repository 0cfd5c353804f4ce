import { createHmac, generateKeyPairSync } from 'node:crypto'
import { exportSPKI, SignJWT, UnsecuredJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type AccessToken,
  isExpired,
  signAccessToken,
  verifyAccessToken,
} from '../../../auth/tokens/access-token.ts'
import {
  addSigningKey,
  loadSigningKeys,
  type SigningKeys,
} from '../../../auth/tokens/signing-keys.ts'
import { TokenInvalid } from '../../../auth/tokens/token-invalid.ts'
import { transaction } from '../../../storage/metadata/database.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'

let database: TestDatabase
let keys: SigningKeys
let now = new Date('2026-11-21T12:00:00Z')
const terms = { service: 'slipway', seconds: 600, now: () => now }
const scopes = [{ type: 'repository', name: 'team/app', actions: ['pull'] }]
const holder = { subject: 'user:alice' }

beforeAll(async () => {
  database = await openTestDatabase()
  keys = await addKey()
})
afterAll(() => database.close())

async function addKey(): Promise<SigningKeys> {
  await transaction(database.pool, (tx) => addSigningKey(tx, terms.seconds))
  const loaded = await loadSigningKeys(database.pool)
  if (loaded === undefined) throw new Error('no key was made')
  return loaded
}

const sign = async (given: Partial<AccessToken> = {}) =>
  (await signAccessToken(keys, { holder, scopes, ...given }, terms)).token

const seconds = (date: Date) => Math.floor(date.getTime() / 1000)

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** A token by our own key, with the given parts replaced. */
function forge(payload: object, header: object = {}, key = keys.signing.key): Promise<string> {
  const claims = { iss: 'slipway', aud: 'slipway', access: [], exp: seconds(now) + 600, ...payload }
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: keys.signing.id, ...header })
    .sign(key)
}

async function expectRefused(token: string): Promise<void> {
  await expect(verifyAccessToken(keys, token, terms)).rejects.toBeInstanceOf(TokenInvalid)
}

describe('an access token', () => {
  it('says whom it speaks for and what it is for', async () => {
    const known = { ...holder, accountId: undefined, generation: undefined }
    const token = await verifyAccessToken(keys, await sign({ holder: known }), terms)
    expect(token).toMatchObject({ holder, scopes, expiresAt: seconds(now) + 600 })
  })

  it('stays good when another key signs, and is so no more when its key is gone', async () => {
    const token = await sign()
    const before = keys
    keys = await addKey()
    expect(keys.signing.id).not.toBe(before.signing.id)
    await expect(verifyAccessToken(keys, token, terms)).resolves.toMatchObject({ scopes })
    await database.pool.query('delete from signing_keys where id = $1', [before.signing.id])
    keys = (await loadSigningKeys(database.pool))!
    await expectRefused(token)
  })

  it('keeps below 8 KiB whatever it is asked for', async () => {
    const name = `${'x'.repeat(240)}/app`
    const many = Array.from({ length: 100 }, (_, n) => ({
      type: 'repository',
      name: `${name}${n}`,
      actions: ['pull'],
    }))
    const signed = await signAccessToken(keys, { holder, scopes: many }, terms)
    expect(signed.token.length).toBeLessThan(8192)
    expect(signed.scopes.length).toBeGreaterThan(5)
    await expect(verifyAccessToken(keys, signed.token, terms)).resolves.toMatchObject({
      scopes: signed.scopes,
    })
  })

  it('expires, half a minute late because clocks differ', async () => {
    const token = await verifyAccessToken(keys, await sign(), terms)
    const at = (offset: number) => new Date((token.expiresAt + offset) * 1000)
    expect(isExpired(token, at(29))).toBe(false)
    expect(isExpired(token, at(30))).toBe(true)
    const text = await sign()
    now = at(40)
    await expectRefused(text)
  })

  it('is not published with its private part', () => {
    for (const key of keys.published.keys) {
      expect(Object.keys(key).toSorted()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
    }
  })
})

describe('a forged token', () => {
  it('without a signature is refused, however that is spelt', async () => {
    const claims = { access: [], exp: seconds(now) + 600 }
    const unsigned = new UnsecuredJWT(claims).setIssuer('slipway').setAudience('slipway').encode()
    await expectRefused(unsigned)
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '']) {
      const head = encode({ alg, kid: keys.signing.id })
      await expectRefused(`${head}.${unsigned.split('.')[1]}.`)
      await expectRefused(`${head}.${unsigned.split('.')[1]}.AAAA`)
    }
  })

  it('that takes the public key for a secret is refused', async () => {
    const publicKey = keys.verifying.get(keys.signing.id)
    if (publicKey === undefined || publicKey instanceof Uint8Array) throw new Error('no key')
    const secrets = [await exportSPKI(publicKey), JSON.stringify(keys.published.keys[0]), '']
    for (const secret of secrets) {
      for (const alg of ['HS256', 'HS384', 'HS512']) {
        const head = encode({ alg, kid: keys.signing.id })
        const body = encode({ iss: 'slipway', aud: 'slipway', access: [], exp: seconds(now) + 600 })
        const hash = `sha${alg.slice(2)}`
        const mac = createHmac(hash, secret).update(`${head}.${body}`).digest('base64url')
        await expectRefused(`${head}.${body}.${mac}`)
      }
    }
  })

  it('that brings its own key is refused', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const jwk = publicKey.export({ format: 'jwk' })
    for (const header of [
      {},
      { jwk },
      { jku: 'http://127.0.0.1:1/keys' },
      { x5u: 'http://127.0.0.1:1/x' },
    ]) {
      for (const kid of [
        keys.signing.id,
        'other',
        '../../etc/passwd',
        `' or 1=1 --`,
        '',
        '__proto__',
      ]) {
        await expectRefused(await forge({}, { ...header, kid }, privateKey as never))
      }
    }
  })

  it.each([
    ['for another audience', { aud: 'other' }],
    ['for no audience', { aud: undefined }],
    ['of another issuer', { iss: 'other' }],
    ['without an end', { exp: undefined }],
    ['that has ended', { exp: 1 }],
    ['that has not begun', { nbf: 99_999_999_999 }],
    ['without access', { access: undefined }],
    ['with an end that is no number', { exp: 'never' }],
  ])('%s is refused', async (_what, payload) => {
    await expectRefused(await forge(payload))
  })

  it('that does not say which key signed it is refused', async () => {
    await expectRefused(await forge({}, { kid: undefined }))
  })

  it('made of parts of good ones is refused', async () => {
    const one = (await sign()).split('.')
    const other = (await sign({ scopes: [] })).split('.')
    await expectRefused(`${one[0]}.${one[1]}.${other[2]}`)
    await expectRefused(`${one[0]}.${other[1]}.${one[2]}`)
    await expectRefused(one.slice(0, 2).join('.'))
    await expectRefused(`${one.join('.')}.x`)
    await expectRefused(`${one.join('.')}=`)
    await expectRefused('x'.repeat(9000))
    await expectRefused('..')
  })
})
