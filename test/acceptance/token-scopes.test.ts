import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  addUser,
  allow,
  askForToken,
  basic,
  bearerFor,
  expectChallenge,
  type GuardedRegistry,
  PASSWORD,
  postForm,
  runGuarded,
  tokenIn,
} from './accounts.ts'
import {
  type Answer,
  type Client,
  expectError,
  expectStatus,
  locationOf,
  pushBlob,
  sha256,
  someBytes,
} from './client.ts'
import { pushImage } from './images.ts'

let running: GuardedRegistry
let client: Client

beforeAll(async () => {
  running = await runGuarded()
  client = running.client
  for (const repository of ['r/app', 's/app', 'own/app', 'open/app']) {
    await pushImage(running.admin, repository, 'v1')
  }
  await addUser(running.access, 'ann', {
    'r/*': ['pull', 'push', 'overwrite'],
    'own/**': ['pull', 'push', 'overwrite', 'delete'],
  })
})
afterAll(() => running.close())

const FORM = { grant_type: 'password', username: 'ann', password: PASSWORD, service: 'slipway' }

/** The ways in which clients write several scopes. */
const ENCODINGS: Record<string, (scopes: readonly string[]) => Promise<Answer>> = {
  'a parameter for each': (scopes) =>
    askForToken(client, basic('ann'), scopes.map((scope) => `scope=${scope}`).join('&')),
  'one parameter, separated by %20': (scopes) =>
    askForToken(client, basic('ann'), `scope=${scopes.join('%20')}`),
  'one parameter, separated by + and with escapes': (scopes) =>
    askForToken(client, basic('ann'), `scope=${scopes.map(encodeURIComponent).join('+')}`),
  'a form with one field': (scopes) => postForm(client, { ...FORM, scope: scopes.join(' ') }),
  'a form with a field for each': (scopes) =>
    postForm(
      client,
      new URLSearchParams([
        ...Object.entries(FORM),
        ...scopes.map((scope): [string, string] => ['scope', scope]),
      ]).toString(),
    ),
}

/** What a token was granted: actions in order by what they are for. */
function grantedIn(answer: Answer): Record<string, string[]> {
  const { scope = '' } = tokenIn(answer)
  const entries = scope.split(' ').filter(Boolean)
  const granted = entries.map((entry): [string, string[]] => {
    const colon = entry.lastIndexOf(':')
    const actions = entry.slice(colon + 1).split(',')
    return [entry.slice(0, colon), actions.toSorted()]
  })
  expect(new Set(granted.map(([name]) => name)).size).toBe(granted.length)
  return Object.fromEntries(granted)
}

const begin = (authorization: string, repository: string, query = '') =>
  client.send('POST', `/v2/${repository}/blobs/uploads/${query}`, {
    headers: { Authorization: authorization },
  })

describe('case 3: scopes as', () => {
  for (const [encoding, ask] of Object.entries(ENCODINGS)) {
    it(`${encoding} give what there is, and no more`, async () => {
      const answer = await ask(['repository:r/app:push,pull', 'repository:s/app:pull'])
      expect(grantedIn(answer)).toEqual({ 'repository:r/app': ['pull', 'push'] })
      const authorization = `Bearer ${tokenIn(answer).token}`
      expectStatus(await begin(authorization, 'r/app'), 202)
      expectChallenge(
        await client.get('/v2/s/app/manifests/v1', { Authorization: authorization }),
        { error: 'insufficient_scope', scope: 'repository:s/app:pull' },
      )
    })

    it(`${encoding} are united, in any order and however often they come`, async () => {
      const scopes = [
        'repository:r/app:push,pull',
        'repository:own/app:delete',
        'repository:r/app:pull',
        'repository:own/app:push,pull',
        'repository:r/app:pull,push,pull',
      ]
      for (const order of [scopes, scopes.toReversed()]) {
        expect(grantedIn(await ask(order))).toEqual({
          'repository:r/app': ['pull', 'push'],
          'repository:own/app': ['delete', 'pull', 'push'],
        })
      }
    })
  }
})

