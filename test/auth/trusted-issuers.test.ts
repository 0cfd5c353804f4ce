import { exportSPKI, importJWK, SignJWT } from 'jose'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TokenInvalid } from '../../auth/tokens/token-invalid.ts'
import {
  type IssuerRule,
  revisionOf,
  type TrustedIssuer,
  TrustedIssuers,
} from '../../auth/trusted-issuers.ts'
import { openTestDatabase, type TestDatabase } from '../support/database.ts'
import { type Algorithm, OidcProvider } from '../support/oidc-provider.ts'

const NOW = Date.parse('2026-11-21T12:00:00Z')
const NOW_SECONDS = NOW / 1000
const now = () => new Date(NOW)

const RULE: IssuerRule = {
  claims: { repository_owner: 'acme' },
  repositories: ['{repository}/*'],
  actions: ['pull', 'push'],
  seconds: 600,
}

let database: TestDatabase
let provider: OidcProvider
let issuers: TrustedIssuer[]
let trusted: TrustedIssuers

beforeAll(async () => {
  database = await openTestDatabase()
})

afterAll(() => database.close())

beforeEach(async () => {
  provider = await OidcProvider.open({ now })
  issuers = [issuerOf(provider)]
  trusted = openReplica()
})

afterEach(() => provider.close())

function issuerOf(of: OidcProvider, changes: Partial<TrustedIssuer> = {}): TrustedIssuer {
  return { name: 'forge', issuer: of.issuer, audience: of.audience, rules: [RULE], ...changes }
}

function openReplica(): TrustedIssuers {
  const log = pino({ level: 'silent' })
  return new TrustedIssuers({ issuers: () => issuers, db: database.pool, log, now })
}

