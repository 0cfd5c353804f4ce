import {
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as bcrypt from '@node-rs/bcrypt'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Htpasswd, openHtpasswd } from '../../../auth/passwords/htpasswd.ts'
import { matchesHash, PasswordVerifier } from '../../../auth/passwords/passwords.ts'

const POLL_MS = 10

let folder: string
let file: string
let alice: string
let bob: string
let opened: Htpasswd[]
let computed: { password: string; hash: string }[]
let logged: { level: 'info' | 'warn'; fields: Record<string, unknown>; message: string }[]
let changes: number

beforeAll(async () => {
  alice = await bcrypt.hash('secret of alice', { cost: 4, version: '2y' })
  bob = await bcrypt.hash('secret of bob', { cost: 6, version: '2b' })
})
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'htpasswd-'))
  file = path.join(folder, 'htpasswd')
  opened = []
  computed = []
  logged = []
  changes = 0
})
afterEach(async () => {
  for (const users of opened) users.close()
  await rm(folder, { recursive: true })
})

async function openFile(content: string | Uint8Array, at = file): Promise<Htpasswd> {
  await writeFile(at, content)
  return open(at)
}

async function open(at: string): Promise<Htpasswd> {
  const verifier = new PasswordVerifier({
    matches: (password, hash) => {
      computed.push({ password, hash })
      return matchesHash(password, hash)
    },
  })
  const users = await openHtpasswd(at, {
    verifier,
    log: { info: recorder('info'), warn: recorder('warn') },
    onChange: () => changes++,
    pollMs: POLL_MS,
  })
  opened.push(users)
  return users
}

function recorder(level: 'info' | 'warn') {
  return (fields: unknown, message?: string) => {
    logged.push({ level, fields: fields as Record<string, unknown>, message: message ?? '' })
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5)
}

describe('an htpasswd file', () => {
  it('says which password is whose', async () => {
    const users = await openFile(`alice:${alice}\nbob:${bob}\n`)
    expect(await users.verify('alice', 'secret of alice')).toBe(true)
    expect(await users.verify('bob', 'secret of bob')).toBe(true)
    expect(await users.verify('alice', 'secret of bob')).toBe(false)
    expect(await users.verify('Alice', 'secret of alice')).toBe(false)
    expect(await users.verify('alice ', 'secret of alice')).toBe(false)
    expect(await users.verify('', 'secret of alice')).toBe(false)
    expect(await users.verify('__proto__', 'secret of alice')).toBe(false)
    expect(users.names).toEqual(['alice', 'bob'])
    expect(logged).toEqual([])
  })

  it('may have comments, empty lines, ends of lines of Windows, and no last one', async () => {
    const users = await openFile(
      `\uFEFF# users\r\n\r\n  \nalice:${alice}\r\n#carol:${bob}\n\n\nzoë ☃:${bob}  `,
    )
    expect(users.names).toEqual(['alice', 'zoë ☃'])
    expect(await users.verify('alice', 'secret of alice')).toBe(true)
    expect(await users.verify('zoë ☃', 'secret of bob')).toBe(true)
    expect(logged).toEqual([])
  })

  it('may be empty', async () => {
    const users = await openFile('')
    expect(users.names).toEqual([])
    expect(await users.verify('alice', 'secret of alice')).toBe(false)
    expect(computed).toHaveLength(1)
  })

  it('is not opened when it cannot be read', async () => {
    await expect(open(path.join(folder, 'missing'))).rejects.toThrow('ENOENT')
    await expect(open(folder)).rejects.toThrow('not a regular file')
  })

  it('has 10 MB at most', async () => {
    await writeFile(file, `alice:${alice}\n`)
    await truncate(file, 10 * 1024 * 1024 + 1)
    await expect(open(file)).rejects.toThrow('more than')
    await truncate(file, 10 * 1024 * 1024)
    expect((await open(file)).names).toEqual(['alice'])
  })
})

