import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import type { AccessControl, Actor } from '../../auth/access-control.ts'
import {
  addRobot,
  addUser as addUserAccount,
  editAccount,
  removeAccount,
  renewRobotSecret,
} from '../../auth/accounts/accounts.ts'
import { addGrant, removeGrant } from '../../auth/accounts/grants.ts'
import { addGroup, addMember, removeMember } from '../../auth/accounts/groups.ts'
import { addPersonalToken, removePersonalToken } from '../../auth/accounts/personal-tokens.ts'
import type { Action } from '../../auth/rules/grant.ts'
import { RawConnection } from '../support/raw-http.ts'
import type { TestRegistryOptions } from '../support/registry.ts'
import { PASSWORDS } from '../support/secrets.ts'
import {
  type Answer,
  Client,
  expectStatus,
  json,
  type RunningRegistry,
  runRegistry,
  type Sent,
} from './client.ts'

/** Who makes accounts and grants in tests. */
export const OPERATOR: Actor = { subject: 'test' }

/** Of every user that {@link addUser} makes. */
export const PASSWORD: string = PASSWORDS.person

export function basic(name: string, password: string = PASSWORD): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
}

/** Sends the same credentials with every request. */
export class KnownClient extends Client {
  /** The header of that name; may be replaced. */
  authorization: string

  constructor(host: string, authorization: string) {
    super(host)
    this.authorization = authorization
  }

  override send(method: string, path: string, { headers = {}, body }: Sent = {}): Promise<Answer> {
    const all = { Authorization: this.authorization, ...headers }
    return super.send(method, path, body === undefined ? { headers: all } : { headers: all, body })
  }
}

export interface GuardedRegistry extends RunningRegistry {
  readonly access: AccessControl
  /** An administrator, by name and password. */
  readonly admin: KnownClient
  /** A client with these credentials, as long as the server runs. */
  as(this: void, authorization: string): KnownClient
}

/** A server that asks for tokens, and has the administrator `root`. */
export async function runGuarded(
  access: TestRegistryOptions['access'] = {},
  options: TestRegistryOptions = {},
): Promise<GuardedRegistry> {
  const running = await runRegistry({ ...options, access: { mode: 'token', ...access } })
  const clients: Client[] = []
  const as = (authorization: string) => {
    const client = new KnownClient(running.registry.host, authorization)
    clients.push(client)
    return client
  }
  const control = running.registry.access
  await addUserAccount(control, OPERATOR, { name: 'root', password: PASSWORD, admin: true })
  return {
    ...running,
    access: control,
    admin: as(basic('root')),
    as,
    close: async () => {
      clients.forEach((client) => client.close())
      await running.close()
    },
  }
}

/** A user with {@link PASSWORD}, and what it may do: actions by globs of repositories. */
export async function addUser(
  access: AccessControl,
  name: string,
  rights: Readonly<Record<string, readonly Action[]>> = {},
): Promise<void> {
  await addUserAccount(access, OPERATOR, { name, password: PASSWORD })
  for (const [repository, actions] of Object.entries(rights)) {
    await allow(access, `user:${name}`, [repository], actions)
  }
}

/** @returns the id of the grant */
export async function allow(
  access: AccessControl,
  subject: string,
  repositories: readonly string[],
  actions: readonly Action[],
): Promise<string> {
  const grant = { effect: 'allow', subject, repositories, actions } as const
  return (await addGrant(access, OPERATOR, grant)).id
}

/** Forgets what would slow down logins after so many that failed on purpose. */
export async function forgiveFailures({ registry }: RunningRegistry): Promise<void> {
  await registry.database.pool.query('delete from login_failures')
}

export interface TokenDocument {
  readonly token: string
  readonly access_token: string
  /** Seconds. */
  readonly expires_in: number
  readonly scope?: string
  readonly refresh_token?: string
  readonly issued_at?: string
}

/** The answer to a request for a token that was granted, checked to be one every client can use. */
export function tokenIn(answer: Answer): TokenDocument {
  expectStatus(answer, 200)
  const document = json(answer) as TokenDocument
  expect(document.token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/)
  expect(document.access_token).toBe(document.token)
  expect(document.expires_in).toBeGreaterThanOrEqual(300)
  expect(document.issued_at).toBeUndefined()
  return document
}

/** Asks as Docker does, with GET: `authorization` undefined is anonymous. */
export function askForToken(
  client: Client,
  authorization: string | undefined,
  query = '',
): Promise<Answer> {
  const headers = authorization === undefined ? {} : { Authorization: authorization }
  return client.get(`/token?service=slipway${query === '' ? '' : `&${query}`}`, headers)
}

/** Asks with a form, as OAuth 2 has it. */
export function postForm(
  client: Client,
  form: string | Readonly<Record<string, string>>,
  headers: Sent['headers'] = {},
): Promise<Answer> {
  return client.send('POST', '/token', {
    headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
    body: typeof form === 'string' ? form : new URLSearchParams(form).toString(),
  })
}

/** @returns the header for the requests to come */
export async function bearerFor(
  client: Client,
  authorization: string | undefined,
  ...scopes: readonly string[]
): Promise<string> {
  const query = scopes.map((scope) => `scope=${encodeURIComponent(scope)}`).join('&')
  return `Bearer ${tokenIn(await askForToken(client, authorization, query)).token}`
}

/** What a 401 says of tokens: every parameter of its only challenge, all of them quoted. */
export function challengeIn({ headers }: Pick<Answer, 'headers'>): Record<string, string> {
  const value = headers['www-authenticate'] ?? ''
  expect(value).toMatch(/^Bearer (?:\w+="[^"\\]*")(?:,\w+="[^"\\]*")*$/)
  const parameters = [...value.matchAll(/(\w+)="([^"]*)"/g)]
  return Object.fromEntries(parameters.map(([, name, content]) => [name, content]))
}

