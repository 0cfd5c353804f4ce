import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { AccessControl } from '../../auth/access-control.ts'
import { addRobot } from '../../auth/accounts/accounts.ts'
import { removeGrant } from '../../auth/accounts/grants.ts'
import { addPersonalToken } from '../../auth/accounts/personal-tokens.ts'
import { type AccessRules, NO_RULES } from '../../auth/rules/access-file.ts'
import { rotateSigningKey } from '../../auth/setup.ts'
import { loadConfig } from '../../config/config.ts'
import { compose } from '../../server/compose.ts'
import { listen } from '../../server/listen.ts'
import { Changes } from '../../storage/metadata/changes.ts'
import { until } from '../durability/support/workspace.ts'
import { openTestAccess } from '../support/access.ts'
import { openTestDatabase, type TestDatabase } from '../support/database.ts'
import {
  addUser,
  askForToken,
  basic,
  bearerFor,
  ENDINGS,
  type Ending,
  expectChallenge,
  forgiveFailures,
  type GuardedRegistry,
  KnownClient,
  OPERATOR,
  PASSWORD,
  person,
  postForm,
  runGuarded,
  tokenIn,
} from './accounts.ts'
import { type Answer, Client, expectError, expectStatus, json } from './client.ts'
import { pushImage } from './images.ts'

const SCOPE = 'repository:team/app:pull'
const PATH = '/v2/team/app/manifests/v1'
const DAY_MS = 86_400_000

let running: GuardedRegistry
let client: Client
let rules: AccessRules = NO_RULES
let passedMs = 0

beforeAll(async () => {
  running = await runGuarded({
    terms: { now: () => new Date(Date.now() + passedMs) },
    rules: () => rules,
  })
  client = running.client
  await pushImage(running.admin, 'team/app', 'v1')
  await addUser(running.access, 'ann', { 'team/*': ['pull', 'push'] })
})
afterAll(() => running.close())
afterEach(async () => {
  passedMs = 0
  await forgiveFailures(running)
})

const FORM = { grant_type: 'password', username: 'ann', password: PASSWORD, service: 'slipway' }

/** What docker login keeps in place of the password. */
async function logIn(authorization = basic('ann')): Promise<string> {
  const answer = await askForToken(client, authorization, 'offline_token=true&client_id=docker')
  return expectIdentity(answer)
}

function expectIdentity(answer: Answer): string {
  const { refresh_token: identity = '' } = tokenIn(answer)
  expect(identity).not.toBe('')
  return identity
}

function refresh(identity: string, scope = SCOPE): Promise<Answer> {
  const form = { grant_type: 'refresh_token', refresh_token: identity, scope, service: 'slipway' }
  return postForm(client, form)
}

async function expectPull(answer: Answer): Promise<void> {
  const { access_token: token } = tokenIn(answer)
  expectStatus(await client.get(PATH, { Authorization: `Bearer ${token}` }), 200)
}

