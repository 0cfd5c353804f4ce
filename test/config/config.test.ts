import { describe, expect, it } from 'vitest'
import { listensOnLoopback, storageRoot } from '../../config/config.ts'
import { flagOf, SETTINGS, variableOf } from '../../config/settings.ts'
import { fileOf, load, problemsOf } from './loading.ts'

describe('a configuration', () => {
  it('needs nothing, and is safe then', () => {
    const config = load()
    expect(config.listen).toEqual({ host: '127.0.0.1', port: 5000 })
    expect(config.auth).toBeUndefined()
    expect(config['database.url']).toBeUndefined()
    expect(config['limits.headerBytes']).toBe(32 * 1024)
    expect(config.trustedProxies).toEqual([])
    expect(Object.isFrozen(config)).toBe(true)
  })

  it('takes a flag before a variable, and that before the file', () => {
    const file = fileOf('listen: 127.0.0.1:1\nworkers: 1\nlimits:\n  idleSeconds: 1\n')
    const environment = { SLIPWAY_LISTEN: '127.0.0.1:2', SLIPWAY_WORKERS: '2' }
    const config = load({ file, environment, flags: { listen: '127.0.0.1:3' } })
    expect(config.listen.port).toBe(3)
    expect(config.workers).toBe(2)
    expect(config['limits.idleSeconds']).toBe(1)
  })

  it('takes an empty variable, and a key without a value, as left out', () => {
    const file = fileOf('workers:\nlimits:\n')
    expect(load({ file, environment: { SLIPWAY_LISTEN: '' } }).listen.port).toBe(5000)
  })

  it('takes an empty file', () => {
    expect(load({ file: fileOf('') }).workers).toBe(1)
    expect(load({ file: fileOf('# nothing yet\n') }).workers).toBe(1)
  })

  it('names every problem at once, each by where it stands', () => {
    const file = fileOf('workers: many\nlisten: nowhere\nlog:\n  levle: info\n')
    const problems = problemsOf({
      file,
      environment: {
        SLIPWAY_LIMITS_UPLOAD_BYTES: '10X',
        SLIPWAY_LSITEN: '127.0.0.1:1',
        SLIPWAY_TLS_KEY: 'key.pem',
      },
      flags: { 'limits.idleSeconds': '0' },
    })
    expect(problems).toHaveLength(7)
    const text = problems.join('\n')
    expect(text).toContain(`${file}: workers: expected a whole number, not "many"`)
    expect(text).toContain(`${file}: listen: expected host:port`)
    expect(text).toContain(`${file}: log.levle: no such setting`)
    expect(text).toContain('SLIPWAY_LIMITS_UPLOAD_BYTES: expected bytes')
    expect(text).toContain('SLIPWAY_LSITEN: no such setting')
    expect(text).toContain('--limits-idle-seconds: expected at least 1')
    expect(text).toContain('tls.certificate and tls.key: one goes with the other')
  })

  it('has a path for files only where there are files, and a proxy', () => {
    const flags = { 'storage.accelPath': '/files/' }
    expect(load({ flags: { ...flags, trustedProxies: '10.0.0.1' } })).toMatchObject(flags)
    const problems = problemsOf({
      flags: { ...flags, 'storage.type': 's3', 'storage.s3.bucket': 'images' },
    })
    expect(problems).toEqual([
      'storage.accelPath: it goes with storage.type filesystem',
      'storage.accelPath: trustedProxies has to name the nginx that sends the blobs',
    ])
  })

  it('guesses which key was meant', () => {
    const [problem] = problemsOf({ file: fileOf('uploadBytes: 5\n') })
    expect(problem).toContain('did you mean limits.uploadBytes?')
  })

  it('leaves variables of others and of tests alone', () => {
    const environment = { SLIPWAY_CONFIG: 'x.yml', SLIPWAY_TEST_ANYTHING: '1', PATH: '/bin' }
    expect(problemsOf({ environment })).toEqual([])
  })

  it.each([
    ['a list', '- a\n- b\n'],
    ['a text', 'just words\n'],
    ['no YAML', 'a: [\n'],
    ['a key twice', 'workers: 1\nworkers: 2\n'],
  ])('is not %s', (_, content) => {
    const file = fileOf(content)
    const problems = problemsOf({ file })
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(file)
  })

  it('misses a file that was named, not one that was not', () => {
    expect(problemsOf({ file: '/nonexistent/slipway.yml' })[0]).toContain('ENOENT')
    expect(problemsOf({})).toEqual([])
  })
})

