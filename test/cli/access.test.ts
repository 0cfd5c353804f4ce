import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { loadConfig } from '../../config/config.ts'
import { compose } from '../../server/compose.ts'
import { until } from '../durability/support/workspace.ts'
import { openTestDatabase, type TestDatabase } from '../support/database.ts'
import { logIn, statusWith } from './http.ts'
import { documentsIn, flagsOf, runHere, runProgram } from './run.ts'

let database: TestDatabase
let flags: string[]

beforeAll(async () => {
  database = await openTestDatabase()
  flags = flagsOf(database)
})

afterAll(() => database.close())

/** A server on the database, in this process, that will go by what it hears. */
async function startServer() {
  let log = ''
  const kept = new Writable({
    write: (chunk, _encoding, done) => {
      log += String(chunk)
      done()
    },
  })
  const data = await mkdtemp(path.join(tmpdir(), 'slipway-cli-'))
  onTestFinished(() => rm(data, { recursive: true }))
  const settings = { data, auth: 'token', adminPassword: 'of the admin' }
  const composition = await compose({
    config: loadConfig({ flags: settings, environment: {} }),
    connection: database.connection,
    ownsDatabase: false,
    log: pino(kept),
  })
  const server = createServer(composition.handle)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    await composition.close()
  })
  const hears = () => until('a server that hears', () => log.includes('processes are heard'))
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, hears }
}

describe('a command beside a server on the same database', () => {
  it('ends what the server remembers before it returns', async () => {
    const { host, hears } = await startServer()
    const input = 'correct horse\n'
    const added = await runProgram(['user', 'add', 'alice', '--password-stdin', ...flags], input)
    expect(added.stderr).toBe('')
    expect(added.stdout).toMatch(/^user +alice$/m)
    expect(added.status).toBe(0)
    await hears()
    const { status, token } = await logIn(host, 'alice', 'correct horse')
    expect(status).toBe(200)
    expect(await statusWith(host, token)).toBe(200)

    const disabled = await runProgram(['user', 'disable', 'alice', ...flags])
    expect(disabled.stderr).toBe('waiting until every server has heard of it …\n')
    expect(disabled.stdout).toMatch(/^state +disabled$/m)
    expect(await statusWith(host, token)).toBe(401)
    expect((await logIn(host, 'alice', 'correct horse')).status).toBe(401)
  })
})

describe('a command on an external database', () => {
  it('shows what a robot needs once, and nobody a hash', async () => {
    const words = ['robot', 'add', 'ci', '--expires', '90d', '--description', 'a\u001b[2Jb']
    const added = await runHere([...words, ...flags])
    expect(added.stdout).toMatch(/^ {2}slipr_\S{43}$/m)
    expect(added.stdout).toContain('  docker login -u ci HOST\n')
    const listed = await runHere(['robot', 'list', ...flags])
    expect(listed.stdout).toMatch(/^NAME +ADMIN +STATE +EXPIRES +/)
    expect(listed.stdout).toMatch(/^ci +no +active +2\d{3}-.*Z +never +- +a\uFFFD\[2Jb$/m)
    const [document] = documentsIn(await runHere(['robot', 'show', 'ci', '--json', ...flags]))
    expect(document).toMatchObject({ kind: 'robot', name: 'ci', description: 'a\u001b[2Jb' })
    expect(JSON.stringify([listed, document])).not.toMatch(/hash|slipr_/i)
  })

  it('makes a password up where there is no terminal, and answers in JSON', async () => {
    const [added] = documentsIn(await runHere(['user', 'add', 'dora', '--json', ...flags]))
    expect(added).toMatchObject({ name: 'dora', admin: false, expiresAt: null })
    expect(added?.['password']).toMatch(/^\S{24}$/)
    expect(JSON.stringify(added)).not.toContain('argon2')
  })

  it('says who did what', async () => {
    await runHere(['group', 'add', 'audited', ...flags])
    const filter = ['--action', 'group.add', '--since', '1h', '--result', 'done']
    const events = documentsIn(await runHere(['audit', 'list', '--json', ...filter, ...flags]))
    const [event] = events
    expect(event).toMatchObject({ action: 'group.add', target: 'audited', result: 'done' })
    expect(event?.['actor']).toMatch(/^command line:./)
    const none = await runHere(['audit', 'list', '--until', '2020-01-01', ...flags])
    expect(none).toEqual({ status: 0, stdout: '', stderr: 'there are no such events\n' })
  })

  it('goes through as many pages of the trail as it is asked for', async () => {
    await database.pool.query(
      `insert into audit_events (actor, action, result)
       select 'user:busy', 'push', 'done' from generate_series(1, 2500)`,
    )
    const busy = ['audit', 'list', '--actor', 'user:busy', '--json', ...flags]
    for (const [limit, count] of [
      ['2001', 2001],
      ['9999', 2500],
    ] as const) {
      const ids = documentsIn(await runHere([...busy, '--limit', limit])).map(({ id }) => id)
      expect(new Set(ids).size).toBe(count)
    }
  })

  it('tells what went wrong in a line', async () => {
    const failed = await runProgram(['user', 'show', 'nobody', ...flags])
    expect(failed).toEqual({ status: 1, stdout: '', stderr: 'slipway: there is no user nobody\n' })
  })
})

/** Undefined where no program has migrated. */
async function versionsOf({ pool }: TestDatabase): Promise<unknown> {
  const found = pool.query('select version from migrations order by version')
  return found.then(
    ({ rows }) => rows,
    () => undefined,
  )
}

describe('a database that is not as the program knows it', () => {
  it.each([
    [
      'an older one',
      'delete from migrations where version = (select max(version) from migrations)',
      /^the database lacks \d{4}_\w+\.sql: run slipway migrate$/,
    ],
    [
      'a newer one',
      `insert into migrations (version, checksum) values (9999, 'x')`,
      /another version of Slipway/,
    ],
    ['an empty one', 'drop table migrations', /^the database lacks 0001_.*: run slipway migrate$/],
  ])('is refused and left alone: %s', async (_what, statement, message) => {
    const other = await openTestDatabase()
    onTestFinished(() => other.close())
    await other.pool.query(statement)
    const before = await versionsOf(other)
    await expect(runHere(['user', 'add', 'a', ...flagsOf(other)])).rejects.toThrow(message)
    expect(await versionsOf(other)).toEqual(before)
    const { rows } = await other.pool.query('select from accounts')
    expect(rows).toEqual([])
  })

  it('does not answer: that is said, and no secret', async () => {
    const url = 'postgres://nobody:secret@127.0.0.1:9/none'
    await expect(runHere(['user', 'list', '--database-url', url])).rejects.toMatchObject({
      message: 'the database does not answer',
      cause: { message: expect.stringMatching(/^[^@]*ECONNREFUSED 127\.0\.0\.1:9$/) },
    })
  })
})
