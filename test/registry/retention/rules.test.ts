import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../../config/config.ts'
import { parseRepositoryName } from '../../../oci/reference.ts'
import { keepingOf } from '../../../server/keeping.ts'
import { rulesOf } from './stage.ts'

const name = (text: string) => parseRepositoryName(text)

describe('rules', () => {
  it('cover repositories by globs, but for exceptions', () => {
    const rules = rulesOf(
      { repositories: ['team/*'], delete: 'always' },
      { repositories: ['team/**'], exceptRepositories: ['team/keep/**'], delete: 'always' },
    )
    const covering = (text: string) => rules.of(name(text)).map((rule) => rule.name)
    expect(covering('team/app')).toEqual(['r1', 'r2'])
    expect(covering('team/app/web')).toEqual(['r2'])
    expect(covering('team/keep/web')).toEqual([])
    expect(covering('other')).toEqual([])
  })

  it('have one fingerprint as long as they are the same', () => {
    const rule = { delete: { olderThan: '14d' } }
    const { fingerprint } = rulesOf(rule)
    expect(rulesOf({ delete: { olderThan: '2w' } }).fingerprint).toBe(fingerprint)
    expect(rulesOf({ delete: { olderThan: '13d' } }).fingerprint).not.toBe(fingerprint)
    expect(rulesOf(rule, rule).fingerprint).not.toBe(fingerprint)
  })

  it('delete when one of them does', () => {
    expect(rulesOf().deletes).toBe(false)
    expect(rulesOf({ keep: { newest: 1 } }, { untagged: 'keep' }).deletes).toBe(false)
    expect(rulesOf({ keep: { newest: 1 } }, { delete: 'always' }).deletes).toBe(true)
  })
})

describe('manifests that nothing names', () => {
  it('stay as long as the first rule says that says it, else as long as all others', () => {
    const rules = [
      { name: 'first', repositories: ['team/**'], delete: 'always' },
      { name: 'second', repositories: ['team/a'], untagged: 'keep' },
      { name: 'third', repositories: ['team/**'], exceptRepositories: ['team/c'], untagged: '2d' },
    ]
    const environment = {
      SLIPWAY_RETENTION_RULES: JSON.stringify(rules),
      SLIPWAY_GC_UNTAGGED_SECONDS: '777',
    }
    const { untagged } = keepingOf(loadConfig({ flags: {}, environment }))
    expect(untagged(name('team/a'))).toBe('always')
    expect(untagged(name('team/b'))).toBe(2 * 86_400)
    expect(untagged(name('team/c'))).toBe(777)
    expect(untagged(name('other'))).toBe(777)
  })
})
