import { describe, expect, it } from 'vitest'
import { issuerSchema } from '../../../auth/trusted-issuers/schema.ts'
import type { TrustedIssuer } from '../../../auth/trusted-issuers.ts'

const RULE = { claims: { sub: 'a' }, repositories: ['ci/{repository}/**'], actions: ['push'] }
const ISSUER = {
  name: 'forge',
  issuer: 'https://forge.example/path',
  audience: 'us',
  rules: [RULE],
}

function problemsOf(input: unknown): string[] {
  const { error } = issuerSchema.safeParse(input)
  return error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ?? []
}

function problemsOfRule(changes: object): string[] {
  return problemsOf({ ...ISSUER, rules: [{ ...RULE, ...changes }] })
}

describe('an issuer in the access file', () => {
  it('is read, a credential being good for ten minutes if not said otherwise', () => {
    const issuer: TrustedIssuer = issuerSchema.parse(ISSUER)
    expect(issuer).toEqual({ ...ISSUER, rules: [{ ...RULE, seconds: 600 }] })
  })

  it('may say everything there is to say', () => {
    const rule = {
      claims: { sub: ['a', 'b**'], 'kubernetes.io.namespace': 'x' },
      repositories: ['**', 'a_b-c.d/*', '{kubernetes.io.namespace}'],
      tags: ['V*', '{sub}'],
      actions: ['pull', 'push', 'overwrite', 'delete'],
      seconds: 3600,
    }
    expect(issuerSchema.parse({ ...ISSUER, rules: [rule] }).rules).toEqual([rule])
  })

  it.each([
    'https://token.actions.githubusercontent.com',
    'https://kubernetes.default.svc.cluster.local:6443/',
    'http://127.0.0.1:8080',
    'http://127.1.2.3',
    'http://[::1]:8080',
    'http://localhost:8080/realms/x',
  ])('may be %s', (url) => {
    expect(problemsOf({ ...ISSUER, issuer: url })).toEqual([])
  })

  it.each([
    'http://forge.example',
    'http://127.0.0.1.forge.example',
    'http://localhost.forge.example',
    'http://10.0.0.1',
    'http://0.0.0.0',
    'ftp://127.0.0.1',
    'forge.example',
    'https://a:b@forge.example',
    'https://forge.example?a',
    'https://forge.example/#',
    ' https://forge.example',
    'file:///etc/passwd',
    '',
    7,
    undefined,
  ])('may not be %s', (url) => {
    expect(problemsOf({ ...ISSUER, issuer: url })).toEqual([
      'issuer: expected a URL with https (http on loopback only), without user, query and fragment',
    ])
  })

  it.each(['', 'A', 'a b', 'a:b', 'x'.repeat(41), undefined])('may not be called %j', (name) => {
    expect(problemsOf({ ...ISSUER, name })).toEqual([
      "name: expected 1 to 40 of 'a-z', '0-9' and '-'",
    ])
  })

  it('needs an audience and rules', () => {
    expect(problemsOf({ ...ISSUER, audience: '', rules: [] })).toEqual([
      'audience: expected the audience tokens are made out to, such as the URL of this registry',
      'rules: expected at least one rule',
    ])
  })

  it('has nothing that is not known', () => {
    expect(problemsOf({ ...ISSUER, jwks: 'x' })).toEqual([': Unrecognized key: "jwks"'])
    expect(problemsOfRule({ claim: {} })).toEqual(['rules.0: Unrecognized key: "claim"'])
  })
})

describe('a rule in the access file', () => {
  const NO_CLAIMS =
    'rules.0.claims: expected at least one claim and its glob: a rule without would match every token'

  it.each([[{}], [undefined], [[]], ['sub']])('with %j for claims is refused', (claims) => {
    expect(problemsOfRule({ claims })).toEqual([NO_CLAIMS])
  })

  it('with a claim that would be left out silently is refused', () => {
    const claims: unknown = JSON.parse('{"sub":"a","__proto__":"b"}')
    expect(problemsOfRule({ claims: claims })).toEqual([
      "rules.0.claims: '__proto__' is not the name of a claim",
    ])
  })

  it.each([[[]], [true], [null], [['a', 1]]])(
    'with %j for the glob of a claim is refused',
    (globs) => {
      expect(problemsOfRule({ claims: { sub: globs } })).toEqual([
        'rules.0.claims.sub: expected a glob, or several',
      ])
    },
  )

  it.each(['A/b', 'a b', '', 'a{b', 'a}b', '{}', 'a:b', 'a{b{c}}'])(
    'about the repositories %j is refused',
    (glob) => {
      expect(problemsOfRule({ repositories: [glob] })).toEqual([
        "rules.0.repositories.0: expected globs of repositories: 'a-z', '0-9', '.', '_', '/', '-', '*' and {claim}",
      ])
    },
  )

  it.each(['a/b', '', '{', 'a b'])('about the tags %j is refused', (glob) => {
    expect(problemsOfRule({ tags: [glob] })).toEqual([
      "rules.0.tags.0: expected globs of tags: 'A-Z', 'a-z', '0-9', '.', '_', '-', '*' and {claim}",
    ])
  })

  it('with three stars is refused', () => {
    const stars = "'***' is no wildcard: '*' stands for anything but a slash, '**' for anything"
    expect(problemsOfRule({ repositories: ['a***'] })).toEqual([`rules.0.repositories.0: ${stars}`])
    expect(problemsOfRule({ tags: ['***'] })).toEqual([`rules.0.tags.0: ${stars}`])
    expect(problemsOfRule({ claims: { sub: '***' } })).toEqual([`rules.0.claims.sub: ${stars}`])
  })

  it.each([[[]], [undefined], [['pull', 'admin']], ['pull']])('for %j is refused', (actions) => {
    const [problem, ...others] = problemsOfRule({ actions })
    expect(problem).toMatch(/^rules\.0\.actions.*: expected one or more of pull, push, overwrite/)
    expect(others).toEqual([])
  })

  it.each([59, 3601, 60.5, '600', null])('for %j seconds is refused', (seconds) => {
    expect(problemsOfRule({ seconds })).toEqual(['rules.0.seconds: expected seconds, 60 to 3600'])
  })

  it('needs repositories', () => {
    expect(problemsOfRule({ repositories: undefined })).toHaveLength(1)
    expect(problemsOfRule({ repositories: [] })).toHaveLength(1)
    expect(problemsOfRule({ tags: [] })).toHaveLength(1)
  })
})
