import { describe, expect, it } from 'vitest'
import { applyRule } from '../../../auth/trusted-issuers/rules.ts'
import { type IssuerRule, revisionOf, type TrustedIssuer } from '../../../auth/trusted-issuers.ts'

const RULE: IssuerRule = {
  claims: { sub: '**' },
  repositories: ['ci/**'],
  actions: ['push'],
  seconds: 600,
}

function matches(
  conditions: IssuerRule['claims'],
  claims: Readonly<Record<string, unknown>>,
): boolean {
  return applyRule({ ...RULE, claims: conditions }, claims) !== undefined
}

function fill(value: unknown, changes: Partial<IssuerRule> = {}) {
  const rule = { ...RULE, repositories: ['ci/{project}/*'], ...changes }
  return applyRule(rule, { sub: 'a', project: value })
}

describe('a rule', () => {
  it.each<[string, unknown, boolean]>([
    ['acme/shop', 'acme/shop', true],
    ['acme/shop', 'acme/shop2', false],
    ['acme/shop', 'Acme/shop', false],
    ['acme/*', 'acme/shop', true],
    ['acme/*', 'acme/', true],
    ['acme/*', 'acme/shop/deep', false],
    ['acme/*', 'evil/acme/shop', false],
    ['acme/**', 'acme/shop/deep', true],
    ['*', 'acme/shop', false],
    ['**', 'acme/shop\n/x', true],
    ['*/shop', 'acme/shop', true],
    ['refs/heads/*-rc', 'refs/heads/1-rc', true],
    ['refs/heads/*-rc', 'refs/heads/1-rc\n', false],
    ['', '', true],
    ['', 'a', false],
    ['a.c', 'abc', false],
    ['a.c', 'a.c', true],
    ['a|b', 'a', false],
    ['[ab]', 'a', false],
    ['[ab]', '[ab]', true],
    ['(a)+$', 'a', false],
    ['a?', 'a', false],
    ['a?', 'a?', true],
    ['\\d', '1', false],
    ['^a$', 'a', false],
    ['.*', 'abc', false],
    ['true', true, true],
    ['true', 'true', true],
    ['true', false, false],
    ['42', 42, true],
    ['4*', 42, true],
    ['42', 42.5, false],
    ['9007199254740992', 9007199254740992, false],
    ['**', 1e300, false],
    ['null', null, false],
    ['**', null, false],
    ['**', undefined, false],
    ['**', {}, false],
    ['**', [], false],
    ['**', [{}], false],
    ['**', [['a']], false],
    ['b', ['a', 'b'], true],
    ['a,b', ['a', 'b'], false],
    ['2', ['1', 2], true],
  ])('that wants %j of a claim that is %j matches: %j', (glob, value, expected) => {
    expect(matches({ claim: glob }, { claim: value })).toBe(expected)
  })

  it('wants every claim, and one of the globs of each', () => {
    const conditions = { ref: ['refs/heads/main', 'refs/tags/*'], owner: 'acme' }
    expect(matches(conditions, { ref: 'refs/heads/main', owner: 'acme' })).toBe(true)
    expect(matches(conditions, { ref: 'refs/tags/v1', owner: 'acme' })).toBe(true)
    expect(matches(conditions, { ref: 'refs/heads/x', owner: 'acme' })).toBe(false)
    expect(matches(conditions, { ref: 'refs/tags/v1', owner: 'b' })).toBe(false)
    expect(matches(conditions, { ref: 'refs/tags/v1' })).toBe(false)
  })

  it('without claims, or without globs of one, matches nothing', () => {
    expect(matches({}, { sub: 'a' })).toBe(false)
    expect(matches({ sub: [] }, { sub: 'a' })).toBe(false)
  })

  it.each<[string, Record<string, unknown>, boolean]>([
    ['a.b', { 'a.b': 'x' }, true],
    ['a.b', { a: { b: 'x' } }, true],
    ['a.b', { 'a.b': 'y', a: { b: 'x' } }, false],
    ['kubernetes.io.namespace', { 'kubernetes.io': { namespace: 'x' } }, true],
    ['kubernetes.io.namespace', { kubernetes: { io: { namespace: 'x' } } }, true],
    ['kubernetes.io.namespace', { kubernetes: { 'io.namespace': 'x' } }, true],
    ['a.b.c', { 'a.b': { d: 'x' }, a: { b: { c: 'x' } } }, false],
    ['a.b', { a: 'x' }, false],
    ['a.0', { a: ['x'] }, false],
    ['a.length', { a: 'x' }, false],
    ['.a', { a: 'x' }, false],
    ['toString', {}, false],
    ['constructor.name', {}, false],
    ['__proto__.a', JSON.parse('{"b":{}}'), false],
  ])('finds the claim %s in %j: %j', (name, claims, expected) => {
    expect(matches({ [name]: 'x' }, claims)).toBe(expected)
  })

  it('does not take long for a glob of many stars', () => {
    const glob = `${'*a'.repeat(60)}b`
    expect(matches({ sub: glob }, { sub: 'a'.repeat(5000) })).toBe(false)
  })
})