describe('a line that is no entry', () => {
  it('is skipped with a warning that has its number and nothing of it', async () => {
    const sha = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ='
    const lines = [
      `alice:${alice}`,
      'just words',
      `:${bob}`,
      `sha:${sha}`,
      'plain:text',
      'empty:',
      `a:b:${bob}`,
      `ta\tb:${bob}`,
      `expensive:${bob.replace('$06$', '$17$')}`,
      `cut:${bob.slice(0, -1)}`,
      `alice:${bob}`,
      `bob:${bob}`,
    ]
    const users = await openFile(lines.join('\n'))
    expect(users.names).toEqual(['alice', 'bob'])
    expect(await users.verify('alice', 'secret of alice')).toBe(true)
    expect(await users.verify('alice', 'secret of bob')).toBe(false)

    const notBcrypt = 'not bcrypt, or costs too much'
    expect(logged).toEqual([
      {
        level: 'warn',
        message: 'lines of the htpasswd file skipped',
        fields: {
          file,
          skipped: 10,
          lines: [
            { line: 2, reason: 'malformed' },
            { line: 3, reason: 'malformed' },
            { line: 4, reason: notBcrypt },
            { line: 5, reason: notBcrypt },
            { line: 6, reason: notBcrypt },
            { line: 7, reason: notBcrypt },
            { line: 8, reason: 'malformed' },
            { line: 9, reason: notBcrypt },
            { line: 10, reason: notBcrypt },
            { line: 11, reason: 'repeats a name' },
          ],
        },
      },
    ])
  })

  it('may have a name that is not UTF-8', async () => {
    const latin1 = Buffer.from(`zo\u00eb:${alice}\nbob:${bob}\n`, 'latin1')
    expect((await openFile(latin1)).names).toEqual(['bob'])
    expect(logged[0]?.fields['lines']).toEqual([{ line: 1, reason: 'malformed' }])
  })

  it('does not flood the log', async () => {
    await openFile('nonsense\n'.repeat(5000))
    expect(logged).toHaveLength(1)
    expect(logged[0]?.fields['skipped']).toBe(5000)
    expect(logged[0]?.fields['lines']).toHaveLength(20)
  })
})

describe('an unknown name', () => {
  it('costs one computation like that of an entry', async () => {
    const users = await openFile(`alice:${alice}\n`)
    await users.verify('alice', 'wrong')
    await users.verify('nobody', 'wrong')
    await users.verify('no:body\n', 'wrong')
    expect(computed.map((each) => bcrypt.parseOptions(each.hash).cost)).toEqual([4, 4, 4])
  })

  it('costs what one of the entries does, and always the same', async () => {
    const users = await openFile(`alice:${alice}\nbob:${bob}\n`)
    const names = Array.from({ length: 40 }, (_, index) => `nobody ${index}`)
    for (const name of names) await users.verify(name, 'wrong')
    const first = computed.map((each) => each.hash)
    expect(new Set(first.map((hash) => bcrypt.parseOptions(hash).cost))).toEqual(new Set([4, 6]))
    computed.length = 0
    for (const name of names) await users.verify(name, 'wrong')
    expect(computed.map((each) => each.hash)).toEqual(first)
  })

  it('is not verified against the hash of an entry', async () => {
    // That would be remembered, and be quick to say whose password it is.
    const users = await openFile(`alice:${alice}\n`)
    await users.verify('alice', 'secret of alice')
    expect(await users.verify('nobody', 'secret of alice')).toBe(false)
    expect(await users.verify('somebody', 'secret of alice')).toBe(false)
    expect(new Set(computed.map((each) => each.hash)).size).toBe(3)
  })

  it('takes about as long as a wrong password', async () => {
    const slow = await bcrypt.hash('secret', { cost: 8 })
    const users = await openFile(`alice:${slow}\n`)
    const wrong: number[] = []
    const unknown: number[] = []
    for (let round = 0; round < 15; round++) {
      wrong.push(await elapsed(() => users.verify('alice', 'wrong')))
      unknown.push(await elapsed(() => users.verify(`nobody ${round}`, 'wrong')))
    }
    const ratio = median(unknown) / median(wrong)
    expect(ratio).toBeGreaterThan(1 / 3)
    expect(ratio).toBeLessThan(3)
  })
})

