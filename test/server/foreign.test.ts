import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addUser } from '../../auth/accounts/accounts.ts'
import { Client, expectError, expectStatus } from '../acceptance/client.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'
import { PASSWORDS } from '../support/secrets.ts'

const UPLOAD = '/v2/a/blobs/uploads/'

describe('a server without an account', () => {
  let registry: TestRegistry
  let client: Client
  beforeAll(async () => {
    registry = await openTestRegistry({ access: { mode: 'first account' } })
    client = new Client(registry.host)
  })
  afterAll(async () => {
    client.close()
    await registry.close()
  })

  const post = (headers: Record<string, string>) => client.send('POST', UPLOAD, { headers })

  it.each(['localhost:5000', 'LOCALHOST', '127.0.0.1:5000', '127.8.9.1', '[::1]:5000'])(
    'serves this machine, as %s',
    async (host) => {
      expectStatus(await post({ Host: host }), 202)
      expectStatus(await client.get('/v2/', { Host: host }), 200)
    },
  )

  it.each(['evil.example:5000', 'localhost.evil.example', '127.0.0.1.evil.example', '10.0.0.1'])(
    'serves nobody as %j: a page may have made that name lead here',
    async (host) => {
      expectError(await post({ Host: host }), 403, 'DENIED')
      expectError(await client.get('/v2/', { Host: host }), 403, 'DENIED')
      const user = { name: 'eve', password: PASSWORDS.person, admin: true }
      const headers = { Host: host, 'Content-Type': 'application/json' }
      const body = JSON.stringify(user)
      expectError(await client.send('POST', '/api/v1/users', { headers, body }), 403, 'DENIED')
    },
  )

  it.each(['X-Forwarded-For', 'Forwarded'])(
    'serves nothing a proxy passed on: %s',
    async (name) => {
      expectError(await post({ [name]: '203.0.113.9' }), 403, 'DENIED')
    },
  )

  it('serves any name once there is one, to who has credentials', async () => {
    const admin = { name: 'root', password: PASSWORDS.person, admin: true }
    await addUser(registry.access, { subject: 'test' }, admin)
    const basic = Buffer.from(`root:${PASSWORDS.person}`).toString('base64')
    const headers = { Host: 'registry.example', Authorization: `Basic ${basic}` }
    expectStatus(await post(headers), 202)
    expectStatus(await post({ Host: 'registry.example' }), 401)
  })
})

describe('what a page of another site makes a browser send', () => {
  let registry: TestRegistry
  let client: Client
  beforeAll(async () => {
    registry = await openTestRegistry()
    client = new Client(registry.host)
  })
  afterAll(async () => {
    client.close()
    await registry.close()
  })

  it.each([
    { 'Sec-Fetch-Site': 'cross-site' },
    { 'Sec-Fetch-Site': 'same-site' },
    { Origin: 'http://evil.example' },
    { Origin: 'null' },
  ])('changes nothing: %j', async (headers) => {
    const sent = { headers: { 'Content-Type': 'text/plain', ...headers } }
    expectError(await client.send('POST', UPLOAD, sent), 403, 'DENIED')
    expectError(await client.send('POST', '/api/v1/keys', sent), 403, 'DENIED')
    expectError(await client.send('DELETE', '/api/v1/repositories/a', sent), 403, 'DENIED')
  })

  it('may be sent by a page of our own, and by what is no browser', async () => {
    const own = [{ 'Sec-Fetch-Site': 'same-origin' }, { Origin: `http://${registry.host}` }, {}]
    for (const headers of own) expectStatus(await client.send('POST', UPLOAD, { headers }), 202)
    expect((await client.get('/v2/', { 'Sec-Fetch-Site': 'cross-site' })).status).toBe(200)
  })
})