async function expectRefusal(token: string, message: RegExp): Promise<void> {
  const refusal = await trusted.exchange(token).catch((error: unknown) => error)
  expect(refusal).toBeInstanceOf(TokenInvalid)
  expect((refusal as Error).message).toMatch(message)
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

describe('a token that a rule matches', () => {
  it('gives what the rule says, to a subject that names issuer and job', async () => {
    const token = await provider.issue({ repository: 'Acme/Shop' })
    expect(await trusted.exchange(token)).toEqual({
      subject: 'ci:forge:repo:acme/shop:ref:refs/heads/main',
      issuerName: 'forge',
      coverage: [{ repositories: ['acme/shop/*'], actions: ['pull', 'push'] }],
      revisions: [revisionOf(issuerOf(provider), RULE)],
      seconds: 600,
      expiresAt: NOW_SECONDS + 300,
    })
  })

  it.each<Algorithm>(['RS256', 'PS256', 'ES384', 'EdDSA'])(
    'may be signed with %s',
    async (name) => {
      await provider.rotate({ algorithm: name })
      await expect(trusted.exchange(await provider.issue())).resolves.toBeDefined()
    },
  )

  it('may be made out to others as well', async () => {
    const token = await provider.issue({ aud: ['https://other.example', provider.audience] })
    await expect(trusted.exchange(token)).resolves.toBeDefined()
  })

  it('needs no kid while the issuer has one key only', async () => {
    const issue = () => provider.issue({}, { header: { kid: undefined } })
    await expect(trusted.exchange(await issue())).resolves.toBeDefined()
    await provider.rotate({ keep: true })
    trusted = openReplica()
    await expectRefusal(await issue(), /multiple matching keys/)
  })

  it('gives what all rules that match say, for as long as the shortest', async () => {
    const release: IssuerRule = {
      claims: { sub: '**:refs/heads/main' },
      repositories: ['releases/**'],
      tags: ['v*'],
      actions: ['push', 'overwrite'],
      seconds: 120,
    }
    const foreign: IssuerRule = { ...RULE, claims: { repository_owner: 'other' }, seconds: 60 }
    issuers = [issuerOf(provider, { rules: [RULE, foreign, release, release] })]
    const { coverage, revisions, seconds } = await trusted.exchange(await provider.issue())
    expect(coverage).toEqual([
      { repositories: ['acme/shop/*'], actions: ['pull', 'push'] },
      { repositories: ['releases/**'], tags: ['v*'], actions: ['push', 'overwrite'] },
      { repositories: ['releases/**'], tags: ['v*'], actions: ['push', 'overwrite'] },
    ])
    expect(revisions).toEqual([RULE, release].map((rule) => revisionOf(issuers[0]!, rule)))
    expect(seconds).toBe(120)
  })

  it('is judged by the rules of the moment', async () => {
    await trusted.exchange(await provider.issue())
    issuers = [issuerOf(provider, { rules: [{ ...RULE, claims: { repository_owner: 'b' } }] })]
    await expectRefusal(await provider.issue(), /no rule matches/)
    issuers = []
    await expectRefusal(await provider.issue(), /issuer of the token is not trusted/)
    issuers = [issuerOf(provider)]
    await expect(trusted.exchange(await provider.issue())).resolves.toBeDefined()
  })
})

describe('a token', () => {
  it.each<[string, Record<string, unknown>, RegExp]>([
    ['for another audience', { aud: 'https://other.example' }, /another audience/],
    ['for an audience that begins like ours', { aud: 'https://registry.example/' }, /audience/],
    ['for nobody', { aud: undefined }, /another audience/],
    ['of an issuer not configured', { iss: 'https://elsewhere.example' }, /not trusted/],
    ['of no issuer', { iss: undefined }, /not trusted/],
    ['that expired', { exp: NOW_SECONDS - 60, iat: NOW_SECONDS - 200 }, /"exp" claim/],
    ['that does not expire', { exp: undefined }, /missing required "exp"/],
    ['whose end is a text', { exp: String(NOW_SECONDS + 300) }, /"exp" claim must be a number/],
    ['not yet valid', { nbf: NOW_SECONDS + 61 }, /"nbf" claim/],
    ['from the future', { iat: NOW_SECONDS + 61 }, /of the future/],
    ['of no known age', { iat: undefined }, /missing required "iat"/],
    ['good for over a day', { exp: NOW_SECONDS + 86_401 }, /more than 24 hours/],
    ['that ends before it begins', { iat: NOW_SECONDS + 50, exp: NOW_SECONDS + 49 }, /or for none/],
    [
      'of yesterday, still good by leeway',
      { iat: NOW_SECONDS - 86_430, exp: NOW_SECONDS - 30 },
      /too old/,
    ],
    ['of nobody', { sub: undefined }, /missing required "sub"/],
    ['of an empty subject', { sub: '' }, /no subject/],
    ['of a subject that is a list', { sub: ['a'] }, /no subject/],
    ['with a line feed in its subject', { sub: 'a\nb' }, /invisible/],
    ['with a direction mark in its subject', { sub: 'a\u202eb' }, /invisible/],
    ['with half a character in its subject', { sub: 'a\ud800' }, /invisible/],
    ['of a subject too long by one', { sub: 'x'.repeat(247) }, /subject is too long/],
    ['that no rule matches', { repository_owner: 'other' }, /no rule matches/],
    ['over 16 KiB', { padding: 'x'.repeat(16_384) }, /token is too long/],
  ])('%s is refused', async (_, claims, message) => {
    await expectRefusal(await provider.issue(claims), message)
  })

  it.each<[string, Record<string, unknown>]>([
    ['expired less than a minute ago', { exp: NOW_SECONDS - 59, iat: NOW_SECONDS - 200 }],
    ['is valid within a minute', { nbf: NOW_SECONDS + 60, iat: NOW_SECONDS + 60 }],
    ['is good for a day', { exp: NOW_SECONDS + 86_400 }],
    ['has a subject as long as may be', { sub: 'x'.repeat(246) }],
  ])('that %s is accepted', async (_, claims) => {
    await expect(trusted.exchange(await provider.issue(claims))).resolves.toBeDefined()
  })

  it.each([
    '',
    'a',
    '..',
    'a.b',
    'a.b.c',
    'a.b.c.d.e',
    'e30.e30.AA',
    ' e30.e30.AA',
    'bnVsbA.bnVsbA.AA',
  ])('that is %j is refused', async (token) => {
    await expectRefusal(token, /not a signed JWT|not trusted|algorithm/)
  })

  it('with numbers that are not finite is refused', async () => {
    const [header] = (await provider.issue()).split('.')
    const { iss, aud } = { iss: provider.issuer, aud: provider.audience }
    const text = JSON.stringify({ iss, aud, sub: 'a', repository_owner: 'acme' })
    const payload = Buffer.from(text.replace(/}$/, ',"iat":-1e999,"exp":1e999}'))
    const input = `${header}.${payload.toString('base64url')}`
    const algorithm = { name: 'ECDSA', hash: 'SHA-256' }
    const signature = await crypto.subtle.sign(
      algorithm,
      provider.key.privateKey,
      Buffer.from(input),
    )
    await expectRefusal(`${input}.${Buffer.from(signature).toString('base64url')}`, /too old/)
  })

  it('is refused without asking its issuer when it cannot be good', async () => {
    await expectRefusal(await provider.issue({ aud: 'https://other.example' }), /audience/)
    await expectRefusal(await provider.issue({ padding: 'x'.repeat(16_384) }), /too long/)
    expect(provider.requests).toEqual({ discovery: 0, keys: 0 })
  })

  it('is of the configuration that has its audience when several have its issuer', async () => {
    issuers = [
      issuerOf(provider, { name: 'first', audience: 'https://first.example' }),
      issuerOf(provider, { name: 'second', audience: 'https://second.example' }),
    ]
    const { issuerName } = await trusted.exchange(
      await provider.issue({ aud: 'https://second.example' }),
    )
    expect(issuerName).toBe('second')
  })
})

