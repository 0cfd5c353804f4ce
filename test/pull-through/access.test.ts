import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { addGrant } from '../../auth/accounts/grants.ts'
import {
  addUser,
  allow,
  askForToken,
  basic,
  bearerFor,
  challengeIn,
  expectChallenge,
  followCatalog,
  forgiveFailures,
  type GuardedRegistry,
  OPERATOR,
  runGuarded,
  tokenIn,
} from '../acceptance/accounts.ts'
import {
  type Answer,
  type Client,
  expectError,
  expectStatus,
  json,
  sha256,
} from '../acceptance/client.ts'
import { type Image, pushImage } from '../acceptance/images.ts'
import { type Mirror, openMirrorBy, pathOf } from './mirror.ts'

const ALPINE = 'docker.io/library/alpine'
/** Each way to the same repository. */
const WAYS = [
  ALPINE,
  'docker.io/alpine',
  'm/alpine',
  'alpine?ns=docker.io',
  'alpine',
  'library/alpine',
]

let mirror: Mirror<GuardedRegistry>
let here: GuardedRegistry
let client: Client
let image: Image

beforeAll(async () => {
  mirror = await openMirrorBy({
    hub: { prefix: 'm', negativeSeconds: 0 },
    run: (options) => runGuarded({}, { ...options, settings: { auditsPulls: true } }),
  })
  here = mirror.here
  client = here.client
  for (const name of ['library/alpine', 'library/open', 'team/app']) {
    image = await pushImage(mirror.hub.client, name, 'v1')
  }
  image = await pushImage(mirror.hub.client, 'library/alpine', 'v1')
  await pushImage(mirror.quay.client, 'team/app', 'v1')
  const { access } = here
  await addUser(access, 'ann', { 'docker.io/**': ['pull'] })
  await addUser(access, 'quay', { 'quay.io/**': ['pull'] })
  await addUser(access, 'short', { 'library/**': ['pull'], '*': ['pull'], 'm/**': ['pull'] })
  await addUser(access, 'pusher', { 'docker.io/**': ['push', 'overwrite', 'delete'] })
  await addUser(access, 'denied', { '**': ['pull'] })
  await addUser(access, 'nobody')
  await addGrant(access, OPERATOR, {
    effect: 'deny',
    subject: 'user:denied',
    repositories: [ALPINE],
    actions: ['pull'],
  })
  await allow(access, 'anonymous', ['docker.io/library/open'], ['pull'])
})
afterAll(() => mirror.close())
beforeEach(async () => {
  mirror.forget()
  await forgiveFailures(here)
})

const ask = (name: string, authorization?: string, rest = 'manifests/v1'): Promise<Answer> =>
  client.get(
    pathOf(name, rest),
    authorization === undefined ? {} : { Authorization: authorization },
  )

/** What a client calls the repository in the scope it asks a token for. */
const calledBy = (name: string) => `repository:${name.split('?')[0]}:pull`

const hasPrefix = (name: string) => name.startsWith('docker.io/') || name.startsWith('m/')

/** What a client is told to ask for: its own words, where they may name something hosted. */
function scopeOf(name: string, canonical: string): string {
  return hasPrefix(name) ? `repository:${canonical}:pull` : calledBy(name)
}

/** As clients do: a request without anything, a token for what it is told and what it knows. */
async function askAsClientsDo(name: string, user: string | undefined): Promise<Answer> {
  const first = await ask(name)
  if (first.status !== 401) return first
  const { scope = '' } = challengeIn(first)
  const credentials = user === undefined ? undefined : basic(user)
  return ask(name, await bearerFor(client, credentials, scope, calledBy(name)))
}

describe.each(WAYS)('by %s, the rules of the repository that it is count', (name) => {
  const waysOf = async (user: string) => {
    const own = await bearerFor(client, basic(user), calledBy(name))
    const canonical = await bearerFor(client, basic(user), `repository:${ALPINE}:pull`)
    return {
      'with name and password': (await ask(name, basic(user))).status,
      'with a token for what the client calls it': (await ask(name, own)).status,
      'with a token for what it is': (await ask(name, canonical)).status,
      'as clients do': (await askAsClientsDo(name, user)).status,
    }
  }

  it.each(['ann', 'root'])('%s may', async (user) => {
    const statuses = await waysOf(user)
    expect(statuses).toEqual(Object.fromEntries(Object.keys(statuses).map((way) => [way, 200])))
  })

  it.each(['quay', 'short', 'pusher', 'denied', 'nobody'])('%s may not', async (user) => {
    const statuses = await waysOf(user)
    // 404: who may pull what is hosted under the plain name, where nothing is.
    const mayPullPlain = !hasPrefix(name) && (user === 'short' || user === 'denied')
    const refusals = mayPullPlain ? [401, 403, 404] : [401, 403]
    const others = Object.entries(statuses).filter(([, status]) => !refusals.includes(status))
    expect(others).toEqual([])
    expect(mirror.asked()).toEqual([])
  })

  it('nobody is let in without a token, and is told what to ask for', async () => {
    const answer = await ask(name)
    expectChallenge(answer, { scope: scopeOf(name, ALPINE) })
    const empty = await ask(name, await bearerFor(client, undefined))
    expect(challengeIn(empty)).toMatchObject({ error: 'insufficient_scope' })
    expectStatus(await ask(name, await bearerFor(client, undefined, calledBy(name))), 401)
    expect(mirror.asked()).toEqual([])
  })
})