/** The status of a 401, where its tokens are, and which of the two errors it is, if any. */
export function expectChallenge(
  answer: Answer,
  expected: { readonly error?: string; readonly scope?: string },
): void {
  expectStatus(answer, 401)
  expect(answer.headers['docker-distribution-api-version']).toBe('registry/2.0')
  const { realm, service, ...rest } = challengeIn(answer)
  expect(realm).toMatch(/^https?:\/\/[^/]+\/token$/)
  expect(service).toBe('slipway')
  expect(rest).toEqual(expected)
}

/** Someone who may pull, and what ends it. */
export interface Ending {
  readonly authorization: string
  readonly end: () => Promise<unknown>
  /** Of the answer to a token then; `invalid_token` when left out. */
  readonly error?: string
}

/** Of an answer to GET, also of one without a length, after which the connection ends. */
export async function statusOf(
  host: string,
  target: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  const connection = await RawConnection.open(host)
  try {
    await connection.begin('GET', target, headers)
    return (await connection.answer()).status
  } catch (error) {
    return Number(/ (\d{3}) /.exec(String(error))?.[1])
  } finally {
    await connection.close()
  }
}

/** What `/v2/_catalog` shows page by page, from the page that `query` asks for. */
export async function followCatalog(client: Client, query: string): Promise<string[][]> {
  const pages: string[][] = []
  let path: string | undefined = `/v2/_catalog${query}`
  while (path !== undefined) {
    const answer: Answer = await client.get(path)
    expectStatus(answer, 200)
    pages.push((json(answer) as { repositories: string[] }).repositories)
    const link = String(answer.headers['link'] ?? '')
    path = /^<(\/v2\/_catalog[^>]*)>; rel="next"$/.exec(link)?.[1]
  }
  return pages
}

/** A user of a new name who may pull from `team/*`. */
export async function person(access: AccessControl) {
  const name = `person-${randomUUID()}`
  await addUserAccount(access, OPERATOR, { name, password: PASSWORD })
  const grant = await allow(access, `user:${name}`, ['team/*'], ['pull'])
  const key = { kind: 'user', name } as const
  const edit = (change: Parameters<typeof editAccount>[3]) => () =>
    editAccount(access, OPERATOR, key, change)
  return { name, key, grant, edit, authorization: basic(name) }
}

async function robotOf(access: AccessControl) {
  const name = `robot-${randomUUID()}`
  const { secret } = await addRobot(access, OPERATOR, { name })
  await allow(access, `robot:${name}`, ['team/*'], ['pull'])
  return { name, authorization: basic(name, secret) }
}

/** Ways in which somebody who may pull from `team/app` may do so no more. */
export const ENDINGS: Record<string, (access: AccessControl) => Promise<Ending>> = {
  'the account is disabled': async (access) => {
    const { authorization, edit } = await person(access)
    return { authorization, end: edit({ disabled: true }) }
  },
  'the account expires': async (access) => {
    const { authorization, edit } = await person(access)
    return { authorization, end: edit({ expiresAt: new Date(Date.now() - 1000) }) }
  },
  'the password is changed': async (access) => {
    const { authorization, edit } = await person(access)
    return { authorization, end: edit({ password: 'another password' }) }
  },
  'the account is removed, and another made with its name and rights': async (access) => {
    const { authorization, key } = await person(access)
    const end = async () => {
      await removeAccount(access, OPERATOR, key)
      await addUserAccount(access, OPERATOR, { name: key.name, password: 'another password' })
      await allow(access, `user:${key.name}`, ['team/*'], ['pull'])
    }
    return { authorization, end }
  },
  'the grant is removed': async (access) => {
    const { authorization, grant } = await person(access)
    const end = () => removeGrant(access, OPERATOR, grant)
    return { authorization, end, error: 'insufficient_scope' }
  },
  'a grant denies it': async (access) => {
    const { authorization, name } = await person(access)
    const denied = { repositories: ['*/app'], actions: ['pull'] } as const
    const grant = { effect: 'deny', subject: `user:${name}`, ...denied } as const
    return {
      authorization,
      end: () => addGrant(access, OPERATOR, grant),
      error: 'insufficient_scope',
    }
  },
  'the account leaves its group': async (access) => {
    const { authorization, name: account, grant } = await person(access)
    await removeGrant(access, OPERATOR, grant)
    const group = `group-of-${account}`
    await addGroup(access, OPERATOR, { name: group })
    await addMember(access, OPERATOR, { group, account })
    await allow(access, `group:${group}`, ['team/app'], ['pull'])
    const end = () => removeMember(access, OPERATOR, { group, account })
    return { authorization, end, error: 'insufficient_scope' }
  },
  'the robot is removed': async (access) => {
    const { authorization, name } = await robotOf(access)
    return { authorization, end: () => removeAccount(access, OPERATOR, { kind: 'robot', name }) }
  },
  'the robot gets another secret': async (access) => {
    const { authorization, name } = await robotOf(access)
    return { authorization, end: () => renewRobotSecret(access, OPERATOR, name) }
  },
  'the personal token is removed': async (access) => {
    const { name: account } = await person(access)
    const added = await addPersonalToken(access, OPERATOR, { account, name: 'laptop' })
    const { id } = added.credential
    const end = () => removePersonalToken(access, OPERATOR, { account, id })
    return { authorization: basic(account, added.secret), end }
  },
}