describe('the actions', () => {
  const asked: Record<string, readonly string[]> = {
    'push,pull': ['pull', 'push'],
    'pull,push': ['pull', 'push'],
    'push,pull,delete': ['delete', 'pull', 'push'],
    delete: ['delete'],
    '*': ['delete', 'pull', 'push'],
    'pull,*': ['delete', 'pull', 'push'],
    'pull,fly,PUSH,overwrite,': ['pull'],
  }
  for (const [actions, given] of Object.entries(asked)) {
    it(`${actions} of who may do everything give ${given.join(' and ')}`, async () => {
      const answer = await askForToken(client, basic('ann'), `scope=repository:own/app:${actions}`)
      expect(grantedIn(answer)).toEqual({ 'repository:own/app': given })
    })
  }

  it('* of who may only push and pull give no deletion', async () => {
    const authorization = await bearerFor(client, basic('ann'), 'repository:r/app:*')
    expectStatus(await begin(authorization, 'r/app'), 202)
    const headers = { Authorization: authorization }
    expectChallenge(await client.send('DELETE', '/v2/r/app/manifests/v1', { headers }), {
      error: 'insufficient_scope',
      scope: 'repository:r/app:delete',
    })
  })

  it('are no more than those of the token, whatever its holder may do', async () => {
    const authorization = await bearerFor(client, basic('ann'), 'repository:own/app:pull')
    expectChallenge(await begin(authorization, 'own/app'), {
      error: 'insufficient_scope',
      scope: 'repository:own/app:pull,push',
    })
    const headers = { Authorization: authorization }
    expectStatus(await client.send('DELETE', '/v2/own/app/manifests/v1', { headers }), 401)
    expectStatus(await client.send('DELETE', '/api/v1/repositories/own/app', { headers }), 401)
    expectStatus(await client.get('/v2/own/app/manifests/v1', headers), 200)
  })
})

describe('a scope that is not known', () => {
  const unknown = [
    'unknown:r/app:pull',
    'repository:r/app',
    'repository::pull',
    'repository:own/app:pull,x:5000',
    'repository:r/app:',
    'registry:other:*',
    ':::',
    'pull',
    'repository:R/App:pull',
    'repository:../../etc:pull',
    'repository:r/app*:pull',
    'repository:**:pull',
    '__proto__:a:b',
  ]
  it('is left out, and the others are granted', async () => {
    for (const scope of unknown) {
      const query = `scope=${encodeURIComponent(scope)}&scope=repository:r/app:pull`
      const granted = grantedIn(await askForToken(client, basic('ann'), query))
      expect({ scope, granted }).toEqual({ scope, granted: { 'repository:r/app': ['pull'] } })
    }
  })
})

describe('a name with a host and a port', () => {
  it('is split at the first and the last colon, and is nobody’s repository', async () => {
    const query = 'scope=repository:localhost:5000/r/app:pull&scope=repository:r/app:pull'
    expect(grantedIn(await askForToken(client, basic('ann'), query))).toEqual({
      'repository:r/app': ['pull'],
    })
  })
})

describe('the class of a plugin', () => {
  it('asks for the repository of that name', async () => {
    const scope = 'repository(plugin):r/app:pull,push'
    const authorization = await bearerFor(client, basic('ann'), scope)
    expectStatus(await begin(authorization, 'r/app'), 202)
  })
})

describe('a token for 200 scopes', () => {
  it('is small enough for a header, and good for the first of them', async () => {
    const names = Array.from({ length: 200 }, (_, number) => `own/team-${number}/application`)
    const query = names.map((name) => `repository:${name}:pull,push`).join(' ')
    const answer = await postForm(client, { ...FORM, scope: query })
    const { token } = tokenIn(answer)
    expect(`Authorization: Bearer ${token}`.length).toBeLessThan(8 * 1024)
    const granted = grantedIn(answer)
    expect(Object.keys(granted).length).toBeGreaterThan(10)
    expect(granted).toHaveProperty([`repository:${names[0]}`])
    expectStatus(await begin(`Bearer ${token}`, names[0]!), 202)
    const left = names.find((name) => !(`repository:${name}` in granted))!
    expectChallenge(await begin(`Bearer ${token}`, left), {
      error: 'insufficient_scope',
      scope: `repository:${left}:pull,push`,
    })
  })

  it('whose names are as long as they can be is small enough as well', async () => {
    const long = `own/${'x'.repeat(230)}`
    const names = Array.from({ length: 200 }, (_, number) => `${long}${number}`)
    const scope = names.map((name) => `repository:${name}:pull`).join(' ')
    const { token } = tokenIn(await postForm(client, { ...FORM, scope }))
    expect(`Authorization: Bearer ${token}`.length).toBeLessThan(8 * 1024)
    const headers = { Authorization: `Bearer ${token}` }
    expectStatus(await client.get(`/v2/${names[0]}/tags/list`, headers), 404)
  })
})

describe('a right that is given', () => {
  it('comes with the next token, not with those issued before', async () => {
    await addUser(running.access, 'bob')
    const scope = 'repository:r/app:pull'
    const none = await bearerFor(client, basic('bob'), scope)
    await allow(running.access, 'user:bob', ['r/app'], ['pull'])
    const headers = { Authorization: none }
    expectChallenge(await client.get('/v2/r/app/tags/list', headers), {
      error: 'insufficient_scope',
      scope,
    })
    const one = { Authorization: await bearerFor(client, basic('bob'), scope) }
    expectStatus(await client.get('/v2/r/app/tags/list', one), 200)
  })
})

