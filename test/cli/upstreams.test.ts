import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { UsageError } from '../../cli/usage.ts'
import { Changes } from '../../storage/metadata/changes.ts'
import { listUpstreams } from '../../storage/metadata/upstreams.ts'
import { until } from '../durability/support/workspace.ts'
import { openTestDatabase, type TestDatabase } from '../support/database.ts'
import { documentsIn, flagsOf, runHere, runProgram } from './run.ts'

const SECRET = 'hunter2 hunter2'

let database: TestDatabase
let flags: string[]

beforeAll(async () => {
  database = await openTestDatabase()
  flags = flagsOf(database)
})
beforeEach(async () => void (await database.pool.query('truncate upstreams')))
afterAll(() => database.close())

function upstream(...words: string[]) {
  return runHere(['upstream', ...words, ...flags])
}

function stored() {
  return listUpstreams(database.pool)
}

async function onlyDefinition(): Promise<unknown> {
  const [only, ...others] = await stored()
  expect(others).toEqual([])
  return only?.definition
}

/** URL, hosts and prefix of one that is as its name says. */
function columnsOf(name: string): string[] {
  return [`https://${name}`, name, name]
}

describe('slipway upstream add', () => {
  it('stores what flags say, and says what to run next', async () => {
    const { stdout, stderr } = await upstream('add', 'docker.io')
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^url +https:\/\/registry-1\.docker\.io$/m)
    expect(stdout).toMatch(/^plain paths +yes$/m)
    expect(stdout).toContain('slipway upstream client-config docker.io\n')
    expect(await stored()).toEqual([
      { name: 'docker.io', definition: {}, createdAt: expect.any(Date) },
    ])
  })

  it('takes every field', async () => {
    const words = [
      '--url',
      'https://hub.example.com',
      '--hosts',
      'a.example',
      '--hosts',
      'b.example',
    ]
    const more = ['--prefix', 'mirrors/hub', '--plain', '--no-library', '--private-addresses']
    const limits = ['--max-bytes', '50G', '--allow', 'a/**,b/**', '--deny', 'b/c', '--reserve', '5']
    const credentials = ['--credential-command', 'ecr-login x', '--credential-seconds', '60']
    await upstream('add', 'hub', ...words, ...more, ...limits, ...credentials)
    expect(await stored()).toMatchObject([
      {
        name: 'hub',
        definition: {
          url: 'https://hub.example.com',
          hosts: ['a.example', 'b.example'],
          prefix: 'mirrors/hub',
          plain: true,
          library: false,
          privateAddresses: true,
          maxBytes: 50 * 2 ** 30,
          allow: ['a/**', 'b/**'],
          deny: ['b/c'],
          reserve: 5,
          credentialCommand: ['ecr-login', 'x'],
          credentialSeconds: 60,
        },
      },
    ])
  })

  it('reads a password from standard input, and shows it nowhere', async () => {
    const words = [
      'upstream',
      'add',
      'ghcr.io',
      '--username',
      'alice',
      '--password-stdin',
      '--json',
    ]
    const added = await runProgram([...words, ...flags], `${SECRET}\n`)
    expect(added).toMatchObject({ status: 0, stderr: '' })
    expect(documentsIn(added)).toMatchObject([{ name: 'ghcr.io', username: 'alice' }])
    expect(await stored()).toMatchObject([{ definition: { password: SECRET } }])
    const listings = [await upstream('list'), await upstream('list', '--json')]
    const audit = await runHere(['audit', 'list', '--json', ...flags])
    expect(JSON.stringify([added, listings, audit])).not.toContain(SECRET)
    expect(documentsIn(audit)[0]).toMatchObject({ action: 'upstream.add', target: 'ghcr.io' })
  })

  it('names files by where they are seen from everywhere, and says when one is missing', async () => {
    const words = ['--username', 'alice', '--password-file', 'nowhere', '--ca', 'nowhere.pem']
    const { stderr } = await upstream('add', 'ghcr.io', ...words)
    const [file, ca] = [path.resolve('nowhere'), path.resolve('nowhere.pem')]
    expect(await stored()).toMatchObject([{ definition: { passwordFile: file, ca } }])
    expect(stderr).toMatch(/^passwordFile: ENOENT.*; see to it where the server runs$/m)
    expect(stderr).toMatch(/^ca: ENOENT/m)
  })

  it.each([
    [['--url', 'example.com'], '--url: expected a URL'],
    [['--max-bytes', 'lots'], '--max-bytes: expected bytes'],
    [['--allow', 'A'], '--allow: expected globs'],
    [['--password-file', 'f'], '--password-file: username goes with it'],
    [['--username', 'a', '--credential-command', 'p'], '--credential-command: instead'],
    [['--plain', '--no-plain'], '--plain or --no-plain, not both'],
    [['--username', 'a'], 'expected --password-stdin, --password-file or --password-variable'],
  ])('says what is wrong with %j before anything is opened', async (words, message) => {
    const nowhere = ['--data', '/dev/null/nowhere']
    const running = runHere(['upstream', 'add', 'ghcr.io', ...words, ...nowhere])
    await expect(running).rejects.toThrow(UsageError)
    await expect(running).rejects.toThrow(message)
  })

  it.each([
    ['ghcr.io', [], 'there is an upstream ghcr.io already; slipway upstream change changes it'],
    ['quay.io', ['--prefix', 'ghcr.io'], 'prefix: what is below ghcr.io'],
    ['quay.io', ['--hosts', 'quay.io,ghcr.io'], 'hosts: ghcr.io is one of ghcr.io'],
    ['quay.io', ['--plain', '--upstreams', 'docker.io'], 'plain: docker.io has it'],
    ['docker.io', ['--upstreams', 'docker.io'], 'docker.io is an upstream of the configuration'],
  ])('does not add %s with %j beside others', async (name, words, message) => {
    await upstream('add', 'ghcr.io')
    await expect(upstream('add', name, ...words)).rejects.toThrow(message)
    expect(await stored()).toMatchObject([{ name: 'ghcr.io', definition: {} }])
  })
})

