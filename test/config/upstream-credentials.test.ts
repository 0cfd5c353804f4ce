import { rootCertificates } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { parseUpstream } from '../../config/upstream-settings.ts'
import { fileOf } from './loading.ts'
import { load, ofYaml, problemsOf, SECRET } from './upstreams.ts'

function credentialsOf(fields: object, environment = {}) {
  return parseUpstream('ghcr.io', fields, environment).credentials
}

describe('credentials of an upstream', () => {
  it.each<[string, { passwordFile?: string }]>([
    ['the definition', { password: 'hunter2' } as object],
    ['a file', { passwordFile: 'FILE' }],
    ['a variable', { passwordVariable: 'HUB_PASSWORD' } as object],
  ])('have their password of %s', (_, source) => {
    const fields = { ...source }
    if (fields.passwordFile !== undefined) fields.passwordFile = fileOf(`${SECRET}\n`, 'password')
    const environment = { HUB_PASSWORD: SECRET }
    expect(credentialsOf({ username: 'alice', ...fields }, environment)).toEqual({
      kind: 'password',
      username: 'alice',
      password: SECRET,
    })
  })

  it.each([
    ['ecr-login  --region x', ['ecr-login', '--region', 'x']],
    [
      ['ecr login', 'a b'],
      ['ecr login', 'a b'],
    ],
  ])('come of a program: %j', (credentialCommand, command) => {
    expect(credentialsOf({ credentialCommand })).toEqual({ kind: 'command', command, seconds: 600 })
    const timed = credentialsOf({ credentialCommand, credentialSeconds: '60' })
    expect(timed).toMatchObject({ seconds: 60 })
  })

  it.each([
    [{ username: 'a' }, 'username: one of password, passwordFile, passwordVariable goes with it'],
    [{ password: SECRET }, 'password: username goes with it'],
    [
      { username: 'a', password: SECRET, passwordFile: 'f' },
      'passwordFile: one password, and password is given as well',
    ],
    [{ username: 'a', credentialCommand: 'p' }, 'credentialCommand: instead of a user name'],
    [{ credentialSeconds: 5 }, 'credentialSeconds: credentialCommand goes with it'],
    [{ username: 'a', passwordFile: '/nonexistent/p' }, 'passwordFile: ENOENT'],
    [{ username: 'a', passwordVariable: 'NOT_SET' }, 'passwordVariable: NOT_SET is not set'],
  ])('are not %j', (fields, expected) => {
    const problems = problemsOf(() => credentialsOf(fields))
    expect(problems).toEqual([expect.stringContaining(expected)])
    expect(problems.join()).not.toContain(SECRET)
  })

  it('are missed when the configuration is read, beside all other problems', () => {
    const file = fileOf(`workers: none
upstreams:
  ghcr.io: {username: a, passwordFile: /nonexistent/p}
  quay.io: {ca: /nonexistent/ca}
`)
    expect(problemsOf(() => load({ file }))).toEqual([
      expect.stringContaining('workers'),
      expect.stringContaining('upstreams: ghcr.io: passwordFile: ENOENT'),
      expect.stringContaining('upstreams: quay.io: ca: ENOENT'),
    ])
  })

  it('have a password file that is not empty', () => {
    const passwordFile = fileOf('\n', 'password')
    const problems = problemsOf(() => credentialsOf({ username: 'a', passwordFile }))
    expect(problems).toEqual([`passwordFile: ${passwordFile} is empty`])
  })
})

describe('a password', () => {
  it.each([
    `  ghcr.io: {username: a, password: "${SECRET}", passwordFile: x}\n`,
    `  ghcr.io: {username: a, password:${SECRET}}\n`,
    `  ghcr.io: {username: a, pasword: ${SECRET}}\n`,
    `  ghcr.io: [${SECRET}]\n`,
    `  ghcr.io: ${SECRET}\n`,
    `  password:${SECRET}: {}\n`,
    `  [{password: ${SECRET}}]\n`,
    `  password ${SECRET}\n`,
    `  ghcr.io: {url: "https://a:${SECRET}@ghcr.io"}\n`,
  ])('in a file that is wrong is never shown: %j', (content) => {
    const problems = problemsOf(() => ofYaml(content))
    expect(problems).not.toEqual([])
    expect(problems.join()).not.toContain(SECRET)
  })

  it.each([
    `{"ghcr.io":{"username":"a","password":"${SECRET}"}`,
    `{"ghcr.io":{"username":"a","password":"${SECRET}","x":1}}`,
    `"ghcr.io":{"username":"a","password":"${SECRET}"}`,
    `ghcr.io:${SECRET}`,
    `["${SECRET}"]`,
  ])('in a variable that is wrong is never shown: %s', (text) => {
    const problems = problemsOf(() => load({ environment: { SLIPWAY_UPSTREAMS: text } }))
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatch(/^SLIPWAY_UPSTREAMS: /)
    expect(problems[0]).not.toContain(SECRET)
  })

  it('may be in a file with all upstreams in JSON', () => {
    const text = `{"ghcr.io":{"username":"a","password":"${SECRET}"}}\n`
    const environment = { SLIPWAY_UPSTREAMS_FILE: fileOf(text, 'upstreams.json') }
    expect(load({ environment })).toMatchObject([{ credentials: { password: SECRET } }])
  })

  it('is not among what may be shown, nor are arguments of a program', () => {
    const [first, second] = ofYaml(`
  ghcr.io: {username: alice, password: ${SECRET}}
  quay.io: {credentialCommand: [sh, -c, 'echo ${SECRET}']}
`)
    expect(first?.shown).toMatchObject({ username: 'alice', password: '(hidden)' })
    expect(second?.shown).toMatchObject({ credentialCommand: ['sh', '(hidden)'] })
    expect(JSON.stringify([first?.shown, second?.shown])).not.toContain(SECRET)
  })
})

describe('certificates to trust', () => {
  it('are read', () => {
    const pem = rootCertificates.slice(0, 2).join('\n')
    const ca = fileOf(`# comment\n${pem}\n`, 'ca.pem')
    const upstream = parseUpstream('ghcr.io', { ca }, {})
    expect(upstream.ca).toBe(pem)
    expect(upstream.shown).toMatchObject({ ca })
  })

  it.each([
    ['none', 'nothing', 'has no certificate in PEM'],
    [
      'a broken one',
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
      'has a certificate that cannot be read',
    ],
  ])('are not %s', (_, content, expected) => {
    const ca = fileOf(content, 'ca.pem')
    expect(problemsOf(() => parseUpstream('ghcr.io', { ca }, {}))).toEqual([
      `ca: ${ca} ${expected}`,
    ])
  })
})
