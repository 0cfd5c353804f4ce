import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { addGrant } from '../../auth/accounts/grants.ts'
import { addPersonalToken } from '../../auth/accounts/personal-tokens.ts'
import { RawConnection } from '../support/raw-http.ts'
import {
  addUser,
  allow,
  basic,
  bearerFor,
  expectChallenge,
  followCatalog,
  forgiveFailures,
  type GuardedRegistry,
  OPERATOR,
  runGuarded,
} from './accounts.ts'
import {
  type Answer,
  type Client,
  expectBlob,
  expectError,
  expectStatus,
  type Sent,
  sendChunk,
  sha256,
  someBytes,
  startUpload,
} from './client.ts'
import { type Image, pushImage } from './images.ts'

let running: GuardedRegistry
let client: Client
let image: Image
let session: string
let passedMs = 0

beforeAll(async () => {
  running = await runGuarded({ terms: { now: () => new Date(Date.now() + passedMs) } })
  client = running.client
  image = await pushImage(running.admin, 'secret/app', 'v1')
  await pushImage(running.admin, 'open/app', 'v1')
  session = await startUpload(running.admin, 'secret/app')
  const { access } = running
  await addUser(access, 'ann', { 'team/**': ['pull', 'push'] })
  await addUser(access, 'bob', { 'team/**': ['pull', 'push'] })
  await addUser(access, 'pusher', { '*/app': ['push'] })
  await addUser(access, 'denied', { '**': ['pull', 'push', 'overwrite', 'delete'] })
  await addGrant(access, OPERATOR, {
    effect: 'deny',
    subject: 'user:denied',
    repositories: ['secret/**', 'nobody/**'],
    actions: ['pull', 'push', 'overwrite', 'delete'],
  })
  await allow(access, 'anonymous', ['open/**'], ['pull', 'push'])
})
afterAll(() => running.close())
afterEach(async () => {
  passedMs = 0
  await forgiveFailures(running)
})

/** Everything that is answered but the time, with the name of the repository made equal. */
function wholeAnswer({ status, headers, body }: Answer, repository: string): unknown {
  const { date: _date, ...rest } = headers
  const text = JSON.stringify({ status, headers: rest, body: body.toString() })
  return JSON.parse(
    text.replaceAll(repository, '<name>').replaceAll(encodeURI(repository), '<name>'),
  )
}

type Asked = readonly [method: string, path: string, headers?: Sent['headers']]

const reads = (): Readonly<Record<string, Asked>> => ({
  'a manifest by tag': ['GET', `manifests/v1`],
  'its head': ['HEAD', `manifests/v1`],
  'a manifest by digest': ['GET', `manifests/${image.digest}`],
  'a manifest that one has': ['GET', 'manifests/v1', { 'If-None-Match': '*' }],
  'a blob': ['GET', `blobs/${sha256(image.layer)}`],
  'a part of a blob': ['GET', `blobs/${sha256(image.layer)}`, { Range: 'bytes=0-0' }],
  'the head of a blob': ['HEAD', `blobs/${sha256(image.layer)}`],
  tags: ['GET', 'tags/list'],
  referrers: ['GET', `referrers/${image.digest}`],
})

const everything = (): Readonly<Record<string, Asked>> => ({
  ...reads(),
  'a new session': ['POST', 'blobs/uploads/'],
  'a session that there is': ['GET', session.slice('/v2/secret/app/'.length)],
  'a chunk': ['PATCH', session.slice('/v2/secret/app/'.length)],
  'a manifest to a tag': ['PUT', 'manifests/v1', { 'If-None-Match': '*' }],
  'a tag to delete': ['DELETE', 'manifests/v1'],
  'a manifest to delete': ['DELETE', `manifests/${image.digest}`],
  'a blob to delete': ['DELETE', `blobs/${sha256(image.layer)}`],
})

const SCOPES = ['repository:secret/app:*', 'repository:nobody/app:*']

const tokenOf = (name?: string) => () =>
  bearerFor(client, name === undefined ? undefined : basic(name), ...SCOPES)

