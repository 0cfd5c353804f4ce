import type { LRUCache } from 'lru-cache'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { AccessRecords } from '../../auth/access-records.ts'
import { advanceAccessVersion } from '../../storage/metadata/access-version.ts'
import { findAccountByName, insertAccount } from '../../storage/metadata/accounts.ts'
import { transaction } from '../../storage/metadata/database.ts'
import { insertGrant } from '../../storage/metadata/grants.ts'
import { openTestDatabase, type TestDatabase } from '../support/database.ts'

async function grantsIn(records: AccessRecords): Promise<number> {
  await records.refresh()
  return (await records.policy()).grants.length
}

describe('what is remembered of rules and accounts', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await openTestDatabase()
  })
  afterAll(() => database.close())

  /** As another process does it, with or without its being heard of here. */
  async function addGrant(description: string): Promise<void> {
    await transaction(database.pool, async (tx) => {
      await advanceAccessVersion(tx)
      const grant = { effect: 'allow', subject: 'everyone', tags: null, createdBy: null } as const
      await insertGrant(tx, { ...grant, repositories: ['**'], actions: ['pull'], description })
    })
  }

  it('is kept until a change is heard of', async () => {
    const records = new AccessRecords(database.pool, { hearing: { areHeard: () => true } })
    const before = await grantsIn(records)
    await addGrant('unheard')
    expect(await grantsIn(records)).toBe(before)
    records.forget()
    expect(await grantsIn(records)).toBe(before + 1)
  })

  it('is compared with the database on each request while changes are not heard', async () => {
    const records = new AccessRecords(database.pool, { hearing: { areHeard: () => false } })
    const before = await grantsIn(records)
    const kept = await records.policy()
    expect(await grantsIn(records)).toBe(before)
    expect(await records.policy()).toBe(kept)
    await addGrant('unheard')
    expect(await grantsIn(records)).toBe(before + 1)
  })

  it('is compared once more when changes are heard again: some may have been missed', async () => {
    let heard = true
    const records = new AccessRecords(database.pool, { hearing: { areHeard: () => heard } })
    const before = await grantsIn(records)
    heard = false
    await grantsIn(records)
    await addGrant('missed')
    heard = true
    expect(await grantsIn(records)).toBe(before + 1)
    await addGrant('not told of, which is not to happen')
    expect(await grantsIn(records)).toBe(before + 1)
  })

  it('is not what was read while a change came', async () => {
    const records = new AccessRecords(database.pool, { hearing: undefined })
    const reading = records.policy()
    await addGrant('meanwhile')
    records.forget()
    await reading
    const { rows } = await database.pool.query('select from grants')
    expect(await grantsIn(records)).toBe(rows.length)
  })

  it('is an account as it was last read, and nothing of one that was not there', async () => {
    const records = new AccessRecords(database.pool, { hearing: undefined })
    expect(await records.hasAccounts()).toBe(false)
    const none = await records.account('4711' as never)
    expect(none).toBeUndefined()
    await transaction(database.pool, (tx) =>
      insertAccount(tx, {
        kind: 'user',
        name: 'alice',
        description: '',
        passwordHash: undefined,
        secretHash: undefined,
        admin: false,
        expiresAt: undefined,
        createdBy: undefined,
      }),
    )
    const { id } = (await findAccountByName(database.pool, 'alice'))!
    expect(await records.account(id)).toMatchObject({ name: 'alice', disabled: false })
    await database.pool.query('update accounts set disabled = true')
    expect(await records.account(id)).toMatchObject({ disabled: false })
    records.forget()
    expect(await records.account(id)).toMatchObject({ disabled: true })
    expect(await records.hasAccounts()).toBe(true)
  })

  it('is of tokens what was verified lately, and takes no room longer', async (context) => {
    const records = new AccessRecords(database.pool, { hearing: undefined })
    await records.policy()
    const count = () => (records.remembered()!.tokens as LRUCache<string, object>).size
    let nowMs = performance.now()
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
    context.onTestFinished(() => {
      vi.useRealTimers()
      vi.restoreAllMocks()
    })
    const pass = (ms: number) => {
      nowMs += ms
      vi.advanceTimersByTime(ms)
    }
    const token = { holder: { subject: undefined }, scopes: [], expiresAt: 4e9 }
    await records.token('Bearer old', async () => token)
    pass(299_000)
    await records.token('Bearer new', async () => token)
    records.dropStale()
    expect(count()).toBe(2)
    pass(2000)
    records.dropStale()
    expect(count()).toBe(1)
    const verified = vi.fn<() => Promise<typeof token>>(async () => token)
    await records.token('Bearer new', verified)
    expect(verified).not.toHaveBeenCalled()
  })
})
