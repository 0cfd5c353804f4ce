import { describe, expect, it } from 'vitest'
import { fileOf, load, problemsOf } from './loading.ts'

describe('a secret', () => {
  const SECRET = 'hunter2'
  const wrong = `mysql://user:${SECRET}@host/db`

  it.each([
    ['a flag', { flags: { 'database.url': wrong } }],
    ['a variable', { environment: { SLIPWAY_DATABASE_URL: wrong } }],
  ])('in %s is never shown', (_, sources) => {
    const problems = problemsOf(sources)
    expect(problems).toHaveLength(1)
    expect(problems.join()).not.toContain(SECRET)
  })

  it('in a settings file is never shown', () => {
    const file = fileOf(`database:\n  url: ${wrong}\n`)
    expect(problemsOf({ file }).join()).not.toContain(SECRET)
  })

  it.each([
    `database:\n  url: "postgres://user:${SECRET}@host/db\n`,
    `database:\n\turl: postgres://user:${SECRET}@host/db\n`,
    `database: {url: 'postgres://user:${SECRET}@host'\n`,
  ])('in a settings file that is no YAML is never shown, the place is', (content) => {
    const problems = problemsOf({ file: fileOf(content) })
    expect(problems).toHaveLength(1)
    expect(problems[0]).not.toContain(SECRET)
    expect(problems[0]).toMatch(/line \d/)
  })

  it('can come from a file', () => {
    const url = 'postgres://user:secret@host/db'
    const SLIPWAY_DATABASE_URL_FILE = fileOf(`${url}\n`, 'url')
    expect(load({ environment: { SLIPWAY_DATABASE_URL_FILE } })['database.url']).toBe(url)
  })

  it('in a file that is wrong is never shown, the variable is', () => {
    const SLIPWAY_DATABASE_URL_FILE = fileOf(wrong, 'url')
    const problems = problemsOf({ environment: { SLIPWAY_DATABASE_URL_FILE } })
    expect(problems.join()).toContain('SLIPWAY_DATABASE_URL_FILE: expected a URL')
    expect(problems.join()).not.toContain(SECRET)
  })

  it('comes from one place only', () => {
    const environment = {
      SLIPWAY_DATABASE_URL: 'postgres://a/b',
      SLIPWAY_DATABASE_URL_FILE: fileOf('postgres://a/b', 'url'),
    }
    expect(problemsOf({ environment })).toEqual([
      'SLIPWAY_DATABASE_URL_FILE: SLIPWAY_DATABASE_URL is set as well',
    ])
  })

  it('is missed when its file is not there', () => {
    const environment = { SLIPWAY_DATABASE_URL_FILE: '/nonexistent/url' }
    expect(problemsOf({ environment }).join()).toContain('SLIPWAY_DATABASE_URL_FILE: ENOENT')
  })

  it('is the only kind of setting that is read from a file', () => {
    expect(problemsOf({ environment: { SLIPWAY_LISTEN_FILE: 'x' } })).toEqual([
      'SLIPWAY_LISTEN_FILE: no such setting',
    ])
  })
})