describe('case 6: a repository that one may not read answers as one that does not exist', () => {
  const callers: Record<string, [() => Promise<string | undefined>, number, typeof reads]> = {
    'without credentials': [async () => undefined, 401, everything],
    'with a token for anonymous': [tokenOf(), 401, everything],
    'with a token': [tokenOf('ann'), 401, everything],
    'with a token of who was denied it': [tokenOf('denied'), 401, everything],
    'with a token of who may only push': [tokenOf('pusher'), 401, reads],
    'with name and password': [async () => basic('ann'), 403, everything],
    'with name and password of who was denied it': [async () => basic('denied'), 403, everything],
    'with name and password of who may only push': [async () => basic('pusher'), 403, reads],
    'with a wrong password': [async () => basic('ann', 'wrong'), 401, everything],
    'with a token that is none': [async () => 'Bearer x.y.z', 401, everything],
  }
  for (const [how, [credentials, status, requests]] of Object.entries(callers)) {
    it(`${how}: ${status}, and every header and byte alike`, async () => {
      const authorization = await credentials()
      for (const [what, [method, path, headers = {}]] of Object.entries(requests())) {
        const ask = async (repository: string) => {
          const sent = authorization === undefined ? headers : { ...headers, authorization }
          const answer = await client.send(method, `/v2/${repository}/${path}`, { headers: sent })
          return wholeAnswer(answer, repository)
        }
        const [there, absent] = [await ask('secret/app'), await ask('nobody/app')]
        expect({ what, answer: there }).toEqual({ what, answer: absent })
        expect({ what, answer: there }).toMatchObject({ answer: { status } })
        expect(JSON.stringify(there).includes('"www-authenticate"')).toBe(status === 401)
        await forgiveFailures(running)
      }
    })
  }

  it('also where a whole repository is to be deleted', async () => {
    for (const authorization of [undefined, basic('ann'), await bearerFor(client, basic('ann'))]) {
      const ask = async (repository: string) => {
        const headers = authorization === undefined ? {} : { authorization }
        const path = `/api/v1/repositories/${repository}`
        return wholeAnswer(await client.send('DELETE', path, { headers }), repository)
      }
      const answer = await ask('secret/app')
      expect(answer).toEqual(await ask('nobody/app'))
      expect([401, 403]).toContain((answer as Answer).status)
    }
  })

  it('as a source of mounts', async () => {
    const digest = sha256(image.layer)
    const ask = async (from: string) => {
      const path = `/v2/team/x/blobs/uploads/?mount=${digest}&from=${from}`
      const { status, headers } = await running.as(basic('ann')).send('POST', path)
      return { status, names: Object.keys(headers) }
    }
    expect(await ask('secret/app')).toEqual(await ask('nobody/app'))
    expect(await ask('secret/app')).toMatchObject({ status: 202 })
  })
})

describe('case 20: an upload session', () => {
  const blob = someBytes()
  const url = (location: string) => `${location}?digest=${sha256(blob)}`

  async function expectUnknown(stranger: Client, location: string): Promise<void> {
    const answers = [
      await stranger.get(location),
      await sendChunk(stranger, location, blob, [0, 9]),
      await stranger.send('PATCH', location, { body: blob }),
      await stranger.send('PUT', url(location), { body: blob }),
      await stranger.send('DELETE', location),
    ]
    for (const answer of answers) expectError(answer, 404, 'BLOB_UPLOAD_UNKNOWN')
  }

  it('is nobody else’s, and nothing they try does it harm', async () => {
    const owner = running.as(basic('ann'))
    const location = await startUpload(owner, 'team/app')
    expectStatus(await sendChunk(owner, location, blob, [0, 9]), 202)
    const token = await bearerFor(client, basic('bob'), 'repository:team/app:pull,push')
    for (const stranger of [running.as(basic('bob')), running.as(token), running.admin]) {
      await expectUnknown(stranger, location)
    }
    expectStatus(await sendChunk(owner, location, blob, [10, 63]), 202)
    expectStatus(await owner.send('PUT', url(location)), 201)
    await expectBlob(owner, 'team/app', blob)
  })

  it('is of one repository', async () => {
    const owner = running.as(basic('ann'))
    const location = await startUpload(owner, 'team/app')
    await expectUnknown(owner, location.replace('team/app', 'team/other'))
    expectStatus(await owner.send('PUT', url(location), { body: blob }), 201)
  })

  it('that anonymous began is no user’s, and the other way round', async () => {
    const anonymous = await startUpload(client, 'open/app')
    await expectUnknown(running.admin, anonymous)
    const known = await startUpload(running.admin, 'open/app')
    await expectUnknown(client, known)
    await expectUnknown(
      running.as(await bearerFor(client, undefined, 'repository:open/app:*')),
      known,
    )
    expectStatus(await client.send('PUT', url(anonymous), { body: blob }), 201)
    expectStatus(await running.admin.send('PUT', url(known), { body: blob }), 201)
  })

  it('is its owner’s with another token, when the one it began with has expired', async () => {
    const scope = 'repository:team/app:pull,push'
    const owner = running.as(await bearerFor(client, basic('ann'), scope))
    const location = await startUpload(owner, 'team/app')
    expectStatus(await owner.send('PATCH', location, { body: blob }), 202)
    passedMs = 700_000
    expectChallenge(await owner.send('PUT', url(location)), { scope, error: 'invalid_token' })
    expectChallenge(await owner.get(location), { scope, error: 'invalid_token' })
    owner.authorization = await bearerFor(client, basic('ann'), scope)
    expectStatus(await owner.send('PUT', url(location)), 201)
    await expectBlob(owner, 'team/app', blob)
  })

  it('goes on with a body that is under way while the token expires', async () => {
    const scope = 'repository:team/app:pull,push'
    const owner = running.as(await bearerFor(client, basic('ann'), scope))
    const bytes = someBytes()
    const location = await startUpload(owner, 'team/app')
    const connection = await RawConnection.open(running.registry.host)
    await connection.begin('PUT', `${location}?digest=${sha256(bytes)}`, {
      Authorization: owner.authorization,
      'Content-Length': 64,
      Expect: '100-continue',
    })
    expect((await connection.answer()).status).toBe(100)
    await connection.send(bytes.subarray(0, 32))
    // By then the token was looked at: what comes now is answered on another connection.
    expectStatus(await owner.get('/v2/'), 200)
    passedMs = 700_000
    expectStatus(await owner.get('/v2/'), 401)
    await connection.send(bytes.subarray(32))
    expectStatus(await connection.answer(), 201)
    await connection.close()
  })
})

