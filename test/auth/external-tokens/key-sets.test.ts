import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Logger } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type ExternalTokens, openExternalTokens } from '../../../auth/external-tokens.ts'
import { KeysUnavailable, TokenInvalid } from '../../../auth/tokens/token-invalid.ts'
import {
  claimsAt,
  createEcKey,
  createRsaKey,
  ISSUER,
  jwkOf,
  type KeyPair,
  keySetOf,
  SERVICE,
  signToken,
} from './signing.ts'

const first = createEcKey()
const second = createEcKey()
const SECRET = { kty: 'oct', k: 'c2VjcmV0', kid: 'secret' }

const signedBy = (key: KeyPair, kid: string): string =>
  signToken(key, { alg: 'ES256', kid }, claimsAt(new Date()))

/** jose goes by the clock of the machine. */
const later = (ms: number): unknown => vi.setSystemTime(Date.now() + ms)

const log = {
  info: vi.fn<Logger['info']>(),
  warn: vi.fn<Logger['warn']>(),
}

function open(jwks: string): Promise<ExternalTokens> {
  return openExternalTokens({ issuer: ISSUER, service: SERVICE, jwks, log })
}

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'external-tokens-'))
})
afterAll(() => rm(folder, { recursive: true }))
beforeEach(() => {
  log.info.mockClear()
  log.warn.mockClear()
})