describe('slipway upstream change', () => {
  it('leaves what no flag names', async () => {
    await upstream('add', 'ghcr.io', '--allow', 'a/**', '--reserve', '5')
    const { stdout } = await upstream('change', 'ghcr.io', '--reserve', '6', '--plain')
    expect(stdout).toMatch(/^plain paths +yes$/m)
    expect(await stored()).toMatchObject([
      { definition: { allow: ['a/**'], reserve: 6, plain: true } },
    ])
  })

  it('replaces credentials as a whole', async () => {
    await upstream('add', 'ghcr.io', '--credential-command', 'p', '--credential-seconds', '9')
    await upstream('change', 'ghcr.io', '--username', 'a', '--password-variable', 'HUB')
    expect(await onlyDefinition()).toEqual({ username: 'a', passwordVariable: 'HUB' })
    const words = ['upstream', 'change', 'ghcr.io', '--password-stdin', ...flags]
    expect(await runProgram(words, SECRET)).toMatchObject({ status: 0 })
    expect(await onlyDefinition()).toEqual({ username: 'a', password: SECRET })
    await upstream('change', 'ghcr.io', '--credential-command', 'q')
    expect(await onlyDefinition()).toEqual({ credentialCommand: ['q'] })
    await upstream('change', 'ghcr.io', '--no-credentials')
    expect(await onlyDefinition()).toEqual({})
  })

  it.each([
    ['ghcr.io', [], 'nothing to change'],
    ['ghcr.io', ['--password-file', 'f'], '--password-file: username goes with it'],
    ['ghcr.io', ['--password', '--password-stdin'], '--password or --password-stdin, not both'],
    ['ghcr.io', ['--hosts', 'quay.io'], 'hosts: quay.io is one of quay.io'],
    ['docker.io', ['--plain'], 'there is no upstream docker.io'],
    ['gcr.io', ['--plain', '--upstreams', 'gcr.io'], 'gcr.io is an upstream of the configuration'],
  ])('of %s does not take %j', async (name, words, message) => {
    await upstream('add', 'ghcr.io')
    await upstream('add', 'quay.io')
    await expect(upstream('change', name, ...words)).rejects.toThrow(message)
    expect((await stored()).map(({ definition }) => definition)).toEqual([{}, {}])
  })
})