describe('case 38: the catalog', () => {
  const names = ['a', 'acme/a', 'acme/b', 'acme/b/c', 'acme/b-c', 'acme/zx']
  const all = [...names, 'beta/a', 'beta/x/y', 'c0', 'gamma'].toSorted((a, b) =>
    Buffer.compare(Buffer.from(a), Buffer.from(b)),
  )
  let guarded: GuardedRegistry
  beforeAll(async () => {
    guarded = await runGuarded()
    for (const name of all.toReversed()) await pushImage(guarded.admin, name, 'x')
    const { access } = guarded
    await addUser(access, 'three', {
      'acme/b': ['pull'],
      'beta/*': ['pull'],
      gamma: ['pull', 'push'],
    })
    await addUser(access, 'across', { 'acme/**': ['pull'], 'b*/**': ['pull'], '*': ['push'] })
    await addUser(access, 'but', { '**': ['pull'] })
    await addGrant(access, OPERATOR, {
      effect: 'deny',
      subject: 'user:but',
      repositories: ['acme/*', '*a/**'],
      actions: ['pull'],
    })
    await addUser(access, 'none')
    await allow(access, 'anonymous', ['c0'], ['pull'])
  })
  afterAll(() => guarded.close())

  const shown: Record<string, readonly string[]> = {
    root: all,
    three: ['acme/b', 'beta/a', 'c0', 'gamma'], // c0: what anonymous may pull everybody may
    across: ['acme/a', 'acme/b', 'acme/b-c', 'acme/b/c', 'acme/zx', 'beta/a', 'beta/x/y', 'c0'],
    but: ['a', 'acme/b/c', 'c0', 'gamma'],
    none: ['c0'],
  }

  for (const [name, expected] of Object.entries(shown)) {
    it(`shows ${name} ${expected.length} of 10, page by page`, async () => {
      const token = await bearerFor(guarded.client, basic(name), 'registry:catalog:*')
      for (const reader of [guarded.as(token), guarded.as(basic(name))]) {
        for (const n of [1, 2, 3, 100]) {
          const pages = await followCatalog(reader, `?n=${n}`)
          expect(pages.flat()).toEqual(expected)
          expect(pages).toHaveLength(Math.max(1, Math.ceil(expected.length / n)))
        }
        expect((await followCatalog(reader, '?last=beta')).flat()).toEqual(
          expected.filter((each) => each > 'beta'),
        )
        expect((await followCatalog(reader, '?n=0')).flat()).toEqual([])
        for (const each of all) {
          const { status } = await guarded.as(basic(name)).get(`/v2/${each}/tags/list`)
          expect({ each, status }).toEqual({ each, status: expected.includes(each) ? 200 : 403 })
        }
      }
    })
  }

  it('is 401 with its scope for anonymous, and for a token without it', async () => {
    const scope = 'registry:catalog:*'
    expectChallenge(await guarded.client.get('/v2/_catalog?n=2'), { scope })
    const anonymous = guarded.as(await bearerFor(guarded.client, undefined, scope))
    expectChallenge(await anonymous.get('/v2/_catalog'), { scope, error: 'insufficient_scope' })
    const narrow = guarded.as(await bearerFor(guarded.client, basic('root'), 'repository:a:pull'))
    expectChallenge(await narrow.get('/v2/_catalog'), { scope, error: 'insufficient_scope' })
    expectChallenge(await guarded.as('Bearer x').get('/v2/_catalog'), {
      scope,
      error: 'invalid_token',
    })
  })

  it('shows a personal token what it was narrowed to', async () => {
    const { secret } = await addPersonalToken(guarded.access, OPERATOR, {
      account: 'across',
      name: 'narrow',
      coverage: [{ repositories: ['acme/*', 'gamma'], actions: ['pull'] }],
    })
    const pages = await followCatalog(guarded.as(basic('across', secret)), '?n=2')
    expect(pages).toEqual([
      ['acme/a', 'acme/b'],
      ['acme/b-c', 'acme/zx'],
    ])
  })
})
