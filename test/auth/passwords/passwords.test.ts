import { setTimeout as sleep } from 'node:timers/promises'
import * as bcrypt from '@node-rs/bcrypt'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  bcryptCostOf,
  checkNewPassword,
  hashPassword,
  matchesHash,
  PasswordVerifier,
} from '../../../auth/passwords/passwords.ts'
import { RegistryError } from '../../../oci/errors.ts'

let hash: string
let other: string

beforeAll(async () => {
  hash = await hashPassword('correct horse')
  other = await hashPassword('battery staple')
})

/** A verifier whose computations are listed, and end when told to; at once unless `held`. */
function recording({ held = false } = {}) {
  const computed: { password: string; hash: string }[] = []
  const waiting: (() => void)[] = []
  const clock = { ms: 1000 }
  const verifier = new PasswordVerifier({
    matches: async (password, target) => {
      computed.push({ password, hash: target })
      if (held) await new Promise<void>((resolve) => waiting.push(resolve))
      return target === hash && password === 'correct horse'
    },
    now: () => clock.ms,
  })
  return { verifier, computed, clock, waiting }
}

describe('a new hash', () => {
  it('is argon2id with 19 MiB, two passes and one lane', () => {
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$/)
  })

  it('is another one each time', async () => {
    expect(await hashPassword('correct horse')).not.toBe(hash)
  })
})

describe('a new password', () => {
  it.each(['12345678', 'pässwört', 'a b c d e', '🔑🔑', 'x'.repeat(1024), '字'.repeat(341)])(
    'may be %j',
    (password) => {
      expect(() => checkNewPassword(password)).not.toThrow()
    },
  )

  it.each([
    ['short', '8 to 1024'],
    ['1234567', '8 to 1024'],
    ['x'.repeat(1025), '8 to 1024'],
    ['字'.repeat(342), '8 to 1024'],
    ['line\nbreak', 'control'],
    ['has\0a nul', 'control'],
    ['next\u0085line', 'control'],
    ['deleted\u007f', 'control'],
  ])('may not be %j', (password, reason) => {
    const refusal = refusalOf(password)
    expect(refusal).toMatchObject({ code: 'UNSUPPORTED', status: 400 })
    expect(refusal.details.join()).toContain(reason)
    expect(refusal.details.join()).not.toContain(password)
  })
})

describe('a password', () => {
  const verifier = new PasswordVerifier()

  it('is the one its argon2id hash was made of, and no other', async () => {
    expect(await verifier.verify('correct horse', hash)).toBe(true)
    expect(await verifier.verify('correct horse ', hash)).toBe(false)
    expect(await verifier.verify('', hash)).toBe(false)
    expect(await verifier.verify('battery staple', hash)).toBe(false)
    expect(await verifier.verify('battery staple', other)).toBe(true)
  })

  it.each(['2a', '2b', '2y'])('is checked against a $%s$ hash of bcrypt', async (prefix) => {
    const made = await bcrypt.hash('correct horse', { cost: 4 })
    const renamed = `$${prefix}$${made.slice(4)}`
    expect(await verifier.verify('correct horse', renamed)).toBe(true)
    expect(await verifier.verify('battery staple', renamed)).toBe(false)
  })

  it('is checked against what htpasswd of Apache wrote', async () => {
    // htpasswd -nbB -C 5 user 'secret pässword'
    const written = '$2y$05$0fj2m5Zk70lQF3Qxz/P55.RHrLHqb8N.xZrbuZKfNNkQUS99Z68oy'
    expect(await verifier.verify('secret pässword', written)).toBe(true)
    expect(await verifier.verify('secret passwort', written)).toBe(false)
    expect(bcryptCostOf(written)).toBe(5)
  })

  it('counts up to its 72nd byte only where the hash is bcrypt', async () => {
    const made = await bcrypt.hash('x'.repeat(72), { cost: 4 })
    expect(await verifier.verify('x'.repeat(73), made)).toBe(true)
    expect(await verifier.verify('x'.repeat(71), made)).toBe(false)
    const argon = await hashPassword('x'.repeat(72))
    expect(await verifier.verify('x'.repeat(73), argon)).toBe(false)
  })

  it('of nobody is never right', async () => {
    expect(await verifier.verify('correct horse', undefined)).toBe(false)
    expect(await verifier.verify('', undefined, 'nobody')).toBe(false)
  })

  it('of more than 1024 bytes is refused, even where it is right', async () => {
    const long = 'x'.repeat(1025)
    const made = await hashPassword(long)
    expect(await matchesHash(long, made)).toBe(true)
    expect(await verifier.verify(long, made)).toBe(false)
    const empty = await hashPassword('')
    expect(await verifier.verify(long, empty)).toBe(false)
  })
})

