import { describe, expect, it } from 'vitest'
import { type ConfigSources, loadConfig } from '../../config/config.ts'
import { fileOf } from './loading.ts'
import { problemsOf } from './upstreams.ts'

function load(sources: Partial<ConfigSources>) {
  return loadConfig({ flags: {}, environment: {}, ...sources })
}

const ofYaml = (rules: string) => load({ file: fileOf(`retention:\n  rules:\n${rules}`) })

const RULE = { name: 'ci', repositories: ['team/**'] }

/** What is wrong with a rule that says this besides its name and repositories. */
function problemsWith(...rules: unknown[]): readonly string[] {
  const value = JSON.stringify(rules)
  const problems = problemsOf(() => load({ environment: { SLIPWAY_RETENTION_RULES: value } }))
  return problems.map((line) => line.replace('SLIPWAY_RETENTION_RULES: ', ''))
}

describe('rules of retention', () => {
  it('are none unless said, and would be carried out once a day', () => {
    const config = load({})
    expect(config['retention.rules']).toEqual([])
    expect(config['retention.everySeconds']).toBe(86_400)
    expect(config['retention.ignorePullsOf']).toEqual([])
  })

  it('are written as a person would', () => {
    const config = load({
      file: fileOf(`retention:
  everySeconds: 0
  ignorePullsOf: [robot:scanner, anonymous]
  rules:
    - name: ci
      repositories: [team-*/**]
      exceptRepositories: team-a/**
      tags: pr-*, sha-*
      delete: { olderThan: 14d, notPulledFor: 12h, notNewest: 3 }
      keep: { newest: 5, tags: [main], pulledWithin: 1w, pushedWithin: 30m }
    - name: rest
      repositories: ['**']
      delete: always
      untagged: 14d
    - name: base
      repositories: [base]
      untagged: keep
`),
    })
    expect(config['retention.everySeconds']).toBe(0)
    expect(config['retention.ignorePullsOf']).toEqual(['robot:scanner', 'anonymous'])
    expect(config['retention.rules']).toEqual([
      {
        name: 'ci',
        repositories: ['team-*/**'],
        exceptRepositories: ['team-a/**'],
        tags: ['pr-*', 'sha-*'],
        exceptTags: [],
        delete: { olderThan: 14 * 86_400, notPulledFor: 43_200, notNewest: 3 },
        keep: { newest: 5, tags: ['main'], pulledWithin: 7 * 86_400, pushedWithin: 1800 },
      },
      {
        name: 'rest',
        repositories: ['**'],
        exceptRepositories: [],
        tags: ['*'],
        exceptTags: [],
        delete: 'always',
        untagged: 14 * 86_400,
      },
      {
        name: 'base',
        repositories: ['base'],
        exceptRepositories: [],
        tags: ['*'],
        exceptTags: [],
        untagged: 'keep',
      },
    ])
  })

  it('are the same in JSON, in a variable or a flag, and as they are shown', () => {
    const rules = [{ ...RULE, delete: { olderThan: '14d' }, untagged: '1d' }]
    const text = JSON.stringify(rules)
    const written = ofYaml(
      '  - name: ci\n    repositories: team/**\n    untagged: 1d\n    delete:\n      olderThan: 14d\n',
    )
    const expected = written['retention.rules']
    const fromVariable = load({ environment: { SLIPWAY_RETENTION_RULES: text } })
    expect(fromVariable['retention.rules']).toEqual(expected)
    expect(load({ flags: { 'retention.rules': text } })['retention.rules']).toEqual(expected)
    const shown = { SLIPWAY_RETENTION_RULES: JSON.stringify(expected) }
    expect(load({ environment: shown })['retention.rules']).toEqual(expected)
  })

  it.each<[string, unknown, readonly string[]]>([
    [
      'no condition',
      { ...RULE, delete: {} },
      ['rule 1: delete: expected one condition or several'],
    ],
    ['nothing to delete by', { ...RULE, delete: null }, ['rule 1: delete: expected one condition']],
    ['another word', { ...RULE, delete: 'never' }, ['rule 1: delete: expected one condition']],
    [
      'an unknown condition',
      { ...RULE, delete: { age: '1d' } },
      ['rule 1: delete: age: no such field', 'rule 1: delete: expected one condition'],
    ],
    [
      'a span without a unit',
      { ...RULE, delete: { olderThan: '14' } },
      ['rule 1: delete: olderThan: expected a span such as 14d, 12h or 30m'],
    ],
    [
      'a span that pulls are not recorded for',
      { ...RULE, delete: { notPulledFor: '30m' } },
      ['rule 1: delete: notPulledFor: expected a span such as 14d, 12h or 30m, of 1h or more'],
    ],
    [
      'none of the newest',
      { ...RULE, keep: { newest: 0 } },
      ['rule 1: keep: newest: expected at least 1'],
    ],
    ['nothing kept', { ...RULE, keep: {} }, ['rule 1: keep: expected what is kept']],
    ['nothing', RULE, ['rule 1: it says nothing: expected delete, keep or untagged']],
    [
      'no name',
      { repositories: ['a'], delete: 'always' },
      ['rule 1: name: expected a name such as ci'],
    ],
    ['no repositories', { name: 'ci', delete: 'always' }, ['rule 1: repositories: expected globs']],
    [
      'no repository',
      { ...RULE, repositories: [], delete: 'always' },
      ['rule 1: repositories: expected one glob'],
    ],
    [
      'no tag',
      { ...RULE, tags: [], delete: 'always' },
      ['rule 1: tags: expected one glob or several'],
    ],
    [
      'a glob of no repository',
      { ...RULE, repositories: ['a', 'Team/**'], delete: 'always' },
      ['rule 1: repositories: expected globs of repositories, such as team/**, not "Team/**"'],
    ],
    [
      'globs of no tag',
      { ...RULE, tags: ['a/b'], exceptTags: ['x y'], delete: 'always', keep: { tags: ['*****'] } },
      ['rule 1: tags: expected', 'rule 1: exceptTags: expected', 'rule 1: keep: tags: expected'],
    ],
    [
      'an unknown field',
      { ...RULE, delete: 'always', repos: [] },
      ['rule 1: repos: no such field'],
    ],
    [
      'an unknown policy',
      { ...RULE, untagged: 'soon' },
      ['rule 1: untagged: expected keep, or a span'],
    ],
    ['text', 'ci', ['rule 1: expected a rule, such as']],
  ])('say what is wrong with a rule that has %s, and where', (_name, rule, expected) => {
    const problems = problemsWith(rule)
    expect(problems.map((line, index) => line.startsWith(expected[index] ?? '?') || line)).toEqual(
      expected.map(() => true),
    )
  })

  it('say all that is wrong at once, and which rule has it', () => {
    const problems = problemsWith(
      { ...RULE, delete: 'always' },
      RULE,
      { ...RULE, delete: 'always' },
      7,
    )
    expect(problems.map((line) => line.split(':', 2).join(':'))).toEqual([
      'rule 2: it says nothing',
      'rule 3: name',
      'rule 4: expected a rule, such as { name',
    ])
    expect(problems[1]).toBe('rule 3: name: there is another ci')
  })

  it.each(['{"name":"ci"}', '[', 'ci'])('are a list, and not %s', (text) => {
    const environment = { SLIPWAY_RETENTION_RULES: text }
    expect(problemsOf(() => load({ environment }))[0]).toContain('expected a list of rules')
  })

  it.each(['group:a', 'everyone', 'scanner', 'robot:'])('ignore pulls of no %s', (subject) => {
    const environment = { SLIPWAY_RETENTION_IGNORE_PULLS_OF: subject }
    expect(problemsOf(() => load({ environment }))[0]).toContain('expected users and robots')
  })
})
