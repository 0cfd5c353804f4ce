import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { ClaimLost, TakenOver, UploadLocks } from '../../registry/upload-locks.ts'
import type { Pool, Statement } from '../../storage/metadata/database.ts'
import { insertUpload, type UploadKey } from '../../storage/metadata/uploads.ts'
import { seedRepository } from '../storage/metadata/seed.ts'
import { openTestDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
let db: Pool

beforeAll(async () => {
  database = await openTestDatabase()
  db = database.pool
})
afterEach(() => {
  vi.useRealTimers()
})
afterAll(() => database.close())

async function startUpload(): Promise<UploadKey> {
  const repository = await seedRepository(db)
  const id = randomUUID()
  const session = {
    id,
    owner: undefined,
    algorithm: 'sha256',
    state: {},
    ttlSeconds: 3600,
    durable: false,
  } as const
  await insertUpload(db, repository.id, session)
  return { repository: repository.name, id, owner: undefined }
}

/** Another process has the session, for so many seconds. */
async function claimElsewhere(id: string, seconds: number): Promise<void> {
  await db.query(
    `update upload_sessions set writer = gen_random_uuid(),
       writer_until = now() + make_interval(secs => $2) where id = $1`,
    [id, seconds],
  )
}

describe('a lock in one process', () => {
  it('is taken over by a newer request, when the older one has let go', async () => {
    const locks = new UploadLocks(db)
    const key = await startUpload()
    const older = (await locks.acquire(key))!
    let newer: unknown
    const waiting = locks.acquire(key).then((lock) => (newer = lock))
    await vi.waitFor(() => expect(older.signal.reason).toBeInstanceOf(TakenOver))
    await sleep(50)
    expect(newer).toBeUndefined()
    await older.release(false)
    const lock = (await waiting)!
    expect(lock.signal.aborted).toBe(false)
    await lock.release(false)
    expect(locks.size).toBe(0)
  })

  it('goes to the newest of several', async () => {
    const locks = new UploadLocks(db)
    const key = await startUpload()
    const first = (await locks.acquire(key))!
    const second = locks.acquire(key)
    const third = locks.acquire(key)
    await first.release(false)
    const secondLock = (await second)!
    await vi.waitFor(() => expect(secondLock.signal.reason).toBeInstanceOf(TakenOver))
    await secondLock.release(false)
    const thirdLock = (await third)!
    expect(thirdLock.signal.aborted).toBe(false)
    await thirdLock.release(false)
  })

  it('of one session leaves others alone', async () => {
    const locks = new UploadLocks(db)
    const one = (await locks.acquire(await startUpload()))!
    const two = (await locks.acquire(await startUpload()))!
    expect(one.signal.aborted).toBe(false)
    expect(locks.size).toBe(2)
    await Promise.all([one.release(false), two.release(false)])
  })

  it('is not had for a session that is not there', async () => {
    const locks = new UploadLocks(db)
    const key = await startUpload()
    expect(await locks.acquire({ ...key, id: randomUUID() })).toBeUndefined()
    expect(await locks.acquire({ ...key, owner: 'somebody' })).toBeUndefined()
    expect(locks.size).toBe(0)
    const lock = await locks.acquire(key)
    expect(lock).toBeDefined()
    await lock?.release(false)
  })

  it('can be had again after the database failed', async () => {
    let failing = true
    const query = (statement: Statement) => {
      if (failing) throw new Error('no database')
      return db.query(statement)
    }
    const locks = new UploadLocks({ query } as unknown as Pool)
    const key = await startUpload()
    await expect(locks.acquire(key)).rejects.toThrow('no database')
    expect(locks.size).toBe(0)
    failing = false
    await (await locks.acquire(key))?.release(false)
  })
})

describe('a lock between processes', () => {
  it('is waited for until the other lets go', async () => {
    const key = await startUpload()
    const mine = (await new UploadLocks(db).acquire(key))!
    let got = false
    const theirs = new UploadLocks(db).acquire(key).then((lock) => {
      got = true
      return lock
    })
    await sleep(600)
    expect(got).toBe(false)
    expect(mine.signal.aborted).toBe(false)
    await mine.release(false)
    await (await theirs)?.release(false)
    expect(got).toBe(true)
  })

  it('of a process that died runs out', async () => {
    const key = await startUpload()
    await claimElsewhere(key.id, 0.5)
    const startedAt = performance.now()
    const lock = await new UploadLocks(db).acquire(key)
    expect(lock).toBeDefined()
    expect(performance.now() - startedAt).toBeGreaterThan(300)
    await lock?.release(false)
  })

  it('is good for a while however long it was waited for', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
    const key = await startUpload()
    await claimElsewhere(key.id, 3600)
    const locks = new UploadLocks(db)
    const other = (await locks.acquire(await startUpload()))!
    await advance(1000)
    const waiting = locks.acquire(key)
    await advance(13_500)
    await claimElsewhere(key.id, -1)
    await advance(500)
    const lock = (await waiting)!
    await advance(1500)
    expect(lock.signal.reason).toBeUndefined()
    await lock.release(false)
    await other.release(false)
  })

  it('lasts while it is renewed', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
    const key = await startUpload()
    const lock = (await new UploadLocks(db).acquire(key))!
    await advance(60_000)
    expect(lock.signal.aborted).toBe(false)
    const { rows } = await db.query(
      `select writer_until > now() + interval '10 seconds' as fresh
       from upload_sessions where id = $1`,
      [key.id],
    )
    expect(rows).toEqual([{ fresh: true }])
    await lock.release(false)
  })

  it.each([
    ['refuses', 100],
    ['refuses', 2000],
    ['refuses', 3900],
    ['does not answer', 2000],
    ['does not answer', 3900],
  ])(
    'is given up before it runs out, if the database %s, %i ms after another lock',
    async (how, phaseMs) => {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
      const query = (statement: Statement) => {
        if (!statement.text.includes('any($1)')) return db.query(statement)
        return how === 'refuses' ? Promise.reject(new Error('gone')) : new Promise(() => {})
      }
      const locks = new UploadLocks({ query } as unknown as Pool)
      const other = (await locks.acquire(await startUpload()))!
      await advance(phaseMs)
      const lock = (await locks.acquire(await startUpload()))!
      await advance(8000)
      expect(lock.signal.aborted).toBe(false)
      // The claim is good for fifteen seconds; then another process may write.
      await advance(6500)
      expect(lock.signal.reason).toBeInstanceOf(ClaimLost)
      await other.release(true)
      await lock.release(true)
    },
  )
})

/** Moves the false clock, with time for the database to answer in between. */
async function advance(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    await vi.advanceTimersByTimeAsync(Math.min(500, left))
    await sleep(10)
  }
}
