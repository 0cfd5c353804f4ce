import { EventEmitter, once } from 'node:events'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LogFn } from 'pino'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { AuditTrail, type AuditTrailOptions } from '../../auth/audit.ts'
import { type AuditEvent, listAuditEvents } from '../../storage/metadata/audit.ts'
import { openPool, type Pool, type Queryable } from '../../storage/metadata/database.ts'
import { openDatabaseProxy } from '../durability/support/database-proxy.ts'
import { until } from '../durability/support/workspace.ts'
import { openTestDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
let db: Pool

beforeAll(async () => {
  database = await openTestDatabase()
  db = database.pool
})
beforeEach(async () => void (await db.query('truncate audit_events')))
afterAll(() => database.close())

function eventOf(target: string): AuditEvent {
  return { actor: 'user:alice', action: 'pull', target, result: 'done' }
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `${from + index}`)
}

function recordAll(trail: AuditTrail, names: readonly string[]): void {
  for (const name of names) trail.record(eventOf(name))
}

/** What was stored, in order: targets, and details where there is no target. */
async function stored(): Promise<(string | undefined)[]> {
  const events = await listAuditEvents(db, {}, { before: '', limit: 100_000 })
  return events.map(({ action, target, detail }) => target ?? `${action}: ${detail}`).toReversed()
}

/** The database, with a switch that takes it away, and a gate that holds it up. */
class Switched implements Queryable {
  away = false
  gate: Promise<unknown> = Promise.resolve()
  attempts = 0
  /** Sizes of what was written at once, and answered. */
  readonly batches: number[] = []

  readonly query: Queryable['query'] = async (statement) => {
    this.attempts++
    await this.gate
    if (this.away) throw new Error('Connection terminated unexpectedly')
    const result = await db.query(statement)
    const [first] = statement.values ?? []
    if (Array.isArray(first)) this.batches.push(first.length)
    return result
  }

  /** @returns what opens the gate again */
  shut(): () => void {
    const opened = new EventEmitter()
    this.gate = once(opened, 'open')
    return () => void opened.emit('open')
  }

  async failedTimes(times: number): Promise<void> {
    const before = this.attempts
    await until('attempts', () => this.attempts >= before + times)
  }
}

function openTrail(queryable: Queryable, options: Omit<AuditTrailOptions, 'log'> = {}) {
  const log: { fields: unknown; message: unknown }[] = []
  const warn: LogFn = (...[fields, message]: unknown[]) => void log.push({ fields, message })
  const trail = new AuditTrail(queryable, { log: { warn }, everyMs: 5, ...options })
  onTestFinished(() => trail.close())
  return { trail, log, messages: () => log.map(({ message }) => message) }
}

/** Timers that the process does not end before. */
function timersInUse(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
}

async function openProxied() {
  const { host, port, user, database: name } = database.connection
  const proxy = await openDatabaseProxy(path.join(host, `.s.PGSQL.${port}`))
  const connection = { host: '127.0.0.1', port: proxy.port, user, database: name }
  const pool = openPool({ connection, size: 2, onError: () => {} })
  onTestFinished(async () => {
    await proxy.close()
    await pool.end()
  })
  return { proxy, pool }
}

describe('an audit trail', () => {
  it('writes by itself, with the time of the event', async () => {
    const switched = new Switched()
    const { trail, log } = openTrail(switched)
    const before = Date.now()
    trail.record(eventOf('a'))
    const after = Date.now()
    expect(switched.attempts).toBe(0)
    await until('the event', async () => (await stored()).length === 1)
    const [event] = await listAuditEvents(db, {}, { before: '', limit: 1 })
    expect(event).toMatchObject(eventOf('a'))
    expect(event!.at.getTime()).toBeGreaterThanOrEqual(before)
    expect(event!.at.getTime()).toBeLessThanOrEqual(after)
    expect(log).toEqual([])
  })

  it('writes many in few statements, in order', async () => {
    const switched = new Switched()
    const { trail } = openTrail(switched)
    recordAll(trail, numbers(0, 1234))
    await until('all', async () => (await stored()).length === 1234)
    expect(switched.batches).toEqual([500, 500, 234])
    expect(await stored()).toEqual(numbers(0, 1234))
  })

  it('does not wait for its time when a batch is full', async () => {
    const switched = new Switched()
    const { trail } = openTrail(switched, { everyMs: 1_000_000 })
    recordAll(trail, numbers(0, 499))
    await sleep(20)
    expect(switched.attempts).toBe(0)
    recordAll(trail, numbers(499, 510))
    await until('the batch', () => switched.batches.length === 1)
    await sleep(20)
    expect(switched.batches).toEqual([500])
    expect(switched.attempts).toBe(1)
  })

  it('takes events in while it writes, and gathers them', async () => {
    const switched = new Switched()
    const open = switched.shut()
    const { trail } = openTrail(switched)
    recordAll(trail, ['0', '1'])
    await until('a write', () => switched.attempts === 1)
    recordAll(trail, numbers(2, 40))
    await sleep(20)
    expect(switched.attempts).toBe(1)
    open()
    await until('all', async () => (await stored()).length === 40)
    expect(switched.batches).toEqual([2, 38])
    expect(await stored()).toEqual(numbers(0, 40))
  })

  it('has no timer that keeps the process alive', () => {
    const { trail } = openTrail(new Switched())
    const before = timersInUse()
    trail.record(eventOf('a'))
    expect(timersInUse()).toBe(before)
  })

  it('survives events nobody should record, with the others of their batch', async () => {
    const { trail } = openTrail(db)
    const dirty = [
      'nul \0',
      'half \ud83e',
      'other half \udd9d',
      '\r\nforged',
      'x'.repeat(1_000_000),
    ]
    recordAll(trail, ['first', ...dirty, 'last'])
    await trail.close()
    const clean = ['nul �', 'half �', 'other half �', '��forged', `${'x'.repeat(511)}…`]
    expect(await stored()).toEqual(['first', ...clean, 'last'])
  })
})

