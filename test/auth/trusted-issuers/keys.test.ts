import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { KeysUnavailable, TokenInvalid } from '../../../auth/tokens/token-invalid.ts'
import { TrustedIssuers } from '../../../auth/trusted-issuers.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'
import {
  type Answer,
  answerJson,
  answerLarge,
  breakOff,
  type Endpoint,
  hang,
  OidcProvider,
  redirectTo,
} from '../../support/oidc-provider.ts'

const MINUTE = 60_000

let database: TestDatabase
let provider: OidcProvider
let other: OidcProvider
let time: number
let lines: { level: number; msg: string; issuer: string }[]
let trusted: TrustedIssuers

const now = () => new Date(time)

beforeAll(async () => {
  database = await openTestDatabase()
})

afterAll(() => database.close())

beforeEach(async () => {
  time = Date.parse('2026-11-21T12:00:00Z')
  provider = await OidcProvider.open({ now })
  other = await OidcProvider.open({ now })
  lines = []
  trusted = openReplica(5000)
})

afterEach(() => Promise.all([provider.close(), other.close()]))

function openReplica(timeoutMs: number): TrustedIssuers {
  const issuers = [provider, other].map(({ issuer, audience }, index) => ({
    name: `issuer-${index}`,
    issuer,
    audience,
    rules: [
      {
        claims: { repository_owner: 'acme' },
        repositories: ['**'],
        actions: ['pull'] as const,
        seconds: 60,
      },
    ],
  }))
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) })
  return new TrustedIssuers({ issuers: () => issuers, db: database.pool, log, now, timeoutMs })
}

async function exchangeNew(from = provider, key = from.key): Promise<void> {
  await trusted.exchange(await from.issue({}, { key }))
}

/** Signed by the provider, with a key it does not publish. */
async function issueUnknown(): Promise<string> {
  return provider.issue({}, { key: { ...provider.key, kid: 'nobody-knows' } })
}

async function flood(): Promise<void> {
  const tokens = await Promise.all(Array.from({ length: 20 }, issueUnknown))
  for (const token of tokens) {
    await expect(trusted.exchange(token)).rejects.toThrow(/no applicable key/)
  }
}

describe('the keys of an issuer', () => {
  it('are asked for once, however many tokens come at once', async () => {
    await Promise.all(Array.from({ length: 20 }, () => exchangeNew()))
    expect(provider.requests).toEqual({ discovery: 1, keys: 1 })
  })

  it('are asked for again after ten minutes, and where they are after an hour', async () => {
    await exchangeNew()
    time += 10 * MINUTE - 1
    await exchangeNew()
    expect(provider.requests).toEqual({ discovery: 1, keys: 1 })
    time += 1
    await exchangeNew()
    expect(provider.requests).toEqual({ discovery: 1, keys: 2 })
    time += 50 * MINUTE
    await exchangeNew()
    expect(provider.requests).toEqual({ discovery: 2, keys: 3 })
  })

  it('are asked for again after the clock was set back', async () => {
    await exchangeNew()
    time -= 1
    await exchangeNew()
    expect(provider.requests.keys).toBe(2)
  })

  it('change at once: the new one and the old one are good', async () => {
    await exchangeNew()
    const old = provider.key
    await provider.rotate({ keep: true })
    await Promise.all(Array.from({ length: 5 }, () => exchangeNew()))
    await exchangeNew(provider, old)
    expect(provider.requests).toEqual({ discovery: 1, keys: 2 })
  })

  it('are good no more once they are published no more', async () => {
    await exchangeNew()
    const old = provider.key
    await provider.rotate()
    await exchangeNew()
    await expect(exchangeNew(provider, old)).rejects.toThrow(TokenInvalid)
  })

  it('that were withdrawn are good for ten minutes at most', async () => {
    await exchangeNew()
    const old = provider.key
    await provider.rotate()
    time += 10 * MINUTE
    await expect(exchangeNew(provider, old)).rejects.toThrow(/no applicable key/)
  })

  it('that nobody knows are asked for once in half a minute', async () => {
    await exchangeNew()
    await flood()
    expect(provider.requests.keys).toBe(2)
    time += 29_999
    await flood()
    expect(provider.requests.keys).toBe(2)
    time += 1
    await flood()
    expect(provider.requests).toEqual({ discovery: 1, keys: 3 })
  })

  it('may be of a kind that is not supported, besides those that are', async () => {
    const keys = [{ kty: 'unheard-of', kid: 'x' }, ...provider.publicKeys]
    provider.answerWith('keys', answerJson({ keys }))
    await expect(exchangeNew()).resolves.toBeUndefined()
  })

  it('are found below an issuer that ends with a slash', async () => {
    const issuer = `${provider.issuer}/`
    const document = { issuer, jwks_uri: `${provider.issuer}/keys` }
    provider.answerWith('discovery', answerJson(document))
    const rules = [
      { claims: { iss: issuer }, repositories: ['**'], actions: ['pull'] as const, seconds: 60 },
    ]
    const slash = { name: 'slash', issuer, audience: provider.audience, rules }
    const log = pino({ level: 'silent' })
    trusted = new TrustedIssuers({ issuers: () => [slash], db: database.pool, log, now })
    // The glob names the issuer, slashes and all; no character of it is a wildcard.
    await expect(trusted.exchange(await provider.issue({ iss: issuer }))).resolves.toBeDefined()
    await expect(exchangeNew()).rejects.toThrow(/not trusted/)
  })
})

