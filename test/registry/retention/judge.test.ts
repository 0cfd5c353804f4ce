import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseRepositoryName, parseTag, type Tag } from '../../../oci/reference.ts'
import { judge, type TagFacts } from '../../../registry/retention/judge.ts'
import { type CompiledRule, isFallbackTag } from '../../../registry/retention/rules.ts'
import { DAY, rulesOf } from './stage.ts'

const NOW = new Date('2026-11-21T12:00:00Z')
const REPOSITORY = parseRepositoryName('team/app')
const HEX = 'ab'.repeat(32)

interface Given {
  readonly name: string
  /** Days since it was pushed. */
  readonly pushed: number
  /** Days since it was pulled. */
  readonly pulled: number | null
  readonly isLeased?: boolean
  readonly isProtected?: boolean
}

const ago = (days: number) => new Date(NOW.getTime() - days * DAY * 1000)

/** What is known of each of the tags, with ranks found out as simply as can be. */
function factsOf(given: readonly Given[]): TagFacts[] {
  const newestFirst = given.toSorted(
    (one, other) => one.pushed - other.pushed || (one.name < other.name ? -1 : 1),
  )
  return given.map(({ name, pushed, pulled, isLeased = false, isProtected = false }) => ({
    tag: parseTag(name),
    pushedAt: ago(pushed),
    pulledAt: pulled === null ? null : ago(pulled),
    isLeased,
    isProtected,
    rankIn: (rule: CompiledRule) => {
      const mine = newestFirst.filter((each) => rule.isAbout(each.name) && !isFallback(each.name))
      const rank = mine.findIndex((each) => each.name === name) + 1
      return rank === 0 ? undefined : rank
    },
  }))
}

function isFallback(name: string): boolean {
  return isFallbackTag(name as Tag)
}

function verdictOf(given: Partial<Given>, ...rules: object[]) {
  const [facts] = factsOf([{ name: 'pr-1', pushed: 100, pulled: null, ...given }])
  return judge(facts!, rulesOf(...rules).of(REPOSITORY), NOW)
}

