import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { hashSync } from '@node-rs/bcrypt'
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Htpasswd, openHtpasswd } from '../../auth/passwords/htpasswd.ts'
import { PasswordVerifier } from '../../auth/passwords/passwords.ts'
import {
  addUser,
  allow,
  basic,
  forgiveFailures,
  type GuardedRegistry,
  PASSWORD,
  runGuarded,
  tokenIn,
} from './accounts.ts'
import { expectStatus } from './client.ts'

const line = (name: string, password: string) => `${name}:${hashSync(password, { cost: 4 })}\n`

describe('users of an htpasswd file', () => {
  let folder: string
  let file: string
  let users: Htpasswd
  let running: GuardedRegistry

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'slipway-htpasswd-'))
    file = path.join(folder, 'htpasswd')
    await writeFile(file, line('hanna', 'of hanna'))
    users = await openHtpasswd(file, {
      verifier: new PasswordVerifier(),
      log: pino({ level: 'silent' }),
      onChange: () => running.access.records.forget(),
      pollMs: 50,
    })
    running = await runGuarded({ htpasswd: users })
    await allow(running.access, 'user:hanna', ['team/**'], ['pull', 'push'])
  })
  afterAll(async () => {
    users.close()
    await running.close()
    await rm(folder, { recursive: true })
  })
  beforeEach(() => forgiveFailures(running))

  const login = (name: string, password: string, query = '') =>
    running.as(basic(name, password)).get(`/token${query}`)

  it('log in, and may do what grants say', async () => {
    const scope = 'repository:team/app:pull,push repository:other:pull'
    const query = `?${new URLSearchParams({ scope, offline_token: 'true' }).toString()}`
    const granted = tokenIn(await login('hanna', 'of hanna', query))
    expect(granted.scope).toBe('repository:team/app:pull,push')
    expect(granted.refresh_token).toBeUndefined() // clients keep the password
    const hanna = running.as(`Bearer ${granted.token}`)
    expectStatus(await hanna.send('POST', '/v2/team/app/blobs/uploads/'), 202)
  })

  it('are refused with another password, as unknown ones are', async () => {
    const wrong = await login('hanna', 'of another')
    const unknown = await login('nobody', 'of another')
    expectStatus(wrong, 401)
    expectStatus(unknown, 401)
    expect(wrong.body).toEqual(unknown.body)
  })

  it('stand behind an account of the same name', async () => {
    await appendFile(file, line('erik', 'of the file'))
    await vi.waitFor(() => expect(users.revisionOf('erik')).toBeDefined(), 5000)
    expectStatus(await login('erik', 'of the file'), 200)
    await addUser(running.access, 'erik')
    expectStatus(await login('erik', 'of the file'), 401)
    expectStatus(await login('erik', PASSWORD), 200)
  })

  it('are refused on the next request when their line was changed, token or not', async () => {
    const granted = tokenIn(await login('hanna', 'of hanna', '?scope=repository:team/app:pull'))
    const hanna = running.as(`Bearer ${granted.token}`)
    expectStatus(await hanna.get('/v2/'), 200)
    const before = users.revisionOf('hanna')
    await writeFile(file, line('hanna', 'another'))
    await vi.waitFor(() => expect(users.revisionOf('hanna')).not.toBe(before), 5000)
    expectStatus(await hanna.get('/v2/'), 401)
    expectStatus(await login('hanna', 'of hanna'), 401)
    expectStatus(await login('hanna', 'another'), 200)
  })
})