describe('a placeholder', () => {
  it.each<[unknown, string]>([
    ['shop', 'ci/shop/*'],
    ['acme/shop', 'ci/acme/shop/*'],
    ['Acme/Shop_1.2-x', 'ci/acme/shop_1.2-x/*'],
    [42, 'ci/42/*'],
  ])('of %j in a repository becomes part of it: %s', (value, expected) => {
    expect(fill(value)?.repositories).toEqual([expected])
  })

  it.each<[string, unknown]>([
    ['a star', '*'],
    ['two stars', '**'],
    ['a star at its end', 'acme*'],
    ['nothing', ''],
    ['no claim', undefined],
    ['null', null],
    ['a list', ['shop']],
    ['an object', { a: 'shop' }],
    ['a slash before', '/shop'],
    ['a slash behind', 'shop/'],
    ['only a slash', '/'],
    ['two slashes', 'a//b'],
    ['two dots', '..'],
    ['a way up', 'a/../b'],
    ['a space', 'a b'],
    ['a line feed behind', 'shop\n'],
    ['a colon', 'a:b'],
    ['a NUL', 'a\0'],
    ['a percent sign', 'a%2f'],
    ['another placeholder', '{sub}'],
    ['a letter of another alphabet', '\u0430cme'],
    ['a sign that is k when lowered', '\u212A'],
    ['what replaces, in patterns', '$&'],
    ['more than a name can have', 'x'.repeat(251)],
  ])('of %s makes the rule not match', (_, value) => {
    expect(fill(value)).toBeUndefined()
  })

  it('is filled in wherever it stands, dots leading into objects', () => {
    const rule = { ...RULE, repositories: ['{a.b}/{c}', 'x-{c}-*', 'plain'] }
    expect(applyRule(rule, { sub: 'a', a: { b: 'one' }, c: 'Two' })?.repositories).toEqual([
      'one/two',
      'x-two-*',
      'plain',
    ])
  })

  it('that cannot be filled in spoils the whole rule', () => {
    expect(fill('*', { repositories: ['plain', '{project}'] })).toBeUndefined()
    expect(fill('a/b', { repositories: ['plain'], tags: ['v1', '{project}'] })).toBeUndefined()
  })

  it('in a tag keeps upper case, and is no path', () => {
    expect(fill('V1.2_x-y', { tags: ['{project}', '{project}-*'] })?.tags).toEqual([
      'V1.2_x-y',
      'V1.2_x-y-*',
    ])
    for (const value of ['a/b', '*', '', 'a b', undefined, '\u212A', 'x'.repeat(129)]) {
      expect(fill(value, { repositories: ['plain'], tags: ['{project}'] })).toBeUndefined()
    }
  })
})

describe('the revision of a rule', () => {
  const issuer: TrustedIssuer = {
    name: 'forge',
    issuer: 'https://forge.example',
    audience: 'us',
    rules: [],
  }
  const rule: IssuerRule = {
    claims: { a: ['1', '2'], b: '3' },
    repositories: ['x', 'y'],
    tags: ['v1', 'v2'],
    actions: ['pull', 'push'],
    seconds: 600,
  }
  const revision = revisionOf(issuer, rule)

  it('stays the same over releases', () => {
    expect(revision).toBe('BNblhGs97Qt0ForLF_oW89ojJSqudFmljbjMEQ6Xf9Y')
  })

  it.each<[string, Partial<IssuerRule>]>([
    ['claims', { claims: { b: ['3'], a: ['2', '1'] } }],
    ['repositories', { repositories: ['y', 'x'] }],
    ['tags', { tags: ['v2', 'v1'] }],
    ['actions', { actions: ['push', 'pull'] }],
  ])('does not depend on the order of %s', (_, changes) => {
    expect(revisionOf(issuer, { ...rule, ...changes })).toBe(revision)
  })

  it.each<[string, Partial<IssuerRule>]>([
    ['a glob of a claim', { claims: { a: ['1', '3'], b: '3' } }],
    ['the name of a claim', { claims: { a: ['1', '2'], c: '3' } }],
    ['a claim less', { claims: { a: ['1', '2'] } }],
    ['a repository', { repositories: ['x', 'z'] }],
    ['a tag', { tags: ['v1'] }],
    ['no tags', { tags: undefined }],
    ['tags that match none', { tags: [] }],
    ['an action', { actions: ['pull'] }],
    ['the time', { seconds: 601 }],
  ])('changes with %s', (_, changes) => {
    expect(revisionOf(issuer, { ...rule, ...changes })).not.toBe(revision)
  })

  it('changes with issuer and audience, not with what the issuer is called', () => {
    expect(revisionOf({ ...issuer, issuer: 'https://forge.example/' }, rule)).not.toBe(revision)
    expect(revisionOf({ ...issuer, audience: 'them' }, rule)).not.toBe(revision)
    expect(revisionOf({ ...issuer, name: 'other', rules: [rule] }, rule)).toBe(revision)
  })
})