describe('a hash that is no good', () => {
  const digest = 'A'.repeat(43)
  const salt = 'A'.repeat(22)
  const bad = [
    '',
    'secret',
    '$argon2id$',
    '$argon2id$v=19$m=19456,t=2,p=1$AAAA$BBBB',
    `$argon2id$v=19$m=4294967295,t=2,p=1$${salt}$${digest}`,
    `$argon2id$v=19$m=19456,t=4000000,p=1$${salt}$${digest}`,
    `$argon2i$v=19$m=19456,t=2,p=1$${salt}$${digest}`,
    '$2y$',
    '$2y$05$abc',
    `$2y$31$${'.'.repeat(53)}`,
    `$2y$03$${'.'.repeat(53)}`,
    `$2x$05$${'.'.repeat(53)}`,
    `$2y$+4$${'.'.repeat(53)}`,
    `$2y$05$${'9'.repeat(53)}`,
    `$2y$05$${'.'.repeat(53)}\n`,
    '$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00',
    '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=',
  ]

  it.each(bad)('%j is false, for the price of one that is', async (malformed) => {
    expect(await new PasswordVerifier().verify('correct horse', malformed)).toBe(false)
    const { verifier, computed } = recording()
    expect(await verifier.verify('correct horse', malformed)).toBe(false)
    expect(computed).toHaveLength(1)
    expect(costOf(computed[0]!.hash)).toBe(costOf(hash))
  })

  it('is false when checking it fails after all', async () => {
    const verifier = new PasswordVerifier({ matches: () => Promise.reject(new Error('broken')) })
    expect(await verifier.verify('correct horse', hash)).toBe(false)
  })
})

describe('the cost', () => {
  it('is one computation like that of an account, for no account and for a long password', async () => {
    const { verifier, computed } = recording()
    await verifier.verify('wrong', hash)
    await verifier.verify('wrong', undefined)
    await verifier.verify('wrong', undefined, 'nobody')
    await verifier.verify('x'.repeat(2000), hash)
    await verifier.verify('x'.repeat(2000), undefined)
    expect(computed.map((each) => costOf(each.hash))).toEqual(Array(5).fill(costOf(hash)))
  })

  it('of no account is about that of a wrong password', async () => {
    const verifier = new PasswordVerifier()
    const wrong: number[] = []
    const unknown: number[] = []
    for (let round = 0; round < 15; round++) {
      wrong.push(await elapsed(() => verifier.verify('wrong', hash)))
      unknown.push(await elapsed(() => verifier.verify('wrong', undefined, `nobody ${round}`)))
    }
    const ratio = median(unknown) / median(wrong)
    expect(ratio).toBeGreaterThan(1 / 3)
    expect(ratio).toBeLessThan(3)
  })

  it('of attempts at once does not tell which names have an account', async () => {
    const { verifier, computed } = recording()
    const attempts = async (first: string | undefined, second: string | undefined) => {
      computed.length = 0
      await Promise.all([
        verifier.verify('wrong', first, 'first'),
        verifier.verify('wrong', first, 'first'),
        verifier.verify('wrong', second, 'second'),
      ])
      return computed.length
    }
    expect(await attempts(hash, other)).toBe(2)
    expect(await attempts(undefined, undefined)).toBe(2)
    expect(await attempts(hash, undefined)).toBe(2)
  })
})