describe('an identity token', () => {
  it('comes with offline_token=true or access_type=offline, and not without', async () => {
    expectIdentity(await askForToken(client, basic('ann'), 'offline_token=true'))
    expectIdentity(await postForm(client, { ...FORM, access_type: 'offline' }))
    const without = [
      await askForToken(client, basic('ann')),
      await askForToken(client, basic('ann'), 'offline_token=false'),
      await postForm(client, FORM),
      await postForm(client, { ...FORM, access_type: 'online' }),
    ]
    for (const answer of without) expect(tokenIn(answer)).not.toHaveProperty('refresh_token')
  })

  it('comes to nobody who is not known', async () => {
    const anonymous = await askForToken(client, undefined, 'offline_token=true')
    expect(tokenIn(anonymous)).not.toHaveProperty('refresh_token')
    const wrong = await askForToken(client, basic('ann', 'wrong'), 'offline_token=true')
    expectError(wrong, 401, 'UNAUTHORIZED')
    expect(wrong.body.toString()).not.toContain('refresh_token')
  })

  it('is good for tokens as often as one likes, of scopes in one field or several', async () => {
    const identity = await logIn()
    for (let time = 0; time < 3; time++) {
      const answer = await refresh(identity)
      await expectPull(answer)
      expect(expectIdentity(answer)).toBe(identity)
    }
    const fields: [string, string][] = [
      ['grant_type', 'refresh_token'],
      ['refresh_token', identity],
      ['scope', SCOPE],
      ['scope', 'repository:team/b:push,pull repository:secret/app:pull'],
    ]
    const answer = await postForm(client, new URLSearchParams(fields).toString())
    expect(tokenIn(answer).scope).toMatch(/^repository:team\/app:pull repository:team\/b:/)
    expect(tokenIn(answer).scope).not.toContain('secret')
    await expectPull(answer)
  })

  it('is followed by another in the second half of its life, and stays good till its end', async () => {
    const identity = await logIn()
    passedMs = 44 * DAY_MS
    expect(expectIdentity(await refresh(identity))).toBe(identity)
    passedMs = 46 * DAY_MS
    const answer = await refresh(identity)
    const next = expectIdentity(answer)
    expect(next).not.toBe(identity)
    await expectPull(answer)
    await expectPull(await refresh(identity))
    await expectPull(await refresh(next))
  })

  it('is refused when it has expired, with what was obtained with it', async () => {
    const identity = await logIn()
    const authorization = `Bearer ${tokenIn(await refresh(identity)).token}`
    expectStatus(await client.get(PATH, { Authorization: authorization }), 200)
    await running.registry.database.pool.query(
      `update credentials set expires_at = now() - interval '1 second' where kind = 'identity'`,
    )
    running.access.records.forget()
    expectError(await refresh(identity), 401, 'UNAUTHORIZED')
    const answer = await client.get(PATH, { Authorization: authorization })
    expectChallenge(answer, { scope: SCOPE, error: 'invalid_token' })
  })

  it('is no password, and no bearer', async () => {
    const identity = await logIn()
    expectError(await askForToken(client, basic('ann', identity)), 401, 'UNAUTHORIZED')
    expectError(await postForm(client, { ...FORM, password: identity }), 401, 'UNAUTHORIZED')
    for (const authorization of [basic('ann', identity), `Bearer ${identity}`]) {
      expectStatus(await client.get(PATH, { Authorization: authorization }), 401)
    }
  })

  it('is nothing else: no access token, password or other secret does for one', async () => {
    const { secret: robot } = await addRobot(running.access, OPERATOR, { name: 'no-refresh' })
    const token = { account: 'ann', name: 'no-refresh' }
    const { secret: personal } = await addPersonalToken(running.access, OPERATOR, token)
    const access = (await bearerFor(client, basic('ann'), SCOPE)).slice('Bearer '.length)
    for (const other of [access, PASSWORD, robot, personal]) {
      expectError(await refresh(other), 401, 'UNAUTHORIZED')
    }
  })

  it('that a personal token got does no more than that one', async () => {
    const { secret } = await addPersonalToken(running.access, OPERATOR, {
      account: 'ann',
      name: 'narrow',
      coverage: [{ repositories: ['team/app'], actions: ['pull'] }],
    })
    const answer = await refresh(await logIn(basic('ann', secret)), 'repository:team/app:push,pull')
    expect(tokenIn(answer).scope).toBe(SCOPE)
    await expectPull(answer)
  })
})

describe('at once, on the next request, what was obtained before is refused', () => {
  for (const [what, begin] of Object.entries(ENDINGS)) {
    it(`when ${what}`, async () => {
      const { authorization, end, error = 'invalid_token' } = await begin(running.access)
      const known = running.as(await bearerFor(client, authorization, SCOPE))
      const byPassword = running.as(authorization)
      const identity = await logIn(authorization)
      const later = running.as(`Bearer ${tokenIn(await refresh(identity)).token}`)
      for (const each of [known, byPassword, later]) expectStatus(await each.get(PATH), 200)
      await end()
      expectChallenge(await known.get(PATH), { scope: SCOPE, error })
      expectChallenge(await later.get(PATH), { scope: SCOPE, error })
      const isKnown = error !== 'invalid_token'
      expectStatus(await byPassword.get(PATH), isKnown ? 403 : 401)
      expectStatus(await known.get('/v2/'), isKnown ? 200 : 401)
      const refreshed = await refresh(identity)
      expectStatus(refreshed, isKnown ? 200 : 401)
      expect(json(refreshed)).toMatchObject(isKnown ? { scope: '' } : { errors: [{}] })
      expectStatus(await askForToken(client, authorization), isKnown ? 200 : 401)
    })
  }

  it('when the access file says otherwise', async () => {
    const { name, grant } = await person(running.access)
    await removeGrant(running.access, OPERATOR, grant)
    const rule = { origin: 'file', effect: 'allow', actions: ['pull'] } as const
    rules = { ...NO_RULES, grants: [{ ...rule, subject: `user:${name}`, repositories: ['**'] }] }
    running.access.records.forget()
    const known = running.as(await bearerFor(client, basic(name), SCOPE))
    expectStatus(await known.get(PATH), 200)
    rules = NO_RULES
    running.access.records.forget()
    expectChallenge(await known.get(PATH), { scope: SCOPE, error: 'insufficient_scope' })
  })
})

