import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ExternalTokens, openExternalTokens } from '../../auth/external-tokens.ts'
import { type AccessRules, NO_RULES } from '../../auth/rules/access-file.ts'
import {
  claimsAt,
  createEcKey,
  ISSUER,
  jwkOf,
  keySetOf,
  SERVICE,
  signToken,
} from '../auth/external-tokens/signing.ts'
import { basic, KnownClient } from './accounts.ts'
import {
  expectError,
  expectStatus,
  pushBlob,
  type RunningRegistry,
  runRegistry,
  someBytes,
} from './client.ts'

const key = createEcKey()

function tokenFor(access: unknown, claims: object = {}): string {
  return signToken(key, { alg: 'ES256', kid: 'one' }, claimsAt(new Date(), { access, ...claims }))
}

function team(actions: string[]) {
  return [{ type: 'repository', name: 'team/app', actions }]
}

describe('tokens of another service', () => {
  let folder: string
  let external: ExternalTokens
  let running: RunningRegistry
  const rules: AccessRules = {
    ...NO_RULES,
    grants: [
      {
        origin: 'a rule',
        effect: 'deny',
        subject: 'everyone',
        repositories: ['**'],
        tags: ['v*'],
        actions: ['overwrite'],
      },
    ],
  }
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'slipway-external-'))
    const jwks = path.join(folder, 'keys.json')
    await writeFile(jwks, keySetOf(jwkOf(key, { kid: 'one' })))
    const log = pino({ level: 'silent' })
    external = await openExternalTokens({ issuer: ISSUER, service: SERVICE, jwks, log })
    running = await runRegistry({
      access: { mode: 'external', external, rules: () => rules, terms: { service: SERVICE } },
      settings: { realm: 'https://auth.example.com/token' },
    })
  })
  afterAll(async () => {
    await running.close()
    external.close()
    await rm(folder, { recursive: true })
  })

  const send = (token: string, method: string, url: string) =>
    running.client.send(method, url, { headers: { Authorization: `Bearer ${token}` } })

  it('are asked for where that service is', async () => {
    const answer = await running.client.get('/v2/')
    expectError(answer, 401, 'UNAUTHORIZED')
    expect(answer.headers['www-authenticate']).toBe(
      `Bearer realm="https://auth.example.com/token",service="${SERVICE}"`,
    )
    expectStatus(await running.client.get('/token'), 404)
    expectStatus(await running.client.send('POST', '/token'), 404)
  })

  it('give what they name, and nothing else', async () => {
    const token = tokenFor(team(['pull', 'push']))
    expectStatus(await send(token, 'GET', '/v2/'), 200)
    expectStatus(await send(token, 'POST', '/v2/team/app/blobs/uploads/'), 202)
    for (const [method, url] of [
      ['GET', '/v2/team/other/tags/list'],
      ['DELETE', '/v2/team/app/manifests/x'],
      ['GET', '/v2/_catalog'],
    ] as const) {
      const answer = await send(token, method, url)
      expectError(answer, 401, 'UNAUTHORIZED')
      expect(answer.headers['www-authenticate']).toContain('error="insufficient_scope"')
    }
  })

  it('give everything by a star, and the catalog', async () => {
    const all = [...team(['*']), { type: 'registry', name: 'catalog', actions: ['*'] }]
    const token = tokenFor(all)
    const client = new KnownClient(running.registry.host, `Bearer ${token}`)
    const digest = await pushBlob(client, 'team/app', someBytes())
    expectStatus(await send(token, 'DELETE', `/v2/team/app/blobs/${digest}`), 202)
    expectStatus(await send(token, 'GET', '/v2/_catalog'), 200)
    client.close()
  })

  it('do not go beyond what is denied here', async () => {
    const headers = {
      Authorization: `Bearer ${tokenFor(team(['pull', 'push']))}`,
      'Content-Type': 'application/vnd.oci.image.index.v1+json',
    }
    const put = (body: string) =>
      running.client.send('PUT', '/v2/team/app/manifests/v1', { headers, body })
    expectStatus(await put('{"schemaVersion":2,"manifests":[]}'), 201)
    expectError(await put('{"schemaVersion":2,"manifests":[ ]}'), 403, 'DENIED')
  })

  it('are refused when they are not good, and passwords always', async () => {
    for (const claims of [{ iss: 'other' }, { aud: 'other' }, { exp: 1 }]) {
      const answer = await send(tokenFor(team(['pull']), claims), 'GET', '/v2/team/app/tags/list')
      expectError(answer, 401, 'UNAUTHORIZED')
      expect(answer.headers['www-authenticate']).toContain('error="invalid_token"')
      expect(answer.headers['www-authenticate']).toContain('scope="repository:team/app:pull"')
    }
    const password = await running.client.get('/v2/', { Authorization: basic('root') })
    expectError(password, 401, 'UNAUTHORIZED')
  })

  it('do not administer', async () => {
    const token = tokenFor([{ type: 'repository', name: '**', actions: ['*'] }])
    expectStatus(await send(token, 'GET', '/v2/any/thing/tags/list'), 401)
    expectStatus(await send(token, 'GET', '/api/v1/users'), 401)
  })
})