describe('an issuer', () => {
  const answers: [string, Answer][] = [
    ['with 500', answerJson({}, 500)],
    ['with a page', (response) => response.end('<html>')],
    ['with null', answerJson(null)],
    ['with a list', answerJson([])],
    ['with half of it', breakOff],
  ]
  const cases = answers.flatMap(([how, answer]): [Endpoint, string, Answer][] => [
    ['discovery', how, answer],
    ['keys', how, answer],
  ])

  it.each(cases)('that answers for %s %s is unavailable', async (endpoint, _, answer) => {
    provider.answerWith(endpoint, answer)
    await expect(exchangeNew()).rejects.toThrow(KeysUnavailable)
    await exchangeNew(other)
    provider.answerWith(endpoint, undefined)
    time += 5000
    await exchangeNew()
  })

  it.each<Endpoint>(['discovery', 'keys'])('may answer for %s with 1 MiB', async (endpoint) => {
    const jwksUri = `${provider.issuer}/keys`
    const body = { issuer: provider.issuer, jwks_uri: jwksUri, keys: provider.publicKeys }
    for (const bytes of [2 ** 20 + 1, 10 * 2 ** 20]) {
      provider.answerWith(endpoint, answerLarge(body, bytes))
      await expect(exchangeNew()).rejects.toThrow(KeysUnavailable)
      time += 5000
    }
    provider.answerWith(endpoint, answerLarge(body, 2 ** 20))
    await exchangeNew()
  })

  it.each<Endpoint>(['discovery', 'keys'])('has to answer for %s with 200', async (endpoint) => {
    const jwksUri = `${provider.issuer}/keys`
    const body = { issuer: provider.issuer, jwks_uri: jwksUri, keys: provider.publicKeys }
    for (const status of [201, 404, 500]) {
      provider.answerWith(endpoint, answerJson(body, status))
      await expect(exchangeNew()).rejects.toThrow(KeysUnavailable)
      time += 5000
    }
    provider.answerWith(endpoint, answerJson(body))
    await exchangeNew()
  })

  it.each<Endpoint>(['discovery', 'keys'])('that redirects for %s is not followed', async (to) => {
    provider.answerWith(to, redirectTo(`${other.issuer}/keys`))
    await expect(exchangeNew()).rejects.toThrow(KeysUnavailable)
    expect(other.requests).toEqual({ discovery: 0, keys: 0 })
  })

  it.each<Endpoint>(['discovery', 'keys'])(
    'that does not finish %s is given up',
    async (endpoint) => {
      trusted = openReplica(200)
      provider.answerWith(endpoint, hang)
      const [waited, served] = await Promise.allSettled([exchangeNew(), exchangeNew(other)])
      expect(waited).toMatchObject({ status: 'rejected', reason: { name: 'KeysUnavailable' } })
      expect(served.status).toBe('fulfilled')
    },
  )

  it('whose document is of another issuer is unavailable', async () => {
    const document = { issuer: other.issuer, jwks_uri: `${provider.issuer}/keys` }
    provider.answerWith('discovery', answerJson(document))
    await expect(exchangeNew()).rejects.toThrow(KeysUnavailable)
    expect(provider.requests).toEqual({ discovery: 1, keys: 0 })
  })

  it('that is down is asked again after five seconds, and said so once each time', async () => {
    await provider.stop()
    for (let attempt = 0; attempt < 5; attempt++) {
      await expect(exchangeNew()).rejects.toThrow(KeysUnavailable)
    }
    await exchangeNew(other)
    await provider.start()
    time += 4999
    await expect(exchangeNew()).rejects.toThrow(KeysUnavailable)
    expect(provider.requests.discovery).toBe(0)
    time += 1
    await exchangeNew()
    expect(lines.map(({ msg, issuer }) => [msg, issuer])).toEqual([
      ['issuer keys unavailable', provider.issuer],
      ['issuer keys fetched', other.issuer],
      ['issuer keys fetched', provider.issuer],
    ])
  })

  it('that was down is as good as before', async () => {
    await provider.stop()
    await expect(exchangeNew()).rejects.toThrow(KeysUnavailable)
    await provider.start()
    time += 5000
    await flood()
  })

  it('that is down does not keep the keys it gave from being good', async () => {
    await exchangeNew()
    await provider.stop()
    await exchangeNew()
    await expect(trusted.exchange(await issueUnknown())).rejects.toThrow(KeysUnavailable)
    await expect(trusted.exchange(await issueUnknown())).rejects.toThrow(KeysUnavailable)
    await exchangeNew()
    time += 10 * MINUTE
    await expect(exchangeNew()).rejects.toThrow(KeysUnavailable)
  })

  it('that moved its keys is asked where they are', async () => {
    await exchangeNew()
    const { issuer } = provider
    provider.answerWith('keys', answerJson({}, 404))
    time += 10 * MINUTE
    await expect(exchangeNew()).rejects.toThrow(KeysUnavailable)
    other.answerWith('keys', answerJson({ keys: provider.publicKeys }))
    provider.answerWith('discovery', answerJson({ issuer, jwks_uri: `${other.issuer}/keys` }))
    time += 5000
    await exchangeNew()
    expect(other.requests).toEqual({ discovery: 0, keys: 1 })
  })
})
