import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { flagOf, SETTINGS } from '../../config/settings.ts'
import { ROOT, slipway } from './slipway.ts'

describe('help', () => {
  it.each([[[]], [['--help']], [['-h']], [['help']]])('for the program: %j', (words) => {
    const { status, stdout, stderr } = slipway(words)
    expect(stderr).toBe('')
    expect(status).toBe(0)
    for (const command of ['serve', 'migrate', 'config check', 'version']) {
      expect(stdout).toContain(command)
    }
  })

  it.each([['serve'], ['migrate'], ['config check']])('for %s names every flag', (command) => {
    const { status, stdout } = slipway([...command.split(' '), '--help'])
    expect(status).toBe(0)
    expect(stdout).toContain(`slipway ${command}:`)
    for (const key of Object.keys(SETTINGS)) expect(stdout).toContain(`--${flagOf(key)} VALUE`)
  })

  it('for version has no flags to name', () => {
    const { status, stdout } = slipway(['version', '-h'])
    expect(status).toBe(0)
    expect(stdout).toContain('print the version')
    expect(stdout).not.toContain('--data')
  })
})

describe('a wrong command line', () => {
  it.each([
    [['fly'], 'fly: no such command'],
    [['config'], 'config: no such command'],
    [['config', 'chekc'], 'config chekc: no such command'],
    [['serve', '--lsiten', 'x'], "serve: Unknown option '--lsiten'"],
    [['serve', 'now'], "serve: Unexpected argument 'now'"],
    [['serve', '--listen'], '--listen'],
    [['version', '--data', 'x'], "version: Unknown option '--data'"],
  ])('%j says what is wrong with it', (words, expected) => {
    const { status, stdout, stderr } = slipway(words)
    expect(stderr).toContain(expected)
    expect(stderr).not.toContain('    at ')
    expect(stdout).toBe('')
    expect(status).toBe(2)
  })
})

describe('a wrong setting', () => {
  it.each([
    ['a flag', ['serve', '--workers', 'many'], {}, '', '--workers: expected a whole number'],
    ['a variable', ['serve'], { SLIPWAY_WORKERS: 'x' }, '', 'SLIPWAY_WORKERS: expected'],
    ['the file', ['serve'], {}, 'workers: x\n', 'slipway.yml: workers: expected'],
    ['no variable of ours', ['serve'], { SLIPWAY_WORKRES: '1' }, '', 'SLIPWAY_WORKRES: no such'],
    ['an address', ['serve', '--listen', '5000'], {}, '', 'expected host:port'],
    ['a missing file', ['migrate', '--config', 'none.yml'], {}, '', 'none.yml: ENOENT'],
    ['a missing file', ['migrate'], { SLIPWAY_CONFIG: 'none.yml' }, '', 'none.yml: ENOENT'],
  ])('in %s names itself', (...[, words, environment, file, expected]) => {
    const { status, stderr } = slipway(words, { environment, file })
    expect(stderr).toContain(expected)
    expect(stderr).not.toContain('    at ')
    expect(status).toBe(2)
  })
})

describe('config check', () => {
  it('prints the settings in force, and no secret', () => {
    const { status, stdout, stderr } = slipway(['config', 'check', '--workers', '3'], {
      environment: { SLIPWAY_DATABASE_URL: 'postgres://user:hunter2@host/db' },
      file: 'listen: 127.0.0.1:5001\nworkers: 2\ntrustedProxies: [10.0.0.0/8]\n',
    })
    expect(stdout).toContain('SLIPWAY_LISTEN=127.0.0.1:5001\n')
    expect(stdout).toContain('SLIPWAY_WORKERS=3\n')
    expect(stdout).toContain('SLIPWAY_TRUSTED_PROXIES=10.0.0.0/8\n')
    expect(stdout).toContain('SLIPWAY_DATABASE_URL=(hidden)\n')
    expect(stdout + stderr).not.toContain('hunter2')
    expect(status).toBe(0)
  })

  it('prints what it can read again', () => {
    const first = slipway([
      'config',
      'check',
      '--listen',
      '[::1]:5001',
      '--limits-upload-bytes',
      '1G',
    ])
    const lines = first.stdout.trim().split('\n')
    const environment = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)))
    const second = slipway(['config', 'check'], { environment })
    expect(second.stderr).not.toContain('not usable')
    expect(second.stdout).toBe(first.stdout)
  })

  it('tells every problem at once', () => {
    const { status, stderr } = slipway(['config', 'check', '--workers', '0', '--log-level', 'loud'])
    expect(stderr).toContain('--workers')
    expect(stderr).toContain('--log-level')
    expect(status).toBe(2)
  })
})

it('version prints the version of package.json', () => {
  const text = readFileSync(path.join(ROOT, 'package.json'), 'utf8')
  const { version } = JSON.parse(text) as { version: string }
  const { status, stdout } = slipway(['version'])
  expect(stdout).toBe(`slipway ${version}, Node ${process.versions.node}\n`)
  expect(status).toBe(0)
})