describe('a verification', () => {
  it('of the same password and hash at the same time is computed once', async () => {
    const { verifier, computed, waiting } = recording({ held: true })
    const answers = Promise.all([
      verifier.verify('correct horse', hash),
      verifier.verify('correct horse', hash),
      verifier.verify('wrong', hash),
    ])
    await until(() => waiting.length === 2)
    for (const finish of waiting) finish()
    expect(await answers).toEqual([true, true, false])
    expect(computed.map((each) => each.password)).toEqual(['correct horse', 'wrong'])
  })

  it('is remembered for a minute when it succeeded', async () => {
    const { verifier, computed, clock } = recording()
    expect(await verifier.verify('correct horse', hash)).toBe(true)
    clock.ms += 59_999
    expect(await verifier.verify('correct horse', hash)).toBe(true)
    expect(computed).toHaveLength(1)
    clock.ms += 2
    expect(await verifier.verify('correct horse', hash)).toBe(true)
    expect(computed).toHaveLength(2)
  })

  it('is not remembered for another hash or password, or when it failed', async () => {
    const { verifier, computed } = recording()
    await verifier.verify('correct horse', hash)
    expect(await verifier.verify('correct horse', other)).toBe(false)
    expect(await verifier.verify('wrong', hash)).toBe(false)
    expect(await verifier.verify('wrong', hash)).toBe(false)
    expect(computed).toHaveLength(4)
  })

  it('runs with one other at most, and waits with a hundred', async () => {
    const { verifier, computed, waiting } = recording({ held: true })
    const attempts = Array.from({ length: 102 }, (_, index) => verifier.verify(`${index}`, hash))
    await until(() => waiting.length === 2)
    expect(computed).toHaveLength(2)

    await expect(verifier.verify('one more', hash)).rejects.toMatchObject({
      code: 'TOOMANYREQUESTS',
    })
    await expect(verifier.verify('one more', undefined)).rejects.toMatchObject({
      code: 'TOOMANYREQUESTS',
    })
    // No place is needed to share what another waits for.
    const shared = verifier.verify('101', hash)

    for (let done = 0; done < 102; done++) {
      await until(() => waiting.length > 0)
      expect(waiting.length).toBeLessThanOrEqual(2)
      waiting.shift()!()
    }
    expect(await Promise.all([...attempts, shared])).toEqual(Array(103).fill(false))
    expect(computed).toHaveLength(102)
  })

  it('that is remembered succeeds while all places are taken', async () => {
    const { verifier, waiting } = recording({ held: true })
    const first = verifier.verify('correct horse', hash)
    await until(() => waiting.length === 1)
    waiting.shift()!()
    expect(await first).toBe(true)

    const attempts = Array.from({ length: 102 }, (_, index) => verifier.verify(`${index}`, hash))
    expect(await verifier.verify('correct horse', hash)).toBe(true)
    for (let done = 0; done < 102; done++) {
      await until(() => waiting.length > 0)
      waiting.shift()!()
    }
    await Promise.all(attempts)
  })

  it('leaves the event loop free', async () => {
    const verifier = new PasswordVerifier()
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    await Promise.all(Array.from({ length: 10 }, (_, index) => verifier.verify(`${index}`, hash)))
    clearInterval(timer)
    expect(turns).toBeGreaterThan(0)
  })
})

function refusalOf(password: string): RegistryError {
  try {
    checkNewPassword(password)
  } catch (error) {
    if (error instanceof RegistryError) return error
  }
  throw new Error('not refused')
}

/** What stands before salt and digest. */
function costOf(text: string): string {
  return text.split('$').slice(0, 4).join('$')
}

async function elapsed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)]!
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(1)
}