describe('the revision of an entry', () => {
  it('changes when the entry does, and is the same on every server', async () => {
    const users = await openFile(`alice:${alice}\nbob:${bob}\n`)
    const again = await openFile(`#\nbob:${bob}\n\nalice:${alice}`, path.join(folder, 'other'))
    const changed = await openFile(`alice:${bob}\nbob:${alice}\n`, path.join(folder, 'third'))
    expect(users.revisionOf('alice')).toMatch(/^[0-9a-f]{16}$/)
    expect(users.revisionOf('alice')).not.toBe(users.revisionOf('bob'))
    expect(again.revisionOf('alice')).toBe(users.revisionOf('alice'))
    expect(changed.revisionOf('alice')).not.toBe(users.revisionOf('alice'))
    expect(changed.revisionOf('alice')).not.toBe(users.revisionOf('bob'))
    expect(users.revisionOf('nobody')).toBeUndefined()
  })
})

describe('a changed file', () => {
  it('is read again', async () => {
    const users = await openFile(`alice:${alice}\n`)
    const before = users.revisionOf('alice')
    await writeFile(file, `alice:${bob}\nbob:${bob}\n`)
    await until(() => users.names.length === 2)
    expect(await users.verify('alice', 'secret of alice')).toBe(false)
    expect(await users.verify('alice', 'secret of bob')).toBe(true)
    expect(users.revisionOf('alice')).not.toBe(before)
    expect(changes).toBeGreaterThan(0)
    const message = 'htpasswd file read again'
    expect(logged.at(-1)).toEqual({ level: 'info', fields: { file }, message })
  })

  it('is found behind symbolic links that are swapped', async () => {
    for (const [version, content] of [
      ['..v1', `alice:${alice}\n`],
      ['..v2', `bob:${bob}\n`],
    ] as const) {
      await mkdir(path.join(folder, version))
      await writeFile(path.join(folder, version, 'htpasswd'), content)
    }
    await symlink('..v1', path.join(folder, '..data'))
    await symlink('..data/htpasswd', file)
    const users = await open(file)
    expect(users.names).toEqual(['alice'])

    await symlink('..v2', path.join(folder, '..new'))
    await rename(path.join(folder, '..new'), path.join(folder, '..data'))
    await until(() => changes === 1)
    expect(users.names).toEqual(['bob'])
  })

  it('leaves the old entries in force when it cannot be read, until it can', async () => {
    const users = await openFile(`alice:${alice}\n`)
    await rm(file)
    await until(() => logged.length > 0)
    expect(logged[0]).toMatchObject({
      level: 'warn',
      message: 'htpasswd file not usable, what it had stays in force',
    })
    expect(await users.verify('alice', 'secret of alice')).toBe(true)
    expect(changes).toBe(0)

    await writeFile(path.join(folder, 'new'), `bob:${bob}\n`)
    await rename(path.join(folder, 'new'), file)
    await until(() => changes === 1)
    expect(users.names).toEqual(['bob'])
  })

  it('leaves the old entries in force when it is too large', async () => {
    const users = await openFile(`alice:${alice}\n`)
    await truncate(file, 10 * 1024 * 1024 + 1)
    await until(() => logged.length > 0)
    expect(users.names).toEqual(['alice'])
    expect(changes).toBe(0)
  })

  it('is no change when it says what it said', async () => {
    const users = await openFile(`alice:${alice}\n`)
    await utimes(file, 1, 1)
    await sleep(POLL_MS * 10)
    expect(changes).toBe(0)
    expect(logged).toEqual([])

    // The watch goes on.
    await writeFile(file, `${await readFile(file, 'utf8')}bob:${bob}\n`)
    await until(() => users.names.length === 2)
  })

  it('is not read any more after closing', async () => {
    const users = await openFile(`alice:${alice}\n`)
    users.close()
    await writeFile(file, `bob:${bob}\n`)
    await sleep(POLL_MS * 10)
    expect(users.names).toEqual(['alice'])
    expect(changes).toBe(0)
  })
})

async function elapsed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)]!
}