describe('a key set at a URL', () => {
  let server: Server
  let url: string
  let requests: number
  let answer: { status: number; body: string; location?: string }
  let tokens: ExternalTokens

  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    requests = 0
    answer = { status: 200, body: keySetOf(jwkOf(first, { kid: '1' }), SECRET) }
    server = createServer((_request, response) => {
      requests += 1
      const { status, body, location } = answer
      response.writeHead(status, { Connection: 'close', ...(location && { Location: location }) })
      response.end(body)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`
    tokens = await open(url)
  })

  afterEach(async () => {
    vi.useRealTimers()
    tokens.close()
    await new Promise((resolve) => server.close(resolve))
  })

  it('is fetched when it is first needed, and once for many tokens', async () => {
    expect(requests).toBe(0)
    const token = signedBy(first, '1')
    const answers = await Promise.all(Array.from({ length: 20 }, () => tokens.verify(token)))
    expect(answers.map(({ subject }) => subject)).toEqual(Array(20).fill('alice'))
    expect(requests).toBe(1)
  })

  it('is fetched again for a new key, but not for every one that nobody knows', async () => {
    await tokens.verify(signedBy(first, '1'))
    answer.body = keySetOf(jwkOf(second, { kid: '2' }))
    for (const kid of ['2', 'x', 'y']) {
      await expect(tokens.verify(signedBy(second, kid))).rejects.toThrow(TokenInvalid)
    }
    expect(requests).toBe(1)
    later(30_001)
    expect((await tokens.verify(signedBy(second, '2'))).subject).toBe('alice')
    await expect(tokens.verify(signedBy(first, '1'))).rejects.toThrow(TokenInvalid)
    expect(requests).toBe(2)
  })

  it('loses a key that was withdrawn, after ten minutes', async () => {
    await tokens.verify(signedBy(first, '1'))
    answer.body = keySetOf(jwkOf(second, { kid: '2' }))
    expect((await tokens.verify(signedBy(first, '1'))).subject).toBe('alice')
    later(600_001)
    await expect(tokens.verify(signedBy(first, '1'))).rejects.toThrow(TokenInvalid)
  })

  it('gives no secret key, and no key of the attacker by the same name', async () => {
    const evil = createEcKey()
    await expect(tokens.verify(signedBy(evil, '1'))).rejects.toThrow('signature')
    await expect(tokens.verify(signedBy(evil, 'secret'))).rejects.toThrow('no key')
    answer.body = keySetOf(SECRET)
    later(600_001)
    await expect(tokens.verify(signedBy(first, '1'))).rejects.toThrow(TokenInvalid)
  })

  it('is unavailable, and not the token invalid, while its server is down', async () => {
    const good = answer
    answer = { status: 503, body: '' }
    await expect(tokens.verify(signedBy(first, '1'))).rejects.toThrow(KeysUnavailable)
    await expect(tokens.verify(signedBy(first, '1'))).rejects.toThrow(KeysUnavailable)
    expect(requests).toBe(1)
    expect(log.warn).toHaveBeenCalledTimes(1)

    answer = good
    later(1001)
    expect((await tokens.verify(signedBy(first, '1'))).subject).toBe('alice')

    answer = { status: 500, body: '' }
    later(500_000)
    expect((await tokens.verify(signedBy(first, '1'))).subject).toBe('alice')
    await expect(tokens.verify(signedBy(second, '2'))).rejects.toThrow(KeysUnavailable)
    expect((await tokens.verify(signedBy(first, '1'))).subject).toBe('alice')
    later(100_001)
    await expect(tokens.verify(signedBy(first, '1'))).rejects.toThrow(KeysUnavailable)
  })

  it.each(['', '[]', '{}', '{"keys":7}', '{"keys":[null]}', '<html>'])(
    'is unavailable when it is %j',
    async (body) => {
      answer = { status: 200, body }
      await expect(tokens.verify(signedBy(first, '1'))).rejects.toThrow(KeysUnavailable)
    },
  )

  it('is unavailable when it is somewhere else', async () => {
    answer = { status: 302, body: '', location: `${url}/moved` }
    await expect(tokens.verify(signedBy(first, '1'))).rejects.toThrow(KeysUnavailable)
    expect(requests).toBe(1)
  })

  it('may be out of reach at the start, and is asked for nothing that is refused anyway', async () => {
    const closed = await open('http://127.0.0.1:1/keys')
    await expect(closed.verify('a.b.c')).rejects.toThrow(TokenInvalid)
    const none = signedBy(first, '1').replace(/^[^.]+/, 'eyJhbGciOiJub25lIn0')
    await expect(closed.verify(none)).rejects.toThrow(TokenInvalid)
    await expect(closed.verify(signedBy(first, '1'))).rejects.toThrow(KeysUnavailable)
    closed.close()
  })
})

describe('a key set in a file', () => {
  it('is read again when it changes, and keeps its keys when it is spoilt', async () => {
    const jwks = path.join(folder, 'changing.json')
    await writeFile(jwks, keySetOf(jwkOf(first, { kid: '1' })))
    const tokens = await open(jwks)
    const verified = async (key: KeyPair, kid: string): Promise<boolean> => {
      return tokens.verify(signedBy(key, kid)).then(
        () => true,
        () => false,
      )
    }
    expect([await verified(first, '1'), await verified(second, '2')]).toEqual([true, false])

    await vi.waitFor(
      async () => {
        // Again each time: the poll may have begun only after the first.
        await writeFile(jwks, keySetOf(jwkOf(second, { kid: '2' })))
        expect(log.info).toHaveBeenCalled()
      },
      { timeout: 8000, interval: 300 },
    )
    expect([await verified(first, '1'), await verified(second, '2')]).toEqual([false, true])

    await writeFile(jwks, `{"d":"very private" ${keySetOf(jwkOf(first, { kid: '1' }))}`)
    await vi.waitFor(() => expect(log.warn).toHaveBeenCalled(), { timeout: 8000 })
    expect([await verified(first, '1'), await verified(second, '2')]).toEqual([false, true])
    const [data]: unknown[] = log.warn.mock.calls[0]!
    expect((data as { err: Error }).err.stack).not.toMatch(/private/)
    tokens.close()
  })

  it.each([
    ['is no JSON', 'keys', 'not JSON'],
    ['is no set', '{"kty":"EC"}', 'malformed'],
    ['is empty', keySetOf(), 'no usable key'],
    ['has secrets only', keySetOf(SECRET), 'no usable key'],
    ['has keys for encryption only', keySetOf(jwkOf(first, { use: 'enc' })), 'no usable key'],
    ['has keys for HS256 only', keySetOf(jwkOf(first, { alg: 'HS256' })), 'no usable key'],
    ['has short keys only', keySetOf(jwkOf(createRsaKey(1024))), 'no usable key'],
    ['has private keys only', keySetOf(jwkOf(first, { d: 'AAAA' })), 'no usable key'],
    ['has broken keys only', keySetOf({ kty: 'EC', crv: 'P-256', x: 'A' }), 'no usable key'],
  ])('is refused at the start when it %s', async (name, text, why) => {
    const jwks = path.join(folder, `${name}.json`)
    await writeFile(jwks, text)
    await expect(open(jwks)).rejects.toThrow(why)
  })

  it('is refused at the start when it is not there', async () => {
    await expect(open(path.join(folder, 'missing.json'))).rejects.toThrow('ENOENT')
  })
})

describe('the configuration', () => {
  it('needs an issuer, a service, and keys', async () => {
    const options = { issuer: ISSUER, service: SERVICE, log }
    await expect(openExternalTokens(options)).rejects.toThrow('are needed')
    const jwks = 'https://auth.example.com/keys'
    for (const empty of [{ issuer: '' }, { service: '' }]) {
      const attempt = openExternalTokens({ ...options, jwks, ...empty })
      await expect(attempt).rejects.toThrow('must not be empty')
    }
    await expect(open('https://')).rejects.toThrow('Invalid URL')
    await expect(open('https://user:secret@example.com/')).rejects.toThrow('password')
  })
})
