import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Activity } from '../../../registry/pull-through/activity.ts'
import type { Pool, Queryable } from '../../../storage/metadata/database.ts'
import { findActivity } from '../../../storage/metadata/upstream-activity.ts'
import type { UpstreamCondition } from '../../../upstream/upstream.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'
import { newUpstream } from './caches.ts'

let database: TestDatabase
let db: Pool

beforeAll(async () => {
  database = await openTestDatabase()
  db = database.pool
})
afterAll(() => database.close())

const FINE: UpstreamCondition = {
  brokenUntil: undefined,
  budget: undefined,
  lastError: undefined,
  fetchedBytes: 0,
}
const at = (minute: number) => new Date(Date.UTC(2026, 10, 21, 12, minute))
const NOBODY: ReadonlyMap<string, UpstreamCondition> = new Map()

describe('the activity of an upstream', () => {
  it('is summed over processes, and each has its own totals', async () => {
    const name = newUpstream()
    const [one, other] = [new Activity(), new Activity()]
    one.hit(name)
    one.served(name, 2 ** 40)
    one.miss(name)
    one.fetched(name, 70)
    one.stale(name)
    other.hit(name, 5)
    other.evicted(name, 30)
    await Promise.all([one.flush(db, NOBODY), other.flush(db, NOBODY)])
    one.hit(name)
    await one.flush(db, NOBODY)
    await one.flush(db, NOBODY)
    expect(await findActivity(db, name)).toEqual({
      hits: 3,
      misses: 1,
      stale: 1,
      fetchedBytes: 70,
      servedBytes: 2 ** 40 + 5,
      evictedBytes: 30,
      brokenUntil: undefined,
      budget: undefined,
      lastError: undefined,
    })
    expect(one.totals().get(name)).toMatchObject({ hits: 2, misses: 1, servedBytes: 2 ** 40 })
    expect(other.totals().get(name)).toMatchObject({ hits: 1, servedBytes: 5 })
  })

  it('is not lost when it cannot be stored', async () => {
    const name = newUpstream()
    const activity = new Activity()
    activity.hit(name)
    const failing: Queryable = {
      query: () => {
        activity.miss(name) // goes on meanwhile
        return Promise.reject(new Error('no database'))
      },
    }
    await expect(activity.flush(failing, new Map([[name, FINE]]))).rejects.toThrow('no database')
    expect(await findActivity(db, name)).toBeUndefined()
    await activity.flush(db, new Map([[name, FINE]]))
    expect(await findActivity(db, name)).toMatchObject({ hits: 1, misses: 1 })
  })

  it('keeps what is known of how it is doing, and the latest of it', async () => {
    const name = newUpstream()
    const [one, other] = [new Activity(), new Activity()]
    const condition: UpstreamCondition = {
      ...FINE,
      brokenUntil: at(9),
      budget: { limit: 100, left: 40, at: at(5) },
      lastError: { message: 'refused', at: at(5) },
    }
    await one.flush(db, new Map([[name, condition]]))
    other.hit(name)
    await other.flush(db, new Map([[name, FINE]]))
    const { fetchedBytes: _, ...known } = condition
    expect(await findActivity(db, name)).toMatchObject({ hits: 1, ...known })

    const later: UpstreamCondition = { ...FINE, budget: { limit: 100, left: 90, at: at(4) } }
    await other.flush(db, new Map([[name, later]]))
    expect(await findActivity(db, name)).toMatchObject(known)
    const latest = { ...later, budget: { limit: 100, left: 39, at: at(6) } }
    await other.flush(db, new Map([[name, latest]]))
    expect(await findActivity(db, name)).toMatchObject({ ...known, budget: latest.budget })
  })

  it('is written only where there is something new', async () => {
    const name = newUpstream()
    const activity = new Activity()
    let statements = 0
    const counting: Queryable = {
      query: (statement) => {
        statements++
        return db.query(statement)
      },
    }
    const conditions = new Map([[name, FINE]])
    await activity.flush(counting, conditions)
    expect(statements).toBe(1)
    await activity.flush(counting, conditions)
    expect(statements).toBe(1)
    await activity.flush(counting, new Map([[name, { ...FINE, brokenUntil: at(1) }]]))
    expect(statements).toBe(2)
  })
})
