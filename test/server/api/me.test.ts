import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { hash } from '@node-rs/bcrypt'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openHtpasswd } from '../../../auth/passwords/htpasswd.ts'
import { PasswordVerifier } from '../../../auth/passwords/passwords.ts'
import { type RunningRegistry, runRegistry } from '../../acceptance/client.ts'
import { type Api, addUser, apiOf, basic, codeOf, detailOf, itemsOf, PASSWORD } from './json.ts'

describe('what a user does for itself', () => {
  let running: RunningRegistry
  let admin: Api
  let folder: string
  let htpasswd: Awaited<ReturnType<typeof openHtpasswd>>
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'slipway-me-'))
    const file = path.join(folder, 'htpasswd')
    await writeFile(file, `filed:${await hash(PASSWORD, { cost: 4 })}\n`)
    const log = pino({ level: 'silent' })
    const verifier = new PasswordVerifier()
    htpasswd = await openHtpasswd(file, { verifier, log, onChange: () => {} })
    running = await runRegistry({ access: { mode: 'token', htpasswd } })
    admin = apiOf(running.client, await addUser(running.registry.access, 'root', { admin: true }))
  })
  afterAll(async () => {
    await running.close()
    htpasswd.close()
    await rm(folder, { recursive: true })
  })

  async function user(name: string): Promise<Api> {
    return apiOf(running.client, await addUser(running.registry.access, name))
  }

  function as(name: string, secret: string): Api {
    return apiOf(running.client, basic(name, secret))
  }

  it('changes the password, by the one before', async () => {
    const anna = await user('anna')
    const made = await anna('POST', '/me/tokens', { name: 'found' })
    const next = { new: 'a better horse battery' }

    const wrong = await anna('PUT', '/me/password', { ...next, current: 'a wrong battery' })
    expect([wrong.status, codeOf(wrong)]).toEqual([403, 'DENIED'])
    const token = { ...next, current: String(made.body['secret']) }
    expect((await as('anna', token.current)('PUT', '/me/password', token)).status).toBe(403)
    const short = await anna('PUT', '/me/password', { current: PASSWORD, new: 'short' })
    expect(short.status).toBe(400)

    const right = await anna('PUT', '/me/password', { ...next, current: PASSWORD })
    expect([right.status, right.body]).toEqual([204, {}])
    expect((await anna('GET', '/me')).status).toBe(401)
    expect((await as('anna', next.new)('GET', '/me')).status).toBe(200)
    expect((await as('anna', token.current)('GET', '/me')).status).toBe(401) // a thief’s, perhaps
    const audit = itemsOf(await admin('GET', '/audit?actor=user:anna&action=user.change'))
    expect(audit).toEqual([expect.objectContaining({ target: 'anna', detail: 'password' })])
  })

  it('makes no token that takes long to look at', async () => {
    const ivy = await user('ivy')
    const token = (repositories: readonly string[]) =>
      ivy('POST', '/me/tokens', { name: 'slow', coverage: [{ repositories, actions: ['pull'] }] })
    expect((await token(['*a'.repeat(120)])).status).toBe(400)
    expect((await token(Array.from({ length: 51 }, (_, index) => `r${index}`))).status).toBe(400)
  })

  it('changes nothing with a token, though it be one without limits', async () => {
    const gil = await user('gil')
    const { body } = await gil('POST', '/me/tokens', { name: 'found' })
    const thief = as('gil', String(body['secret']))
    expect((await thief('GET', '/me')).status).toBe(200)
    expect((await thief('POST', '/me/tokens', { name: 'longer' })).status).toBe(403)
    const guess = { new: 'a better horse battery', current: 'a wrong battery' }
    expect((await thief('PUT', '/me/password', guess)).status).toBe(403)
  })

  it('makes tokens, sees them without secrets, and takes them back', async () => {
    const ben = await user('ben')
    const coverage = [{ repositories: ['a/*'], tags: ['v*'], actions: ['pull'] }]
    const made = await ben('POST', '/me/tokens', { name: 'ci', coverage, expiresInSeconds: 60 })
    const secret = String(made.body['secret'])
    expect(secret).toMatch(/^slipp_/)
    expect((await ben('POST', '/me/tokens', { name: 'ci' })).status).toBe(409)
    await ben('POST', '/me/tokens', { name: 'wide', coverage: null })

    const listed = await ben('GET', '/me/tokens')
    expect(itemsOf(listed)).toMatchObject([
      { name: 'ci', kind: 'personal', coverage },
      { name: 'wide', kind: 'personal', coverage: null, expiresAt: null },
    ])
    expect(JSON.stringify(listed.body)).not.toMatch(/secret|hash/)
    expect(itemsOf(await admin('GET', '/users/ben/tokens'))).toHaveLength(2)

    expect((await as('ben', secret)('GET', '/me')).body['coverage']).toEqual(coverage)
    const id = String(made.body['id'])
    const other = await user('thief')
    expect((await other('DELETE', `/me/tokens/${id}`)).status).toBe(404)
    expect((await ben('DELETE', '/me/tokens/none')).status).toBe(404)
    expect((await ben('DELETE', `/me/tokens/${id}`)).status).toBe(204)
    expect((await ben('DELETE', `/me/tokens/${id}`)).status).toBe(404)
    expect((await as('ben', secret)('GET', '/me')).status).toBe(401)
  })

  it('ends the logins that clients keep', async () => {
    const cleo = await user('cleo')
    const headers = { Authorization: basic('cleo') }
    const granted = await running.client.get('/token?offline_token=true', headers)
    const { refresh_token: kept } = JSON.parse(granted.body.toString()) as { refresh_token: string }
    const renew = async () => {
      const form = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: kept })
      form.set('service', 'slipway')
      const answer = await running.client.send('POST', '/token', {
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: form.toString(),
      })
      return answer.status
    }
    expect(await renew()).toBe(200)
    const [login] = itemsOf(await cleo('GET', '/me/tokens'))
    expect(login).toMatchObject({ kind: 'login' })
    expect((await cleo('DELETE', `/me/tokens/${String(login!['id'])}`)).status).toBe(204)
    expect(await renew()).toBe(401)
  })

  it('cannot widen a token that is narrowed', async () => {
    const dirk = await user('dirk')
    await admin('PATCH', '/users/dirk', { admin: true })
    const coverage = [{ repositories: ['**'], actions: ['pull', 'push', 'overwrite', 'delete'] }]
    const { body } = await dirk('POST', '/me/tokens', { name: 'narrow', coverage })
    const narrow = as('dirk', String(body['secret']))
    expect((await narrow('GET', '/me')).body['admin']).toBe(false)
    const attempts = [
      await narrow('POST', '/me/tokens', { name: 'wide' }),
      await narrow('DELETE', `/me/tokens/${String(body['id'])}`),
      await narrow('PUT', '/me/password', { current: PASSWORD, new: 'a better horse battery' }),
      await narrow('POST', '/users/dirk/tokens', { name: 'wide' }),
      await narrow('GET', '/users'),
    ]
    for (const answer of attempts) {
      expect([answer.status, codeOf(answer)]).toEqual([403, 'DENIED'])
    }
  })

  it('says what is wrong with a token', async () => {
    const emil = await user('emil')
    const rights = { repositories: ['a'], actions: ['pull'] }
    const bad: [object, string][] = [
      [{ name: 'x', coverage: [] }, 'coverage'],
      [{ name: 'x', coverage: [{ ...rights, actions: ['fly'] }] }, 'coverage.0.actions.0'],
      [{ name: 'x', coverage: [{ ...rights, repositories: [] }] }, 'coverage.0.repositories'],
      [{ name: 'x', coverage: [{ ...rights, colour: 1 }] }, 'colour'],
      [{ name: 'x', coverage: [{ ...rights, repositories: ['A B'] }] }, 'A B'],
      [{ name: 'x', expiresInSeconds: 0 }, 'expiresInSeconds'],
      [{ name: 'x y' }, 'x y'],
    ]
    for (const [body, detail] of bad) {
      const answer = await emil('POST', '/me/tokens', body)
      expect([body, answer.status]).toEqual([body, 400])
      expect(detailOf(answer)).toContain(detail)
    }
  })

  it('is not for robots, nor for users of the htpasswd file', async () => {
    const { body } = await admin('POST', '/robots', { name: 'bot' })
    for (const api of [as('bot', String(body['secret'])), as('filed', PASSWORD)]) {
      expect((await api('GET', '/me')).status).toBe(200)
      const change = { current: PASSWORD, new: 'a better horse battery' }
      const attempts = [
        await api('PUT', '/me/password', change),
        await api('POST', '/me/tokens', { name: 'x' }),
        await api('GET', '/me/tokens'),
      ]
      for (const answer of attempts)
        expect([answer.status, codeOf(answer)]).toEqual([403, 'DENIED'])
    }
    const explained = await admin('GET', '/access/explain?who=user:filed&action=pull&image=a')
    expect(explained.body).toEqual({ allowed: false, why: 'no grant allows it' })
  })
})