describe('a token', () => {
  it('for another repository is none for this one', async () => {
    for (const other of ['repository:docker.io/library/open:pull', 'repository:m:pull']) {
      const token = await bearerFor(client, basic('ann'), other)
      for (const name of WAYS) expectStatus(await ask(name, token), 401)
    }
  })

  it('is granted as it was asked for, for pulls only', async () => {
    const query = ['alpine', 'docker.io/alpine', ALPINE, 'secret/app']
      .map((name) => `scope=repository:${name}:pull,push,delete`)
      .join('&')
    const { scope } = tokenIn(await askForToken(client, basic('ann'), query))
    expect(scope?.split(' ')).toEqual([
      'repository:alpine:pull',
      'repository:docker.io/alpine:pull',
      `repository:${ALPINE}:pull`,
      'repository:secret/app:pull', // as docker.io/secret/app, which anybody may think of
    ])
  })

  it('by right of an upstream’s repository is no way to what is hosted under its name', async () => {
    const hosted = await pushImage(here.admin, 'secret/app', 'v1')
    const token = await bearerFor(client, basic('ann'), 'repository:secret/app:pull')
    const answers = [
      await ask('secret/app', token),
      await ask('secret/app', token, `manifests/${hosted.digest}`),
      await ask('secret/app', token, 'tags/list'),
      await ask('secret/app?ns=docker.io', token),
      await ask('secret/app?ns=ghcr.io', token),
    ]
    expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401])
    expect(mirror.asked()).toEqual([])
  })

  it('by right of one upstream’s repository is none for another’s', async () => {
    const ofHub = await bearerFor(client, basic('ann'), 'repository:team/app:pull')
    expectStatus(await ask('team/app?ns=docker.io', ofHub), 200)
    expectChallenge(await ask('team/app?ns=quay.io', ofHub), {
      scope: 'repository:quay.io/team/app:pull',
      error: 'insufficient_scope',
    })
    expectStatus(await askAsClientsDo('team/app?ns=quay.io', 'quay'), 200)
    expectStatus(await askAsClientsDo('team/app?ns=docker.io', 'quay'), 401)
  })
})

describe('what everybody may pull', () => {
  it.each(['docker.io/library/open', 'docker.io/open', 'm/open', 'open?ns=docker.io', 'open'])(
    'is had as %s, with a token and without',
    async (name) => {
      const empty = await bearerFor(client, undefined)
      const own = await bearerFor(client, undefined, calledBy(name))
      expectStatus(await ask(name), 200)
      expectStatus(await ask(name, own), 200)
      expectStatus(await ask(name, await bearerFor(client, basic('nobody'), calledBy(name))), 200)
      expectChallenge(await ask(name, empty), {
        scope: scopeOf(name, 'docker.io/library/open'),
        error: 'insufficient_scope',
      })
      expectStatus(await ask(name, 'Bearer x.y.z'), 401)
    },
  )
})

describe('a push to what an upstream has', () => {
  it('is refused to who had the right as well, and to anonymous as elsewhere', async () => {
    const start = (authorization?: string) =>
      client.send('POST', `/v2/${ALPINE}/blobs/uploads/`, {
        headers: authorization === undefined ? {} : { Authorization: authorization },
      })
    for (const user of ['pusher', 'root']) {
      for (const authorization of [
        basic(user),
        await bearerFor(client, basic(user), `repository:${ALPINE}:pull,push`),
      ]) {
        const answer = await start(authorization)
        expectError(answer, 403, 'DENIED')
        expect(answer.body.toString()).toContain(`${ALPINE} is kept of docker.io`)
      }
    }
    expectError(await start(basic('ann')), 403, 'DENIED')
    expectChallenge(await start(), { scope: `repository:${ALPINE}:pull,push` })
  })

  it('is no way to a blob of it for who may not pull it', async () => {
    const { config } = JSON.parse(image.bytes.toString()) as { config: { digest: string } }
    expectStatus(await ask(ALPINE, basic('ann'), `blobs/${config.digest}`), 200)
    await addUser(here.access, 'mounter', { 'mine/**': ['pull', 'push'] })
    for (const from of [ALPINE, 'alpine', 'docker.io/alpine']) {
      const query = `mount=${config.digest}&from=${from}`
      const mounted = await here
        .as(basic('mounter'))
        .send('POST', `/v2/mine/app/blobs/uploads/?${query}`)
      expectStatus(mounted, 202)
    }
    await allow(here.access, 'user:mounter', ['docker.io/**'], ['pull'])
    const query = `mount=${config.digest}&from=${ALPINE}`
    const mounted = await here
      .as(basic('mounter'))
      .send('POST', `/v2/mine/app/blobs/uploads/?${query}`)
    expectStatus(mounted, 201)
  })
})