describe('a tag', () => {
  it('stays when no rule deletes it', () => {
    const untouched = { deletes: false, rule: undefined, isNamed: false }
    expect(verdictOf({})).toMatchObject(untouched)
    expect(verdictOf({}, { tags: ['v*'], delete: 'always' })).toMatchObject(untouched)
    expect(verdictOf({}, { keep: { newest: 1 } })).toMatchObject(untouched)
    expect(verdictOf({}, { exceptTags: ['pr-1'], delete: 'always' })).toMatchObject(untouched)
    expect(verdictOf({}, { repositories: ['team/*/*'], delete: 'always' })).toMatchObject(untouched)
    const excepted = { exceptRepositories: ['team/app'], delete: 'always' }
    expect(verdictOf({}, excepted)).toMatchObject(untouched)
  })

  it.each<[string, Partial<Given>, object, string | undefined]>([
    ['older', { pushed: 15 }, { olderThan: '14d' }, 'pushed 15 days ago'],
    ['as old', { pushed: 14 }, { olderThan: '14d' }, undefined],
    ['long pulled', { pulled: 8 }, { notPulledFor: '7d' }, 'pulled 8 days ago'],
    ['pulled just then', { pulled: 7 }, { notPulledFor: '7d' }, undefined],
    ['never pulled', { pushed: 8 }, { notPulledFor: '7d' }, 'never pulled'],
    ['never pulled, but pushed', { pushed: 6 }, { notPulledFor: '7d' }, undefined],
    ['pulled before its push', { pushed: 6, pulled: 20 }, { notPulledFor: '7d' }, undefined],
    ['the newest', {}, { notNewest: 1 }, undefined],
    [
      'of one condition',
      { pushed: 15, pulled: 1 },
      { olderThan: '14d', notPulledFor: '7d' },
      undefined,
    ],
    [
      'of both',
      { pushed: 15, pulled: 9 },
      { olderThan: '14d', notPulledFor: '7d' },
      'pushed 15 days ago, pulled 9 days ago',
    ],
  ])('%s is judged by all conditions of a rule', (_name, given, conditions, reason) => {
    const expected =
      reason === undefined
        ? { deletes: false, rule: undefined }
        : { deletes: true, rule: 'r1', reason }
    expect(verdictOf(given, { delete: conditions })).toMatchObject(expected)
  })

  it.each<[string, Partial<Given>, object, string | undefined]>([
    ['by its name', { name: 'main' }, { tags: ['main'] }, 'by its name'],
    ['as one of the newest', {}, { newest: 1 }, 'one of the 1 newest'],
    ['as lately pulled', { pulled: 2 }, { pulledWithin: '2d' }, 'pulled 2 days ago'],
    ['as lately pushed', { pushed: 0.5 }, { pushedWithin: '1d' }, 'pushed 12 hours ago'],
    ['for no reason', { pulled: 3 }, { pulledWithin: '2d', pushedWithin: '1d' }, undefined],
    ['though never pulled', {}, { pulledWithin: '2d' }, undefined],
  ])('is kept by another rule %s', (_name, given, keep, reason) => {
    const verdict = verdictOf(given, { delete: 'always' }, { keep })
    const expected =
      reason === undefined
        ? { deletes: true, rule: 'r1' }
        : { deletes: false, rule: 'r2', reason, isNamed: true }
    expect(verdict).toMatchObject(expected)
  })

  it('is kept by name by a rule that is about others, and not for its age', () => {
    const others = { tags: ['v*'], keep: { tags: ['pr-1'], newest: 9, pushedWithin: '900d' } }
    expect(verdictOf({}, { delete: 'always' }, others).deletes).toBe(false)
    const rest = { tags: ['v*'], keep: { newest: 9, pushedWithin: '900d', pulledWithin: '900d' } }
    expect(verdictOf({ pulled: 1 }, { delete: 'always' }, rest).deletes).toBe(true)
  })

  it('stays when it is leased or protected, and says so', () => {
    const always = { delete: 'always' }
    expect(verdictOf({ isLeased: true }, always).reason).toBe('a lease keeps what it names')
    expect(verdictOf({ isProtected: true }, always)).toMatchObject({
      deletes: false,
      isNamed: true,
      reason: 'everyone is denied to delete it',
    })
  })

  it.each([`sha256-${HEX}`, `sha256-${HEX}.sig`, `sha256-${HEX}.att`, `sha256-${HEX}.sbom`])(
    'such as %s follows what it belongs to',
    (name) => {
      expect(verdictOf({ name }, { delete: 'always' })).toMatchObject({
        deletes: false,
        isNamed: false,
      })
    },
  )

  it.each([`sha256-${HEX.slice(1)}`, `sha256-${HEX}x`, `x-sha256-${HEX}`, 'sha256-1'])(
    'such as %s is as any other',
    (name) => {
      expect(verdictOf({ name }, { delete: 'always' }).deletes).toBe(true)
    },
  )
})

const days = fc.integer({ min: 0, max: 60 })
const globs = fc.subarray(['pr-*', 'v*', 'main', 'pr-1', '*'], { minLength: 1 })
const optional = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined })
const text = (span: number | undefined) => (span === undefined ? undefined : `${span + 1}d`)

const deletion = fc
  .record({
    olderThan: optional(days),
    notPulledFor: optional(days),
    notNewest: optional(fc.integer({ min: 1, max: 4 })),
  })
  .filter((given) => Object.values(given).some((value) => value !== undefined))
  .map(({ olderThan, notPulledFor, ...rest }) => ({
    olderThan: text(olderThan),
    notPulledFor: text(notPulledFor),
    ...rest,
  }))

const keeping = fc
  .record({
    newest: optional(fc.integer({ min: 1, max: 4 })),
    tags: optional(globs),
    pulledWithin: optional(days.map(text)),
    pushedWithin: optional(days.map(text)),
  })
  .filter((given) => Object.values(given).some((value) => value !== undefined))

