import { array, assert, asyncProperty, constantFrom, stringMatching } from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkRepositoryGlob, checkTagGlob, compileGlob, patternOf } from '../../oci/glob.ts'
import { openTestDatabase, type TestDatabase } from '../support/database.ts'

const MATCHES: readonly [glob: string, name: string, expected: boolean][] = [
  ['team/app', 'team/app', true],
  ['team/app', 'team/app2', false],
  ['team/app', 'xteam/app', false],
  ['team/*', 'team/app', true],
  ['team/*', 'team/a/b', false],
  ['team/*', 'team', false],
  ['team/**', 'team/app', true],
  ['team/**', 'team/a/b', true],
  ['team/**', 'team', false],
  ['team/**', 'teams/a', false],
  ['**', 'any/thing/at/all', true],
  ['*', 'one', true],
  ['*', 'one/two', false],
  ['*/app', 'team/app', true],
  ['**/app', 'a/b/app', true],
  ['**/app', 'app', false],
  ['team-*/**', 'team-a/x/y', true],
  ['a*b*c', 'aXbXc'.toLowerCase(), true],
  ['a*b*c', 'a/b/c', false],
  ['a**c', 'a/b/c', true],
  ['a.b', 'axb', false],
  ['a-b_c', 'a-b_c', true],
]

describe('a glob', () => {
  it.each(MATCHES)('%s, and the name %s: %s', (glob, name, expected) => {
    expect(compileGlob(glob)(name)).toBe(expected)
  })

  it('takes time in proportion to its length, also when every star could match everywhere', () => {
    const glob = '*a'.repeat(60)
    expect(compileGlob(glob)(`${'a'.repeat(254)}b`)).toBe(false)
    expect(() => checkRepositoryGlob(glob)).toThrow(/./)
    expect(() => checkRepositoryGlob('*a*a*a*a')).not.toThrow()
    expect(compileGlob('**a'.repeat(80))('a'.repeat(255))).toBe(true)
  })

  it.each(['', 'Team/x', 'a b', 'a{b}', 'a/***', '[a]', 'a\0', 'é', 'x'.repeat(256)])(
    'of repositories cannot be %j',
    (glob) => {
      expect(() => checkRepositoryGlob(glob)).toThrow(/./)
    },
  )

  it.each(['', 'a/b', 'v ***', 'v***', 'é', 'x'.repeat(129)])('of tags cannot be %j', (glob) => {
    expect(() => checkTagGlob(glob)).toThrow(/./)
  })

  it('of either kind is taken when it could match something', () => {
    for (const [glob] of MATCHES) expect(() => checkRepositoryGlob(glob)).not.toThrow()
    for (const glob of ['*', 'v*', 'release-*', '1.2.*', 'V_1']) {
      expect(() => checkTagGlob(glob)).not.toThrow()
    }
  })
})

describe('a pattern for Postgres', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await openTestDatabase()
  })
  afterAll(() => database.close())

  it('matches what its globs match, and nothing else', async () => {
    const piece = constantFrom('*', '**', '/', 'a', 'b', '.', '_', '-', '0')
    const globs = array(
      array(piece, { minLength: 1, maxLength: 6 }).map((parts) =>
        parts.join('').replaceAll(/\*{3,}/g, '**'),
      ),
      { minLength: 1, maxLength: 3 },
    )
    const name = stringMatching(/^[ab0._/-]{1,8}$/)
    await assert(
      asyncProperty(globs, array(name, { minLength: 1, maxLength: 20 }), async (all, names) => {
        const { rows } = await database.pool.query<{ name: string }>(
          'select name from unnest($1::text[]) name where name ~ $2',
          [names, patternOf(all)],
        )
        const expected = names.filter((each) => all.some((glob) => compileGlob(glob)(each)))
        expect(rows.map((row) => row.name)).toEqual(expected)
      }),
      { numRuns: 200 },
    )
  })

  it('of no glob matches nothing', async () => {
    const { rows } = await database.pool.query(`select where 'a' ~ $1`, [patternOf([])])
    expect(rows).toEqual([])
  })
})