describe('an upstream that refuses us', () => {
  it.each([
    [401, {}],
    [401, { 'WWW-Authenticate': 'Basic realm="theirs"' }],
    [403, {}],
  ])('with %s %s has not refused the client', async (status, headers) => {
    const fault = mirror.hub.proxy.answer('manifest', {
      status,
      headers,
      message: 'who are you',
      times: Number.POSITIVE_INFINITY,
    })
    const names = ['docker.io/library/refused', 'refused?ns=docker.io', 'refused']
    const answers = []
    for (const name of names) answers.push(await ask(name, basic('root')))
    const token = await bearerFor(client, basic('ann'), 'repository:docker.io/library/refused:pull')
    answers.push(await ask('docker.io/library/refused', token))
    // Of a tag the head is asked for first, and that has no words.
    const byDigest = await ask('docker.io/refused', basic('root'), `manifests/${sha256('refused')}`)
    fault.clear()
    for (const answer of answers) {
      expectError(answer, 404, 'MANIFEST_UNKNOWN')
      expect(answer.headers).not.toHaveProperty('www-authenticate')
      expect(answer.body.toString()).toContain(`docker.io: ${status}`)
    }
    expectError(byDigest, 404, 'MANIFEST_UNKNOWN')
    expect(byDigest.body.toString()).toContain('who are you')
  })
})

const seenBy = async (user: string) => {
  const catalog = (await followCatalog(here.as(basic(user)), '')).flat()
  const path = '/api/v1/repositories?q=io%2F'
  const found = json(await here.as(basic(user)).get(path)) as { items: { name: string }[] }
  const kept = catalog.filter((name) => name.includes('.io/'))
  expect(found.items.map(({ name }) => name)).toEqual(kept)
  return kept
}
const open = 'docker.io/library/open'

describe('lists', () => {
  it('show what is kept to who may pull it, and nobody else', async () => {
    expectStatus(await ask('alpine', basic('root')), 200)
    expectStatus(await ask('open', basic('root')), 200)
    expectStatus(await ask('team/app?ns=quay.io', basic('root')), 200)
    expect(await seenBy('root')).toEqual(expect.arrayContaining([ALPINE, open, 'quay.io/team/app']))
    expect(await seenBy('ann')).toEqual(expect.arrayContaining([ALPINE, open]))
    expect(await seenBy('ann')).not.toContain('quay.io/team/app')
    expect(await seenBy('quay')).toEqual([open, 'quay.io/team/app'])
    expect(await seenBy('short')).toEqual([open])
    expect(await seenBy('denied')).not.toContain(ALPINE)
    expect(await seenBy('nobody')).toEqual([open])
  })
})

const eventsOf = async (target: string) => {
  const { rows } = await here.registry.database.pool.query<Record<string, unknown>>(
    `select actor, action, repository, result from audit_events where target = $1 order by id`,
    [target],
  )
  return rows
}

describe('the audit trail', () => {
  it('has who pulled what, by the name that it has here', async () => {
    await pushImage(mirror.hub.client, 'library/alpine', 'audited')
    for (const name of WAYS) expectStatus(await ask(name, basic('ann'), 'manifests/audited'), 200)
    const event = { actor: 'user:ann', action: 'manifest.pull', repository: ALPINE, result: 'done' }
    await vi.waitFor(async () => {
      expect(await eventsOf('audited')).toEqual(WAYS.map(() => event))
    })
  })

  it('and who was denied it', async () => {
    const answer = await ask('docker.io/alpine', basic('denied'), 'manifests/withheld')
    expectError(answer, 403, 'DENIED')
    await vi.waitFor(async () => {
      expect(await eventsOf('withheld')).toEqual([
        { actor: 'user:denied', action: 'manifest.pull', repository: ALPINE, result: 'denied' },
      ])
    })
  })
})