const anyRule = fc
  .record({
    tags: globs,
    exceptTags: fc.subarray(['pr-2', 'v1']),
    delete: optional(fc.oneof(fc.constant('always'), deletion)),
    keep: optional(keeping),
  })
  .filter((rule) => rule.delete !== undefined || rule.keep !== undefined)

const anyTags = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom(
      'main',
      'pr-1',
      'pr-2',
      'pr-3',
      'v1',
      'v2',
      'latest',
      `sha256-${HEX}.sig`,
    ),
    pushed: days,
    pulled: fc.option(days, { nil: null }),
    isLeased: fc.boolean(),
    isProtected: fc.boolean(),
  }),
  { selector: ({ name }) => name },
)

/** Which of the tags go. */
function going(tags: readonly Given[], rules: readonly object[]): string[] {
  const compiled = rulesOf(...rules).of(REPOSITORY)
  return factsOf(tags)
    .filter((facts) => judge(facts, compiled, NOW).deletes)
    .map(({ tag }) => tag)
}

const anyRules = fc.array(anyRule, { maxLength: 4 })

describe('whatever the rules', () => {
  it('their order is irrelevant', () => {
    fc.assert(
      fc.property(anyTags, anyRules, fc.integer(), (tags, rules, seed) => {
        const rotated = [...rules.slice(seed & 3), ...rules.slice(0, seed & 3)].toReversed()
        expect(going(tags, rotated)).toEqual(going(tags, rules))
      }),
    )
  })

  it('nothing goes that none deletes', () => {
    fc.assert(
      fc.property(anyTags, anyRules, (tags, rules) => {
        const keeps = rules.filter((rule) => rule.keep !== undefined)
        const without = keeps.map(({ delete: _deletes, ...rule }) => rule)
        expect(going(tags, without)).toEqual([])
        // Of each that goes, some rule is about it and deletes.
        const compiled = rulesOf(...rules).of(REPOSITORY)
        for (const name of going(tags, rules)) {
          expect(compiled.some((rule) => rule.delete !== undefined && rule.isAbout(name))).toBe(
            true,
          )
        }
      }),
    )
  })

  it('what one keeps stays, and a keep more never makes anything go', () => {
    fc.assert(
      fc.property(anyTags, anyRules, anyRule, (tags, rules, another) => {
        fc.pre(another.keep !== undefined)
        const { delete: _deletes, ...keepsOnly } = another
        const before = going(tags, rules)
        const after = going(tags, [...rules, keepsOnly])
        expect(before).toEqual(expect.arrayContaining(after))
        const isKept = factsOf(tags).filter((facts) => {
          const [rule] = rulesOf(keepsOnly).of(REPOSITORY)
          return rule!.keepsTag(facts.tag)
        })
        for (const { tag } of isKept) expect(after).not.toContain(tag)
      }),
    )
  })

  it('the newest of a rule stay', () => {
    fc.assert(
      fc.property(
        anyTags,
        anyRules,
        globs,
        fc.integer({ min: 1, max: 3 }),
        (tags, rules, mine, newest) => {
          const gone = going(tags, [...rules, { tags: mine, keep: { newest } }])
          const [rule] = rulesOf({ tags: mine, keep: { newest } }).of(REPOSITORY)
          const kept = factsOf(tags).filter((facts) => (facts.rankIn(rule!) ?? 99) <= newest)
          const matching = tags.filter(({ name }) => rule!.isAbout(name) && !isFallback(name))
          expect(kept).toHaveLength(Math.min(newest, matching.length))
          for (const { tag } of kept) expect(gone).not.toContain(tag)
        },
      ),
    )
  })

  it('what is leased, protected or belongs to another stays', () => {
    const property = fc.property(anyTags, anyRules, (tags, rules) => {
      const gone = new Set(going(tags, [...rules, { delete: 'always' }]))
      const kept = tags.filter(
        ({ name, isLeased, isProtected }) => isLeased || isProtected || isFallback(name),
      )
      return kept.every(({ name }) => !gone.has(name))
    })
    expect(() => fc.assert(property)).not.toThrow()
  })
})
