import type { ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { parseReference } from '../../oci/reference.ts'
import type { UpstreamClient, UpstreamSettings } from '../../upstream/upstream.ts'
import { answerJson, connect, patiently, type SeenRequest, startServer } from './server.ts'

const LATEST = parseReference('latest')
const CREDENTIALS = { kind: 'password', username: 'alice', password: 'wonder:land é' } as const
const BASIC = `Basic ${Buffer.from('alice:wonder:land é').toString('base64')}`

function challenge(response: ServerResponse, header: string | string[]): void {
  response.setHeader('www-authenticate', header)
  answerJson(response, 401, {
    errors: [{ code: 'UNAUTHORIZED', message: 'authentication required' }],
  })
}

function manifest(response: ServerResponse): void {
  response
    .writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' })
    .end('{}')
}

/** A registry that wants a token of `good`, and a token service that gives `answers` in turn. */
async function startRegistry({
  good = (token: string) => token !== '',
  answers = [{ token: 'one' }] as unknown[],
  realmAddress = '127.0.0.1',
  parameters = 'service="reg"',
} = {}) {
  let given = 0
  const realm = await startServer(
    (_, response) => {
      const answer = answers[Math.min(given, answers.length - 1)]
      given += 1
      if (typeof answer === 'number') answerJson(response, answer, { details: 'go away' })
      else answerJson(response, 200, answer)
    },
    { address: realmAddress },
  )
  const registry = await startServer(({ headers }, response) => {
    const token = (headers.authorization ?? '').replace(/^Bearer /, '')
    if (good(token)) manifest(response)
    else challenge(response, `Bearer realm="${realm.origin}/token?account=x",${parameters}`)
  })
  return { realm, registry }
}

function pull(client: UpstreamClient, repository = 'library/alpine') {
  return client.getManifest(repository, LATEST, patiently())
}

function shown(requests: readonly SeenRequest[]) {
  return requests.map(({ headers }) => headers.authorization)
}

function queryOf(request: SeenRequest | undefined) {
  return [...new URL(request?.url ?? '', 'http://x').searchParams]
}

describe('a token', () => {
  it('is asked for where the challenge says, with what it says', async () => {
    const parameters = 'service="reg",scope="repository:library/alpine:pull repository:x:pull"'
    const { realm, registry } = await startRegistry({ parameters })
    await pull(connect(registry.origin))
    expect(queryOf(realm.requests[0])).toEqual([
      ['account', 'x'],
      ['service', 'reg'],
      ['scope', 'repository:library/alpine:pull'],
      ['scope', 'repository:x:pull'],
    ])
    expect(shown(realm.requests)).toEqual([undefined])
    expect(shown(registry.requests)).toEqual([undefined, 'Bearer one'])
  })

  it('is asked for to pull, when the challenge has no scope', async () => {
    const { realm, registry } = await startRegistry({ parameters: 'x="y"' })
    await pull(connect(registry.origin))
    expect(queryOf(realm.requests[0])).toEqual([
      ['account', 'x'],
      ['scope', 'repository:library/alpine:pull'],
    ])
  })

  it('is kept for its repository', async () => {
    const { realm, registry } = await startRegistry()
    const client = connect(registry.origin)
    await pull(client)
    await pull(client)
    expect(realm.requests).toHaveLength(1)
    expect(shown(registry.requests)).toEqual([undefined, 'Bearer one', 'Bearer one'])
    await pull(client, 'library/busybox')
    expect(realm.requests).toHaveLength(2)
  })

  it('is asked for once by all who want it at a time', async () => {
    const { realm, registry } = await startRegistry()
    const client = connect(registry.origin)
    await Promise.all(
      Array.from({ length: 20 }, () => client.statManifest('library/alpine', LATEST, patiently())),
    )
    expect(realm.requests).toHaveLength(1)
  })

  it('goes on being asked for when the first to want it leaves', async () => {
    const { realm, registry } = await startRegistry()
    const waiting: ServerResponse[] = []
    realm.handle((_, response) => waiting.push(response))
    const client = connect(registry.origin)
    const leaving = new AbortController()
    const first = client.statManifest('library/alpine', LATEST, leaving)
    await expect.poll(() => realm.requests.length).toBe(1)
    const second = client.statManifest('library/alpine', LATEST, patiently())
    await expect.poll(() => registry.requests.length).toBe(2)
    leaving.abort(new Error('left'))
    await expect(first).rejects.toThrow('left')
    answerJson(waiting[0]!, 200, { token: 'late' })
    await second
    expect(realm.requests).toHaveLength(1)
    expect(shown(registry.requests).at(-1)).toBe('Bearer late')
  })

  it.each([
    [{ token: 'one' }, 44, 46],
    [{ token: 'one', expires_in: 300 }, 269, 271],
    [{ access_token: 'one', expires_in: 10 }, 7, 8],
    [{ token: 'one', expires_in: -1 }, 44, 46],
    [{ token: 'one', expires_in: 'never' }, 44, 46],
  ])('that came as %j is good after %i s and not after %i s', async (answer, good, over) => {
    const { realm, registry } = await startRegistry({ answers: [answer] })
    let seconds = 0
    const client = connect(registry.origin, {}, { now: () => seconds * 1000 })
    await pull(client)
    seconds = good
    await pull(client)
    expect(realm.requests).toHaveLength(1)
    seconds = over
    await pull(client)
    expect(realm.requests).toHaveLength(2)
  })

  it('is renewed once when it is not good any more', async () => {
    let revoked = ''
    const { realm, registry } = await startRegistry({
      good: (token) => token !== '' && token !== revoked,
      answers: [{ token: 'one' }, { token: 'two' }],
    })
    const client = connect(registry.origin)
    await pull(client)
    revoked = 'one'
    await pull(client)
    expect(realm.requests).toHaveLength(2)
    expect(shown(registry.requests).slice(2)).toEqual(['Bearer one', 'Bearer two'])
  })

  it('that never helps is a denial', async () => {
    const { realm, registry } = await startRegistry({ good: () => false })
    await expect(pull(connect(registry.origin))).rejects.toMatchObject({
      reason: 'denied',
      message: 'up.test: 401 unauthorized: authentication required',
    })
    expect(realm.requests).toHaveLength(1)
    expect(registry.requests).toHaveLength(2)
  })

  it.each([
    [401, 'denied'],
    [403, 'denied'],
    [404, 'invalid'],
    [429, 'rate limited'],
    [503, 'unavailable'],
  ] as const)('service that answers %i: %s', async (status, reason) => {
    const { realm, registry } = await startRegistry({ answers: [status] })
    await expect(pull(connect(registry.origin))).rejects.toMatchObject({
      reason,
      message: `up.test: ${realm.host}: ${status} go away`,
    })
  })

  it.each([
    [{}],
    [[]],
    ['text'],
    [null],
    [{ token: 7 }],
    [{ token: '' }],
    [{ token: 'two\r\nlines' }],
    [{ token: 'x'.repeat(20_000) }],
    [{ token: 'x'.repeat(70_000) }],
  ])('service that answers with none: %j', async (answer) => {
    const { registry } = await startRegistry({ answers: [answer] })
    await expect(pull(connect(registry.origin))).rejects.toMatchObject({ reason: 'invalid' })
  })
})

describe('a challenge', () => {
  it.each([
    ['nothing at all', [], 'denied'],
    ['garbage', '"""=,,', 'denied'],
    ['another scheme', 'Negotiate', 'denied'],
    ['no realm', 'Bearer service="x"', 'invalid'],
    ['a relative realm', 'Bearer realm="/token"', 'invalid'],
    ['a realm that is a file', 'Bearer realm="file:///etc/passwd"', 'invalid'],
    ['a realm that is a script', 'Bearer realm="javascript:alert(1)"', 'invalid'],
  ])('with %s ends there', async (_, header, reason) => {
    const registry = await startServer((__, response) => challenge(response, header))
    const client = connect(registry.origin, { credentials: CREDENTIALS })
    await expect(pull(client)).rejects.toMatchObject({ reason })
    expect(shown(registry.requests)).toEqual([undefined])
  })

  it('prefers a token to the password', async () => {
    const { realm, registry } = await startRegistry()
    registry.handle(({ headers }, response) => {
      if (headers.authorization !== undefined) return manifest(response)
      return challenge(response, ['Basic realm="x"', `Bearer realm="${realm.origin}"`])
    })
    await pull(connect(registry.origin, { credentials: CREDENTIALS }))
    expect(shown(registry.requests)).toEqual([undefined, 'Bearer one'])
  })

  it('of Basic gets the password, which is then shown at once', async () => {
    const registry = await startServer(({ headers }, response) => {
      if (headers.authorization === BASIC) manifest(response)
      else challenge(response, 'Basic realm="x"')
    })
    const client = connect(registry.origin, { credentials: CREDENTIALS })
    await pull(client)
    await pull(client, 'other')
    expect(shown(registry.requests)).toEqual([undefined, BASIC, BASIC])
  })

  it('of Basic without credentials is a denial', async () => {
    const registry = await startServer((_, response) => challenge(response, 'Basic realm="x"'))
    await expect(pull(connect(registry.origin))).rejects.toMatchObject({ reason: 'denied' })
    expect(registry.requests).toHaveLength(1)
  })

  it('of Basic that refuses the password is a denial', async () => {
    const registry = await startServer((_, response) => challenge(response, 'Basic realm="x"'))
    const client = connect(registry.origin, { credentials: CREDENTIALS })
    await expect(pull(client)).rejects.toMatchObject({ reason: 'denied' })
    await expect(pull(client)).rejects.toMatchObject({ reason: 'denied' })
    expect(shown(registry.requests)).toEqual([undefined, BASIC, BASIC])
  })
})

describe('credentials', () => {
  const credentials = CREDENTIALS

  it.each<[string, Partial<UpstreamSettings>, string, string | undefined]>([
    ['of the same host', {}, '127.0.0.1', BASIC],
    ['of another host', {}, '127.0.0.2', undefined],
    ['that is listed', { realms: ['other', '127.0.0.2'] }, '127.0.0.2', BASIC],
    ['that is listed with another port', { realms: ['127.0.0.2:1'] }, '127.0.0.2', undefined],
    ['whose host only ends alike', { realms: ['7.0.0.2'] }, '127.0.0.2', undefined],
  ])('go to a token service %s or do not', async (_, settings, realmAddress, expected) => {
    const { realm, registry } = await startRegistry({ realmAddress })
    await pull(connect(registry.origin, { credentials, ...settings }))
    expect(shown(realm.requests)).toEqual([expected])
    expect(shown(registry.requests)).toEqual([undefined, 'Bearer one'])
  })

  it('go to a token service that is listed with its port', async () => {
    const { realm, registry } = await startRegistry({ realmAddress: '127.0.0.2' })
    await pull(connect(registry.origin, { credentials, realms: [realm.host] }))
    expect(shown(realm.requests)).toEqual([BASIC])
  })

  it('do not follow a token service that redirects', async () => {
    const thief = await startServer((_, response) => answerJson(response, 200, { token: 'one' }), {
      address: '127.0.0.2',
    })
    const { realm, registry } = await startRegistry()
    realm.handle((_, response) => {
      response.writeHead(307, { location: `${thief.origin}/t` }).end()
    })
    await pull(connect(registry.origin, { credentials }))
    expect(shown(realm.requests)).toEqual([BASIC])
    expect(shown(thief.requests)).toEqual([undefined])
  })

  it('are never taken from a URL', async () => {
    const { realm, registry } = await startRegistry()
    const withUser = realm.origin.replace('//', '//mallory:secret@')
    registry.handle(({ headers }, response) => {
      if (headers.authorization !== undefined) return manifest(response)
      return challenge(response, `Bearer realm="${withUser}/token"`)
    })
    await pull(connect(registry.origin))
    expect(shown(realm.requests)).toEqual([undefined])
    expect(() => connect('http://alice:secret@127.0.0.1')).toThrow(/^(?!.*secret)/)
  })

  it('are in no message, even if an upstream repeats them', async () => {
    const { realm, registry } = await startRegistry({ good: () => false })
    const failing = async () => {
      const client = connect(registry.origin, { credentials })
      const failure = await pull(client).catch((error: unknown) => error)
      return [String(failure), client.condition().lastError?.message].join()
    }
    const echo = ({ headers }: SeenRequest, response: ServerResponse) => {
      const message = `not ${headers.authorization} or ${credentials.password}`
      response.setHeader('www-authenticate', `Bearer realm="${realm.origin}"`)
      answerJson(response, 401, { errors: [{ code: 'UNAUTHORIZED', message }] })
    }
    registry.handle(echo)
    expect(await failing()).toContain('not Bearer *** or')
    realm.handle(echo)
    expect(await failing()).toContain('not Basic *** or ***')
  })
})
