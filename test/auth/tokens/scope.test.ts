import { describe, expect, it } from 'vitest'
import { formatChallenge } from '../../../auth/tokens/challenge.ts'
import { formatScope, parseScopes } from '../../../auth/tokens/scope.ts'

describe('scopes', () => {
  const expected = [
    { type: 'repository', name: 'team/app', actions: ['pull', 'push'] },
    { type: 'repository', name: 'other', actions: ['pull'] },
  ]
  it.each([
    ['repeated', ['repository:team/app:pull,push', 'repository:other:pull']],
    ['separated by spaces', ['repository:team/app:pull,push repository:other:pull']],
    ['with spaces too many', [' repository:team/app:pull,push  repository:other:pull ']],
    [
      'with duplicates',
      ['repository:team/app:pull repository:team/app:push,pull', 'repository:other:pull'],
    ],
  ])('are understood when they are %s', (_how, parameters) => {
    expect(parseScopes(parameters)).toEqual(expected)
  })

  it.each([
    ['repository:localhost:5000/app:pull', 'localhost:5000/app'],
    ['repository(plugin):app:pull', 'app'],
    ['registry:catalog:*', 'catalog'],
  ])('of the form %s name %s', (text, name) => {
    expect(parseScopes([text])).toMatchObject([{ name }])
  })

  it.each([
    '',
    'x',
    'repository',
    'repository:',
    'repository:app',
    'repository:app:',
    ':app:pull',
    'repository::pull',
    'repository:app:,',
  ])('are not %j', (text) => {
    expect(parseScopes([text])).toEqual([])
  })

  it('are at most a hundred resources, whatever is sent', () => {
    const many = Array.from({ length: 5000 }, (_, n) => `repository:r${n}:pull`)
    expect(parseScopes([many.join(' ')])).toHaveLength(100)
    expect(parseScopes(many)).toHaveLength(100)
  })

  it('have at most ten actions, whatever is sent', () => {
    const text = Array.from({ length: 8000 }, (_, n) => `r:a:${n}`).join(' ')
    expect(parseScopes([text])).toMatchObject([{ type: 'r', name: 'a' }])
    expect(parseScopes([text])[0]?.actions).toHaveLength(10)
  })

  it('read back as they are written', () => {
    const text = 'repository:localhost:5000/app:pull,push'
    expect(parseScopes([text]).map(formatScope)).toEqual([text])
  })
})

describe('a challenge', () => {
  const source = { realm: 'https://host/token', service: 'host' }
  const scopes = parseScopes(['repository:a:pull,push repository:b:pull'])

  it('quotes every value, and names all scopes in one', () => {
    expect(formatChallenge(source, { error: 'insufficient_scope', scopes })).toBe(
      'Bearer realm="https://host/token",service="host",scope="repository:a:pull,push repository:b:pull",error="insufficient_scope"',
    )
    expect(formatChallenge(source, { scopes: [] })).toBe(
      'Bearer realm="https://host/token",service="host"',
    )
  })

  it('cannot be broken out of by the host a client sends', () => {
    const realm = 'http://evil",error="x\r\nSet-Cookie: a=b\\/token'
    expect(formatChallenge({ ...source, realm }, { scopes: [] })).toBe(
      'Bearer realm="http://evil,error=xSet-Cookie: a=b/token",service="host"',
    )
  })
})
