import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  addUser,
  allow,
  basic,
  bearerFor,
  forgiveFailures,
  type GuardedRegistry,
  runGuarded,
} from '../acceptance/accounts.ts'
import { type Answer, type Client, sha256 } from '../acceptance/client.ts'
import { type Image, pushImage } from '../acceptance/images.ts'
import { type Mirror, openMirrorBy } from './mirror.ts'

let mirror: Mirror<GuardedRegistry>
let client: Client
let hosted: Image

beforeAll(async () => {
  mirror = await openMirrorBy({
    hub: { negativeSeconds: 0 },
    run: (options) => runGuarded({}, options),
  })
  client = mirror.client
  const { access, admin } = mirror.here
  hosted = await pushImage(admin, 'secret/app', 'v1')
  await pushImage(admin, 'hidden', 'v1')
  await pushImage(mirror.hub.client, 'library/alpine', 'v1')
  await allow(access, 'anonymous', ['docker.io/**'], ['pull'])
  await addUser(access, 'ann')
  await addUser(access, 'pusher', { '**': ['push'] })
})
afterAll(() => mirror.close())
beforeEach(async () => {
  mirror.forget()
  await forgiveFailures(mirror.here)
})

/** Everything that is answered but the time, with the name of the repository made equal. */
function wholeAnswer({ status, headers, body }: Answer, repository: string): unknown {
  const { date: _date, ...rest } = headers
  const text = JSON.stringify({ status, headers: rest, body: body.toString() })
  return JSON.parse(text.replaceAll(repository, '<name>')) as unknown
}

/** What is private here, and what is nowhere. */
const PAIRS = [
  ['secret/app', 'nobody/app'],
  ['hidden', 'absent'],
] as const

const READS: readonly (readonly [method: string, rest: () => string, headers?: object])[] = [
  ['GET', () => 'manifests/v1'],
  ['HEAD', () => 'manifests/v1'],
  ['GET', () => 'manifests/other'],
  ['GET', () => `manifests/${hosted.digest}`],
  ['HEAD', () => `manifests/${hosted.digest}`],
  ['GET', () => 'manifests/v1', { 'If-None-Match': '*' }],
  ['GET', () => `blobs/${sha256(hosted.layer)}`],
  ['HEAD', () => `blobs/${sha256(hosted.layer)}`],
  ['GET', () => `blobs/${sha256(hosted.layer)}`, { Range: 'bytes=0-0' }],
  ['GET', () => 'tags/list'],
  ['GET', () => 'tags/list?n=1'],
  ['GET', () => `referrers/${hosted.digest}`],
  ['DELETE', () => 'manifests/v1'],
  ['POST', () => 'blobs/uploads/'],
]

const SCOPES = PAIRS.flat().map((name) => `repository:${name}:*`)
const tokenOf = (user?: string) =>
  bearerFor(client, user === undefined ? undefined : basic(user), ...SCOPES)

const CALLERS: Readonly<Record<string, () => Promise<string | undefined>>> = {
  'without credentials': async () => undefined,
  'with a token for anonymous': () => tokenOf(),
  'with a token for anonymous and for nothing': () => bearerFor(client, undefined),
  'with a token': () => tokenOf('ann'),
  'with name and password': async () => basic('ann'),
  'with a wrong password': async () => basic('ann', 'wrong'),
  'with a token that is none': async () => 'Bearer x.y.z',
}

async function askForBoth(
  [there, absent]: readonly [string, string],
  { method, rest, headers }: { method: string; rest: string; headers: object },
  authorization: string | undefined,
) {
  const ask = async (name: string) => {
    const all = authorization === undefined ? headers : { ...headers, authorization }
    const path = `/v2/${name}/${rest}`
    const answer = wholeAnswer(await client.send(method, path, { headers: { ...all } }), name)
    await forgiveFailures(mirror.here)
    return answer
  }
  return [await ask(there), await ask(absent)] as const
}

describe('by a name without a prefix, what is private looks like what is nowhere', () => {
  it.each(Object.entries(CALLERS))('%s', async (_, credentials) => {
    const authorization = await credentials()
    for (const pair of PAIRS) {
      for (const [method, rest, headers = {}] of READS) {
        const what = { method, rest: rest(), headers }
        const [there, absent] = await askForBoth(pair, what, authorization)
        expect({ ...what, answer: there }).toEqual({ ...what, answer: absent })
        expect([401, 403]).toContain((there as Answer).status)
      }
    }
  })

  it('though the upstream was asked for the one, and has said that there is none', async () => {
    await askForBoth(PAIRS[0], { method: 'GET', rest: 'manifests/v1', headers: {} }, undefined)
    expect(mirror.asked().map(({ path, status }) => [path, status])).toEqual([
      ['/v2/nobody/app/manifests/v1', 404],
    ])
  })

  it.each([404, 401, 403, 410])('also where it says so by %d', async (status) => {
    const times = Number.POSITIVE_INFINITY
    const fault = mirror.hub.proxy.answer('manifest', { status, message: 'none', times })
    for (const method of ['GET', 'HEAD']) {
      const what = { method, rest: 'manifests/v1', headers: {} }
      const [there, absent] = await askForBoth(PAIRS[0], what, undefined)
      expect(there).toEqual(absent)
    }
    fault.clear()
  })

  it('also where the upstream fails', async () => {
    const fault = mirror.hub.proxy.answer('manifest', { status: 500 })
    const what = { method: 'GET', rest: 'manifests/v1', headers: {} }
    const [there, absent] = await askForBoth(PAIRS[0], what, undefined)
    fault.clear()
    expect(there).toEqual(absent)
  })

  it('while what is there is served', async () => {
    const answer = await client.get('/v2/library/alpine/manifests/v1')
    expect(answer.status).toBe(200)
    expect((await client.get('/v2/alpine/manifests/v1')).status).toBe(200)
  })

  it('and who may pull anything is told what the upstream says', async () => {
    for (const name of ['nobody/app', 'library/nobody']) {
      const answer = await mirror.here.admin.get(`/v2/${name}/manifests/v1`)
      expect(answer.status).toBe(404)
      expect(answer.body.toString()).toContain('docker.io: 404')
    }
  })
})

async function expectAlike(namespace: string): Promise<void> {
  for (const pair of PAIRS) {
    for (const method of ['GET', 'HEAD']) {
      const what = { method, rest: `manifests/v1?ns=${namespace}`, headers: {} }
      const [there, absent] = await askForBoth(pair, what, undefined)
      expect({ pair, answer: there }).toEqual({ pair, answer: absent })
    }
  }
}

describe('with the name of a registry, what is private looks like what is nowhere', () => {
  it.each(['docker.io', 'quay.io', 'ghcr.io'])('by ?ns=%s', (namespace) => expectAlike(namespace))
})
