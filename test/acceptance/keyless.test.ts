import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type AccessRules, NO_RULES } from '../../auth/rules/access-file.ts'
import type { TrustedIssuer } from '../../auth/trusted-issuers.ts'
import { OidcProvider } from '../support/oidc-provider.ts'
import { basic, forgiveFailures, type GuardedRegistry, runGuarded, tokenIn } from './accounts.ts'
import { type Answer, expectError, expectStatus, pushBlob, someBytes } from './client.ts'

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token'

describe('keyless CI', () => {
  let provider: OidcProvider
  let running: GuardedRegistry
  let rules: AccessRules = NO_RULES

  const issuer = (changes: Partial<TrustedIssuer['rules'][0]> = {}): TrustedIssuer => ({
    name: 'forge',
    issuer: provider.issuer,
    audience: provider.audience,
    rules: [
      {
        claims: { repository: 'acme/*', ref: 'refs/heads/main' },
        repositories: ['{repository}', '{repository}/**'],
        actions: ['pull', 'push'],
        seconds: 300,
        ...changes,
      },
    ],
  })
  const follow = (next: AccessRules) => {
    rules = next
    running.access.records.forget()
  }
  const trust = (...issuers: TrustedIssuer[]) => follow({ ...NO_RULES, issuers })

  beforeAll(async () => {
    provider = await OidcProvider.open()
    running = await runGuarded({ rules: () => rules })
  })
  afterAll(async () => {
    await running.close()
    await provider.close()
  })
  beforeEach(async () => {
    trust(issuer())
    await forgiveFailures(running)
  })

  const idToken = (claims: object = {}) =>
    provider.issue({
      sub: 'repo:acme/app',
      repository: 'acme/app',
      ref: 'refs/heads/main',
      ...claims,
    })

  const post = (form: Readonly<Record<string, string>>): Promise<Answer> =>
    running.client.send('POST', '/token', {
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(form).toString(),
    })

  const exchange = (subjectToken: string, form: Readonly<Record<string, string>> = {}) =>
    post({
      grant_type: EXCHANGE,
      subject_token: subjectToken,
      subject_token_type: ID_TOKEN,
      ...form,
    })

  it('exchanges the ID token of a job for a token with the rights of its rule', async () => {
    const scope = 'repository:acme/app:pull,push,delete repository:acme/other:pull'
    const granted = tokenIn(await exchange(await idToken(), { scope }))
    expect(granted.scope).toBe('repository:acme/app:pull,push')
    expect(granted.expires_in).toBe(300)
    const job = running.as(`Bearer ${granted.token}`)
    await pushBlob(job, 'acme/app', someBytes())
    expectError(await job.get('/v2/acme/other/tags/list'), 401, 'UNAUTHORIZED')
  })

  it('gives a password for docker login, which is good as long as the rule says', async () => {
    const { refresh_token: secret = '' } = tokenIn(await exchange(await idToken()))
    const login = await running.as(basic('ci', secret)).get('/token?scope=repository:acme/app:push')
    expect(tokenIn(login).scope).toBe('repository:acme/app:push')
    expectStatus(await running.as(basic('ci', secret)).get('/v2/'), 200)
    expectStatus(await running.as(basic('alice', secret)).get('/token'), 401)
    const refreshed = await post({ grant_type: 'refresh_token', refresh_token: secret })
    expect(tokenIn(refreshed).token).not.toBe('')
    await running.registry.database.pool.query(
      `update credentials set expires_at = now() - interval '1 second' where kind = 'keyless'`,
    )
    expectStatus(await running.as(basic('ci', secret)).get('/token'), 401)
  })

  it('takes an ID token once, and no second time', async () => {
    const token = await idToken()
    tokenIn(await exchange(token))
    expectError(await exchange(token), 401, 'UNAUTHORIZED')
    const answers = await Promise.all(
      [await idToken()].flatMap((each) => [exchange(each), exchange(each), exchange(each)]),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(2)
  })

  it('ends with its rule: a token that was given is refused on the next request', async () => {
    const granted = tokenIn(await exchange(await idToken(), { scope: 'repository:acme/app:push' }))
    const job = running.as(`Bearer ${granted.token}`)
    expectStatus(await job.send('POST', '/v2/acme/app/blobs/uploads/'), 202)
    trust(issuer({ actions: ['pull'] }))
    const refused = await job.send('POST', '/v2/acme/app/blobs/uploads/')
    expectError(refused, 401, 'UNAUTHORIZED')
    expect(refused.headers['www-authenticate']).toContain('error="invalid_token"')
    expectStatus(await running.as(basic('ci', granted.refresh_token ?? '')).get('/token'), 401)
  })

  it('is bound by what is denied to everyone', async () => {
    const deny = {
      origin: 'a rule',
      effect: 'deny' as const,
      subject: 'everyone',
      repositories: ['acme/app'],
      actions: ['push' as const],
    }
    follow({ ...NO_RULES, issuers: [issuer()], grants: [deny] })
    const granted = tokenIn(
      await exchange(await idToken(), { scope: 'repository:acme/app:pull,push' }),
    )
    expect(granted.scope).toBe('repository:acme/app:pull')
  })

  it('refuses a job that no rule lets in, another audience, and what has expired', async () => {
    for (const claims of [
      { repository: 'evil/app' },
      { ref: 'refs/heads/other' },
      { aud: 'https://elsewhere.example' },
      { exp: Math.floor(Date.now() / 1000) - 120 },
      { repository: 'acme/**' },
    ]) {
      expectError(await exchange(await idToken(claims)), 401, 'UNAUTHORIZED')
    }
  })

  it('goes on with a new key of the issuer, and says when the issuer cannot be reached', async () => {
    await provider.rotate()
    tokenIn(await exchange(await idToken()))
    const other = await OidcProvider.open()
    trust({ ...issuer(), issuer: other.issuer })
    const token = await other.issue({ repository: 'acme/app', ref: 'refs/heads/main' })
    await other.close()
    const answer = await exchange(token)
    expectError(answer, 503, 'UNAVAILABLE')
    expect(answer.headers['retry-after']).toMatch(/^\d+$/)
  })

  it.each([
    ['without the token', { subject_token: '' }],
    ['of another type', { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' }],
  ])('answers a request %s with 400', async (_what, form) => {
    expectError(await exchange(await idToken(), form), 400, 'UNSUPPORTED')
  })

  it('tells in the audit trail who came', async () => {
    tokenIn(await exchange(await idToken()))
    await running.access.audit.close()
    const { rows } = await running.registry.database.pool.query<{ actor: string }>(
      `select actor from audit_events where action = 'login' and result = 'done'`,
    )
    expect(rows.map(({ actor }) => actor)).toContain('ci:forge:repo:acme/app')
  })
})