describe('a value', () => {
  it.each([
    ['limits.uploadBytes', '1048576', 2 ** 20],
    ['limits.uploadBytes', '64K', 2 ** 16],
    ['limits.uploadBytes', '64k', 2 ** 16],
    ['limits.uploadBytes', '2 MiB', 2 ** 21],
    ['limits.uploadBytes', '10G', 10 * 2 ** 30],
    ['limits.uploadBytes', '1TB', 2 ** 40],
    ['limits.uploadBytes', '0', 0],
    ['log.access', 'no', false],
    ['log.access', 'TRUE', true],
    ['log.access', 'on', true],
    ['workers', '4', 4],
    [
      'trustedProxies',
      '10.0.0.0/8, fd00::/8 192.168.1.1',
      ['10.0.0.0/8', 'fd00::/8', '192.168.1.1'],
    ],
    ['listen', '[::1]:5001', { host: '::1', port: 5001 }],
    ['listen', 'localhost:0', { host: 'localhost', port: 0 }],
  ])('of %s may be %s', (key, text, value) => {
    const config: Readonly<Record<string, unknown>> = load({ flags: { [key]: text } })
    expect(config[key]).toEqual(value)
  })

  it.each([
    ['limits.uploadBytes', '-1', 'expected bytes'],
    ['limits.uploadBytes', '1.5G', 'expected bytes'],
    ['limits.uploadBytes', 'lots', 'expected bytes'],
    ['limits.headerBytes', '1K', 'expected at least 4K'],
    ['limits.headerBytes', '1G', 'expected at most 1M'],
    ['limits.idleSeconds', '1.5', 'expected a whole number'],
    ['limits.idleSeconds', 'soon', 'expected a whole number'],
    ['workers', '0', 'expected at least 1'],
    ['workers', '257', 'expected at most 256'],
    ['log.access', 'maybe', 'expected true or false'],
    ['log.level', 'loud', 'expected trace'],
    ['log.format', 'xml', 'expected auto'],
    ['storage.type', 'tape', "expected 'filesystem'"],
    ['auth', 'some', "expected 'none'"],
    ['storage.accelPath', 'files/', 'expected a path such as'],
    ['storage.accelPath', '/files', 'expected a path such as'],
    ['storage.accelPath', '/', 'expected a path such as'],
    ['storage.accelPath', '/a b/', 'expected a path such as'],
    ['trustedProxies', '10.0.0.0/33', 'expected addresses or networks'],
    ['trustedProxies', 'proxy.example', 'expected addresses or networks'],
    ['trustedProxies', '10.0.0.0/8/8', 'expected addresses or networks'],
    ['listen', '5000', 'expected host:port'],
    ['listen', 'host', 'expected host:port'],
    ['listen', '127.0.0.1:65536', 'expected host:port'],
    ['listen', '::1:5000', 'expected host:port'],
    ['database.url', 'mysql://x', 'expected a URL that begins with postgres://'],
    ['database.url', 'postgres://[', 'expected a URL that begins with postgres://'],
  ])('of %s is not %s', (key, text, expected) => {
    const problems = problemsOf({ flags: { [key]: text } })
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(`--${flagOf(key)}: ${expected}`)
  })

  it.each([
    ['workers: true', 'expected a whole number'],
    ['workers: [3]', 'expected a whole number'],
    ['log:\n  access: 5', 'expected true or false'],
    ['listen: 5000', 'expected host:port'],
    ['data: 5', 'expected a folder'],
    ['trustedProxies: 5', 'expected addresses or networks'],
    ['limits:\n  uploadBytes: [1]', 'expected bytes'],
  ])('in a file is not of another kind: %s', (content, expected) => {
    expect(problemsOf({ file: fileOf(`${content}\n`) }).join()).toContain(expected)
  })

  it('in a file may be a list', () => {
    const file = fileOf('trustedProxies:\n  - 10.0.0.0/8\n  - ::1\n')
    expect(load({ file }).trustedProxies).toEqual(['10.0.0.0/8', '::1'])
  })
})

const isLoopback = (listen: string) => listensOnLoopback(load({ flags: { listen } }))

describe('an address that others can reach', () => {
  it.each([':5000', '0.0.0.0:5000', '[::]:5000', '192.168.1.1:5000', 'registry.example:5000'])(
    'is one such as %s',
    (listen) => {
      expect(isLoopback(listen)).toBe(false)
    },
  )

  it.each(['127.0.0.1:1', '127.8.8.8:1', '[::1]:1', 'localhost:1'])('is not %s', (listen) => {
    expect(isLoopback(listen)).toBe(true)
  })

  it.each(['127.0.0.1.example:1', 'localhost.example:1', '127.0.0.1evil:1'])(
    'may look like another: %s',
    (listen) => {
      expect(isLoopback(listen)).toBe(false)
    },
  )
})

describe('the names of a setting', () => {
  it('follow from its key', () => {
    expect(variableOf('limits.uploadBytes')).toBe('SLIPWAY_LIMITS_UPLOAD_BYTES')
    expect(flagOf('limits.uploadBytes')).toBe('limits-upload-bytes')
  })

  it('are its own', () => {
    const keys = Object.keys(SETTINGS)
    expect(new Set(keys.map(variableOf)).size).toBe(keys.length)
    expect(new Set(keys.map(flagOf)).size).toBe(keys.length)
  })
})

it('the blobs lie in the data folder, unless said otherwise', () => {
  expect(storageRoot(load({ flags: { data: '/srv/x' } }))).toBe('/srv/x/registry')
  expect(storageRoot(load({ flags: { 'storage.root': '/srv/blobs' } }))).toBe('/srv/blobs')
})