describe('slipway upstream list', () => {
  it('tells where each comes from, and which is not used', async () => {
    await upstream('add', 'ghcr.io', '--username', 'bob', '--password-variable', 'GHCR')
    await upstream('add', 'quay.io')
    const configured = `{"quay.io":{},"docker.io":{"username":"alice","password":"${SECRET}"}}`
    const { stdout, stderr } = await upstream('list', '--upstreams', configured)
    expect(stdout.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['NAME', 'FROM', 'USED', 'URL', 'HOSTS', 'PREFIX', 'PLAIN', 'LOGS IN AS'],
      ['quay.io', 'configuration', 'yes', ...columnsOf('quay.io'), 'no', '-'],
      [
        'docker.io',
        'configuration',
        'yes',
        'https://registry-1.docker.io',
        'docker.io registry-1.docker.io index.docker.io',
        'docker.io',
        'yes',
        'alice',
      ],
      ['ghcr.io', 'database', 'yes', ...columnsOf('ghcr.io'), 'no', 'bob'],
      ['quay.io', 'database', 'no', ...columnsOf('quay.io'), 'no', '-'],
      [''],
    ])
    expect(stderr).toBe('quay.io of the database is not used: name: there is another quay.io\n')
  })

  it('answers in JSON, without passwords', async () => {
    await database.pool.query(
      `insert into upstreams (name, definition) values ('a.example', '{"ofTomorrow": 1}')`,
    )
    const configured = `{"docker.io":{"username":"alice","password":"${SECRET}"}}`
    const listed = await upstream('list', '--json', '--upstreams', configured)
    expect(documentsIn(listed)).toMatchObject([
      { name: 'docker.io', origin: 'configuration', username: 'alice', maxBytes: 0, problems: [] },
      { name: 'a.example', origin: 'database', problems: ['ofTomorrow: no such field'] },
    ])
    expect(listed.stdout).not.toContain(SECRET)
  })

  it('says that there are none', async () => {
    const nothing = { status: 0, stdout: '', stderr: expect.stringContaining('there are no') }
    expect(await upstream('list')).toEqual(nothing)
    expect(await runHere(['upstream', 'list', '--data', '/nonexistent'])).toEqual(nothing)
  })
})

describe('slipway upstream remove', () => {
  it('removes what was added, and says what stays', async () => {
    await upstream('add', 'ghcr.io')
    const { stdout } = await upstream('remove', 'ghcr.io')
    expect(stdout).toMatch(/^removed upstream ghcr\.io$/m)
    expect(stdout).toContain('slipway upstream purge ghcr.io')
    expect(await stored()).toEqual([])
    await expect(upstream('remove', 'ghcr.io')).rejects.toThrow('there is no upstream ghcr.io')
  })

  it('leaves what the configuration has', async () => {
    const removing = upstream('remove', 'ghcr.io', '--upstreams', 'ghcr.io')
    await expect(removing).rejects.toThrow('ghcr.io is an upstream of the configuration')
  })
})

it('servers on the database hear of every change', async () => {
  const log = pino({ level: 'silent' })
  const { pool: db, connection } = database
  const changes = new Changes({ id: randomUUID(), db, connection, log })
  onTestFinished(() => changes.close())
  let heard = 0
  changes.on('upstreams changed', () => heard++)
  changes.start()
  await until('a listener that hears', () => changes.areHeard())
  const before = heard
  for (const words of [['add'], ['change', '--reserve', '1'], ['remove']]) {
    await upstream(...words, 'ghcr.io')
  }
  await until('three messages', () => heard >= before + 3)
  expect(heard).toBe(before + 3)
})

it('config check shows upstreams as they are in force, and no password', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'slipway-cli-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = path.join(folder, 'slipway.yml')
  await writeFile(file, `upstreams:\n  ghcr.io: {username: alice, password: ${SECRET}}\n`)
  const { stdout } = await runHere(['config', 'check', '--config', file])
  const line = stdout.split('\n').find((each) => each.startsWith('SLIPWAY_UPSTREAMS='))
  expect(JSON.parse(line?.split('=')[1] ?? '')).toMatchObject({
    'ghcr.io': { url: 'https://ghcr.io', username: 'alice', password: '(hidden)' },
  })
  expect(stdout).not.toContain(SECRET)
})