describe('an audit trail without its database', () => {
  it('loses nothing, and keeps the order', async () => {
    const switched = new Switched()
    const { trail, messages } = openTrail(switched)
    recordAll(trail, numbers(0, 10))
    await until('the first', async () => (await stored()).length === 10)
    switched.away = true
    recordAll(trail, numbers(10, 700))
    await switched.failedTimes(2)
    recordAll(trail, numbers(700, 1300))
    await switched.failedTimes(2)
    switched.away = false
    await until('all', async () => (await stored()).length >= 1300)
    expect(await stored()).toEqual(numbers(0, 1300))
    expect(messages()).toEqual(['audit events have to wait'])
  })

  it('does not ask for it more often because events arrive', async () => {
    const switched = new Switched()
    switched.away = true
    const { trail } = openTrail(switched, { everyMs: 200 })
    recordAll(trail, ['0'])
    await switched.failedTimes(1)
    for (let start = 1; start < 2001; start += 100) {
      recordAll(trail, numbers(start, start + 100))
      await sleep(1)
    }
    expect(switched.attempts).toBeLessThan(3)
    switched.away = false
    await trail.close()
    expect(await stored()).toEqual(numbers(0, 2001))
  })

  it('drops what is too much, and says so where it is missing', async () => {
    const switched = new Switched()
    switched.away = true
    const { trail, log, messages } = openTrail(switched, { most: 600 })
    recordAll(trail, numbers(0, 750))
    await switched.failedTimes(2)
    recordAll(trail, numbers(750, 760))
    switched.away = false
    await until('the confession', () => messages().length === 2)
    recordAll(trail, ['later'])
    await trail.close()
    expect(await stored()).toEqual([...numbers(0, 600), 'audit.dropped: 160 events', 'later'])
    const [dropped] = await listAuditEvents(
      db,
      { action: 'audit.dropped' },
      { before: '', limit: 9 },
    )
    expect(dropped).toMatchObject({ actor: undefined, result: 'failed' })
    expect(log.slice(1)).toEqual([{ fields: { dropped: 160 }, message: 'audit events dropped' }])
  })

  it('tells of each time that it dropped some', async () => {
    const switched = new Switched()
    const { trail, messages } = openTrail(switched, { most: 5 })
    for (const round of [0, 1]) {
      switched.away = true
      recordAll(trail, numbers(10 * round, 10 * round + 8))
      await switched.failedTimes(1)
      switched.away = false
      await until('the rest and a word', () => switched.batches.length === 2 * round + 2)
    }
    const lost = 'audit.dropped: 3 events'
    expect(await stored()).toEqual([...numbers(0, 5), lost, ...numbers(10, 15), lost])
    const said = ['audit events have to wait', 'audit events dropped']
    expect(messages()).toEqual([...said, ...said])
  })

  it('goes on over new connections when it is back', async () => {
    const { proxy, pool } = await openProxied()
    const { trail, messages } = openTrail(pool)
    recordAll(trail, ['0'])
    await until('the first', async () => (await stored()).length === 1)
    await proxy.refuse()
    recordAll(trail, numbers(1, 20))
    await until('a failure', () => messages().length === 1)
    await proxy.restore()
    await until('all', async () => (await stored()).length === 20)
    expect(await stored()).toEqual(numbers(0, 20))
  })
})

describe('closing an audit trail', () => {
  it('writes what is left, once', async () => {
    const switched = new Switched()
    const { trail, messages } = openTrail(switched, { everyMs: 1_000_000 })
    recordAll(trail, numbers(0, 1200))
    await Promise.all([trail.close(), trail.close()])
    await trail.close()
    expect(await stored()).toEqual(numbers(0, 1200))
    expect(switched.batches).toEqual([500, 500, 200])
    trail.record(eventOf('late'))
    expect(messages()).toEqual(['audit event after the end, not written'])
  })

  it('waits for the batch on its way and what came behind it', async () => {
    const switched = new Switched()
    const open = switched.shut()
    const { trail } = openTrail(switched)
    recordAll(trail, ['0'])
    await until('a write', () => switched.attempts === 1)
    recordAll(trail, ['1'])
    const closed = trail.close()
    recordAll(trail, ['2'])
    open()
    await closed
    expect(await stored()).toEqual(['0', '1', '2'])
    expect(switched.batches).toEqual([1, 2])
  })

  it('tries again when the database comes back in time', async () => {
    const switched = new Switched()
    switched.away = true
    const { trail } = openTrail(switched)
    recordAll(trail, numbers(0, 3))
    const closed = trail.close()
    await switched.failedTimes(1)
    switched.away = false
    await closed
    expect(await stored()).toEqual(numbers(0, 3))
  })

  it('ends when the database does not answer, and says what is lost', async () => {
    const { proxy, pool } = await openProxied()
    await pool.query('select 1')
    const hanging = openTrail(pool, { most: 5 })
    proxy.hang()
    const switched = new Switched()
    switched.away = true
    const refused = openTrail(switched)
    recordAll(hanging.trail, numbers(0, 7))
    recordAll(refused.trail, numbers(0, 4))
    await Promise.all([hanging.trail.close(), refused.trail.close()])
    const message = 'audit events not written before the end'
    expect(hanging.log).toEqual([{ fields: { lost: 7 }, message }])
    expect(refused.log.at(-1)).toEqual({ fields: { lost: 4 }, message })
    const { attempts } = switched
    await sleep(250)
    expect(switched.attempts).toBe(attempts)
  })
})