describe('what anonymous may pull', () => {
  beforeAll(() => allow(running.access, 'anonymous', ['open/**'], ['pull']))
  const path = '/v2/open/app/manifests/v1'

  it('comes without a token, with one for it, and to everybody’s token only with the scope', async () => {
    expectStatus(await client.get(path), 200)
    const scope = 'repository:open/app:pull'
    expectStatus(await running.as(await bearerFor(client, undefined, scope)).get(path), 200)
    expectStatus(await client.get('/v2/open/app/tags/list'), 200)
    const narrow = running.as(await bearerFor(client, undefined, 'repository:open/b:pull'))
    expectChallenge(await narrow.get(path), { scope, error: 'insufficient_scope' })
  })

  it('comes to who is known as well where everyone may', async () => {
    await allow(running.access, 'everyone', ['open/app'], ['pull'])
    const token = await bearerFor(client, basic('ann'), 'repository:open/app:pull')
    for (const known of [basic('ann'), token]) {
      expectStatus(await running.as(known).get(path), 200)
    }
  })
})

const head = (repository: string, digest: string) =>
  running.admin.head(`/v2/${repository}/blobs/${digest}`)

describe('cases 23 and 24: a mount', () => {
  const blob = someBytes()
  const digest = sha256(blob)
  beforeAll(async () => {
    await pushBlob(running.admin, 'own/source', blob)
    await pushBlob(running.admin, 's/source', 'secret')
  })
  it('with a token for both is 201', async () => {
    const [to, from] = ['repository:r/both:push,pull', 'repository:own/source:pull']
    const authorization = await bearerFor(client, basic('ann'), to, from)
    const answer = await begin(authorization, 'r/both', `?mount=${digest}&from=own/source`)
    expectStatus(answer, 201)
    expect(locationOf(answer)).toBe(`/v2/r/both/blobs/${digest}`)
    expect(answer.headers['docker-content-digest']).toBe(digest)
    expectStatus(await head('r/both', digest), 200)
  })

  it('with a token for the target alone is 401 with both scopes where the source may be had', async () => {
    const authorization = await bearerFor(client, basic('ann'), 'repository:r/one:pull,push')
    const answer = await begin(authorization, 'r/one', `?mount=${digest}&from=own/source`)
    const scope = 'repository:r/one:pull,push repository:own/source:pull'
    expectChallenge(answer, { error: 'insufficient_scope', scope })
    expectStatus(await head('r/one', digest), 404)
    const enough = await bearerFor(client, basic('ann'), scope)
    expectStatus(await begin(enough, 'r/one', `?mount=${digest}&from=own/source`), 201)
  })

  it('from where the caller may not pull is an upload, as from where nothing is', async () => {
    const secret = sha256('secret')
    const scopes = ['repository:r/no:pull,push', 'repository:s/source:pull']
    for (const authorization of [await bearerFor(client, basic('ann'), ...scopes), basic('ann')]) {
      const mounts = [`?mount=${secret}&from=s/source`, `?mount=${secret}`]
      const nothing = [`?mount=${sha256('none')}&from=s/source`, `?mount=${sha256('none')}`]
      for (const query of [...mounts, ...nothing, `?mount=${secret}&from=s/nobody`]) {
        const answer = await begin(authorization, 'r/no', query)
        expectStatus(answer, 202)
        expect(locationOf(answer)).toMatch(/^\/v2\/r\/no\/blobs\/uploads\/[0-9a-f-]{36}$/)
        expect(answer.headers['docker-content-digest']).toBeUndefined()
      }
      expectStatus(await head('r/no', secret), 404)
    }
  })

  it('without a source finds what the token may pull, and nothing else', async () => {
    const alone = await bearerFor(client, basic('ann'), 'repository:r/anon:pull,push')
    expectStatus(await begin(alone, 'r/anon', `?mount=${digest}`), 202)
    const both = ['repository:r/anon:pull,push', 'repository:own/source:pull']
    const authorization = await bearerFor(client, basic('ann'), ...both)
    expectStatus(await begin(authorization, 'r/anon', `?mount=${digest}`), 201)
  })

  it('by name and password is 201 with both rights', async () => {
    expectStatus(await begin(basic('ann'), 'r/basic', `?mount=${digest}&from=own/source`), 201)
    expectError(
      await begin(basic('ann'), 's/app', `?mount=${digest}&from=own/source`),
      403,
      'DENIED',
    )
  })
})