describe('of two servers on one database, both refuse at once', () => {
  const log = pino({ level: 'silent' })
  let database: TestDatabase
  let root: string
  let changes: Changes
  let access: AccessControl
  let replicas: Awaited<ReturnType<typeof openReplica>>[] = []
  const clients: KnownClient[] = []

  async function openReplica() {
    const flags = { data: root, listen: '127.0.0.1:0', 'limits.drainSeconds': '1', auth: 'token' }
    const config = loadConfig({ flags, environment: { SLIPWAY_ADMIN_PASSWORD: PASSWORD } })
    const { connection } = database
    const composition = await compose({ config, connection, ownsDatabase: false, log })
    const listening = await listen(composition.handle, config, log)
    const close = async () => {
      await listening.stop()
      await composition.close()
    }
    const hears = () => composition.registry.changes?.areHeard() === true
    return { host: `127.0.0.1:${listening.port}`, hears, close }
  }

  const onEach = (authorization: string) =>
    replicas.map(({ host }) => {
      const each = new KnownClient(host, authorization)
      clients.push(each)
      return each
    })

  beforeAll(async () => {
    database = await openTestDatabase()
    root = await mkdtemp(path.join(tmpdir(), 'slipway-replicas-'))
    replicas = [await openReplica(), await openReplica()]
    changes = new Changes({ id: 'test', db: database.pool, connection: database.connection, log })
    changes.start()
    access = await openTestAccess(database.pool, log, { mode: 'token', changes })
    await pushImage(onEach(basic('admin'))[0]!, 'team/app', 'v1')
    await until('it hears the others, and they hear it', () => changes.areHeard())
  })
  afterAll(async () => {
    clients.forEach((each) => each.close())
    await Promise.all(replicas.map((each) => each.close()))
    await changes.close()
    await access.audit.close()
    await database.close()
    await rm(root, { recursive: true, force: true })
  })

  async function expectEnd(ending: Ending) {
    const { authorization, end, error = 'invalid_token' } = ending
    const asking = new Client(replicas[0]!.host)
    let known: KnownClient[] = []
    await until('a token for the new rights', async () => {
      known = onEach(await bearerFor(asking, authorization, SCOPE))
      const statuses = await Promise.all(known.map(async (each) => (await each.get(PATH)).status))
      return statuses.every((status) => status === 200)
    })
    asking.close()
    await end()
    for (const each of known) expectChallenge(await each.get(PATH), { scope: SCOPE, error })
  }

  for (const [what, begin] of Object.entries(ENDINGS)) {
    it(`when ${what}`, async () => {
      await expectEnd(await begin(access))
    })
  }

  it('no token because another key signs from now on', async () => {
    const before = await bearerFor(onEach('')[0]!, basic('admin'), SCOPE)
    await rotateSigningKey(access, OPERATOR)
    const [first, second] = onEach(before)
    const after = await bearerFor(first!, basic('admin'), SCOPE)
    expect(keyOf(after)).not.toBe(keyOf(before))
    for (const each of [first!, second!, ...onEach(after)]) {
      expectStatus(await each.get(PATH), 200)
    }
  })

  it('when the grant is removed, also while they hear nothing and nobody tells them', async () => {
    const silent = await openTestAccess(database.pool, log, { mode: 'token' })
    await database.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name like 'slipway_listener_%'`,
    )
    await until('the loss', () => !replicas.some((each) => each.hears()), 1000)
    await expectEnd(await ENDINGS['the grant is removed']!(silent))
    await silent.audit.close()
  })
})

/** Of the key that a token is signed with. */
function keyOf(authorization: string): unknown {
  const [head = ''] = authorization.slice('Bearer '.length).split('.')
  return (JSON.parse(Buffer.from(head, 'base64url').toString()) as { kid?: unknown }).kid
}