describe('a forged token', () => {
  let stranger: OidcProvider

  beforeEach(async () => {
    stranger = await OidcProvider.open({ now })
  })

  afterEach(() => stranger.close())

  it.each(['none', 'None', 'NONE'])('that is not signed is refused: %s', async (alg) => {
    const payload = (await provider.issue()).split('.')[1]!
    await expectRefusal(`${encode({ alg })}.${payload}.`, /not a signed JWT/)
    await expectRefusal(`${encode({ alg })}.${payload}.AA`, /algorithm/)
  })

  it('whose secret is the public key is refused', async () => {
    await provider.rotate({ algorithm: 'RS256' })
    const { kid, publicJwk } = provider.key
    const publicKey = await importJWK({ ...publicJwk }, 'RS256', { extractable: true })
    if (publicKey instanceof Uint8Array) throw new Error('not a public key')
    for (const secret of [await exportSPKI(publicKey), JSON.stringify(publicJwk)]) {
      const token = await new SignJWT({ iss: provider.issuer, sub: 'a', repository_owner: 'acme' })
        .setProtectedHeader({ alg: 'HS256', kid })
        .setAudience(provider.audience)
        .setIssuedAt(NOW_SECONDS)
        .setExpirationTime(NOW_SECONDS + 300)
        .sign(Buffer.from(secret))
      await expectRefusal(token, /algorithm/)
    }
  })

  it('that brings its own key, or says where it is, is refused', async () => {
    const keys = `${stranger.issuer}/keys`
    for (const kid of [provider.key.kid, stranger.key.kid, undefined]) {
      for (const header of [{ jwk: stranger.key.publicJwk }, { jku: keys }, { x5u: keys }]) {
        const token = await provider.issue({}, { header: { ...header, kid }, key: stranger.key })
        await expectRefusal(token, /signature verification failed|no applicable key/)
      }
    }
    expect(stranger.requests).toEqual({ discovery: 0, keys: 0 })
  })

  it('signed with the key of another trusted issuer is refused', async () => {
    issuers = [issuerOf(provider), issuerOf(stranger, { name: 'other' })]
    await trusted.exchange(await provider.issue())
    await trusted.exchange(await stranger.issue())
    const foreign = await provider.issue({}, { key: stranger.key })
    await expectRefusal(foreign, /no applicable key/)
    const key = { ...stranger.key, kid: provider.key.kid }
    await expectRefusal(await provider.issue({}, { key }), /signature verification failed/)
    await expectRefusal(
      await provider.issue({}, { key: stranger.key, header: { kid: undefined } }),
      /signature verification failed/,
    )
  })

  it('whose claims were changed is refused', async () => {
    const [header, payload, signature] = (await provider.issue({ repository_owner: 'b' })).split(
      '.',
    )
    const claims = JSON.parse(Buffer.from(payload!, 'base64url').toString()) as object
    const changed = encode({ ...claims, repository_owner: 'acme' })
    await expectRefusal(`${header}.${changed}.${signature}`, /signature verification failed/)
  })

  it('with an extension nobody knows is refused', async () => {
    const [, payload, signature] = (await provider.issue()).split('.')
    const header = encode({ alg: 'ES256', kid: provider.key.kid, crit: ['x'], x: 1 })
    await expectRefusal(`${header}.${payload}.${signature}`, /^the token cannot be verified$/)
  })
})
