import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type AuditEvent,
  type AuditFilter,
  insertAuditEvents,
  listAuditEvents,
  pruneAuditEvents,
} from '../../../storage/metadata/audit.ts'
import {
  type Pool,
  type Queryable,
  type Statement,
  transaction,
} from '../../../storage/metadata/database.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'

let database: TestDatabase
let db: Pool

beforeAll(async () => {
  database = await openTestDatabase()
  db = database.pool
})
// Truncating is what no trigger of the table refuses.
beforeEach(async () => void (await db.query('truncate audit_events')))
afterAll(() => database.close())

const WHOLE = { before: '', limit: 100_000 }

function eventOf(event: Partial<AuditEvent> = {}): AuditEvent {
  return { actor: 'user:alice', action: 'push', result: 'done', ...event }
}

function eventsOf(count: number, from = 0): AuditEvent[] {
  return Array.from({ length: count }, (_, index) => eventOf({ target: `${from + index}` }))
}

/** Events that happened so many days ago. */
function aged(days: readonly number[]) {
  return days.map((day) => ({
    ...eventOf({ target: `${day}` }),
    at: new Date(Date.now() - day * 86_400_000),
  }))
}

/** How Postgres goes about the statement that listing sends. */
async function planOf(filter: AuditFilter, before: string): Promise<string> {
  const plans: string[] = []
  const explaining: Queryable = {
    query: async (statement: Statement) => {
      expect(statement).not.toHaveProperty('name')
      const text = `explain (costs off) ${statement.text}`
      const { rows } = await db.query<{ 'QUERY PLAN': string }>({ ...statement, text })
      plans.push(...rows.map((row) => row['QUERY PLAN']))
      return db.query(statement)
    },
  }
  await listAuditEvents(explaining, filter, { before, limit: 50 })
  return plans.join('\n')
}

/** Targets of all that match, the oldest first. */
async function targets(filter: AuditFilter = {}): Promise<(string | undefined)[]> {
  const events = await listAuditEvents(db, filter, WHOLE)
  return events.map((event) => event.target).toReversed()
}

function numbersTo(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${index}`)
}

describe('audit events', () => {
  it('are listed as they were written', async () => {
    const at = new Date('2026-01-02T03:04:05.678Z')
    const full = {
      ...eventOf({ repository: 'a/b', target: 'latest', address: '::1' }),
      requestId: 'r-1',
      detail: 'because',
      at,
    }
    await insertAuditEvents(db, [full, { actor: undefined, action: 'login', result: 'denied' }])
    const [newer, older] = await listAuditEvents(db, {}, WHOLE)
    expect(older).toEqual({ ...full, id: expect.stringMatching(/^\d+$/) })
    expect(newer).toMatchObject({ actor: undefined, action: 'login', result: 'denied' })
    expect(newer).toHaveProperty('detail', undefined)
    expect(Math.abs(newer!.at.getTime() - Date.now())).toBeLessThan(60_000)
  })

  it.each<[string, AuditFilter, string[]]>([
    ['nothing', {}, ['0', '1', '2', '3', '4']],
    ['actor', { actor: 'user:bob' }, ['1', '3']],
    ['action', { action: 'delete' }, ['2', '3']],
    ['repository', { repository: 'x/y' }, ['0', '3', '4']],
    ['result', { result: 'denied' }, ['3', '4']],
    ['address', { address: '10.0.0.2' }, ['1', '2']],
    ['since, inclusive', { since: new Date(3000) }, ['3', '4']],
    ['until, exclusive', { until: new Date(3000) }, ['0', '1', '2']],
    ['a span', { since: new Date(1000), until: new Date(3000) }, ['1', '2']],
    ['actor and action', { actor: 'user:bob', action: 'delete' }, ['3']],
    ['repository and result', { repository: 'x/y', result: 'done' }, ['0']],
    ['actor and time', { actor: 'user:alice', since: new Date(1000) }, ['2', '4']],
    ['what nobody did', { actor: 'user:alice', result: 'failed' }, []],
    [
      'everything',
      {
        actor: 'user:bob',
        action: 'delete',
        repository: 'x/y',
        result: 'denied',
        address: '10.0.0.1',
        since: new Date(3000),
        until: new Date(3001),
      },
      ['3'],
    ],
  ])('are filtered by %s', async (_, filter, expected) => {
    const [bob, address] = ['user:bob', '10.0.0.1']
    const events: Partial<AuditEvent>[] = [
      { repository: 'x/y', address },
      { actor: bob, address: '10.0.0.2' },
      { action: 'delete', address: '10.0.0.2', repository: 'x' },
      { actor: bob, action: 'delete', repository: 'x/y', result: 'denied', address },
      { repository: 'x/y', result: 'denied', address },
    ]
    const timed = events.map((event, index) => ({
      ...eventOf({ ...event, target: `${index}` }),
      at: new Date(1000 * index),
    }))
    await insertAuditEvents(db, timed)
    expect(await targets(filter)).toEqual(expected)
  })

  it('come in pages without gaps or repeats while new ones arrive', async () => {
    await insertAuditEvents(db, eventsOf(25))
    const seen: (string | undefined)[] = []
    for (let before = ''; ; ) {
      const page = await listAuditEvents(db, { actor: 'user:alice' }, { before, limit: 4 })
      if (page.length === 0) break
      seen.push(...page.map((event) => event.target))
      before = page.at(-1)!.id
      await insertAuditEvents(db, eventsOf(3, 100))
    }
    expect(seen).toEqual(numbersTo(25).toReversed())
  })

  it('go with the transaction they are written in', async () => {
    const failing = transaction(db, async (tx) => {
      await insertAuditEvents(tx, eventsOf(2))
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await transaction(db, (tx) => insertAuditEvents(tx, eventsOf(1, 7)))
    await insertAuditEvents(db, [])
    expect(await targets()).toEqual(['7'])
  })

  it.each(['update audit_events set actor = null', 'delete from audit_events'])(
    'are not changed: the database refuses "%s"',
    async (statement) => {
      await insertAuditEvents(db, eventsOf(2))
      await expect(db.query(statement)).rejects.toThrow('audit events are not changed')
      expect(await targets()).toEqual(['0', '1'])
    },
  )

  it('are stored without what Postgres or a reader stumbles over', async () => {
    const dirty = 'a\0b\r\nc\u001b[31m\u0085\u2028\u202e\ud800x\udc00'
    const clean = 'a�b��c�[31m����x�'
    const fields = { action: dirty, repository: dirty, target: dirty, address: dirty }
    const event = { ...fields, actor: dirty, requestId: dirty, detail: dirty }
    await insertAuditEvents(db, [eventOf(event), eventOf({ target: 'größe 🦭 "q" \\ {,}' })])
    const [other, stored] = await listAuditEvents(db, {}, WHOLE)
    for (const field of Object.keys(event)) expect(stored).toHaveProperty(field, clean)
    expect(other?.target).toBe('größe 🦭 "q" \\ {,}')
    expect(await listAuditEvents(db, { actor: dirty, repository: dirty }, WHOLE)).toHaveLength(1)
  })

  it('have texts of limited length, and always fit the indexes', async () => {
    // Of three bytes each, and such that the database cannot compress them.
    const huge = Array.from({ length: 100_000 }, (_, index) =>
      String.fromCodePoint(0x4e00 + ((index * 7919) % 20_000)),
    ).join('')
    const event = { actor: huge, action: huge, repository: huge, target: huge, address: huge }
    await insertAuditEvents(db, [eventOf({ ...event, requestId: huge, detail: huge })])
    const [stored] = await listAuditEvents(db, { actor: huge }, WHOLE)
    expect(stored?.target).toBe(`${huge.slice(0, 511)}…`)
    const lengths = [stored?.actor, stored?.repository, stored?.detail].map((text) => text?.length)
    expect(lengths).toEqual([512, 255, 512])
    await insertAuditEvents(db, [eventOf({ target: `${'-'.repeat(510)}🦭🦭` })])
    const [halved] = await listAuditEvents(db, {}, WHOLE)
    expect(halved?.target).toBe(`${'-'.repeat(510)}�…`)
  })
})

describe('200,000 audit events', () => {
  beforeEach(async () => {
    await db.query(`
      insert into audit_events (at, actor, action, repository, result)
      select now() - make_interval(secs => 200000 - n), 'user:' || (sqrt(n)::int % 300),
             (array['pull', 'pull', 'pull', 'push', 'delete', 'login'])[1 + n * 7919::bigint % 6],
             'team/' || (n * 104729::bigint % 2000), 'done'
      from generate_series(1, 200000) n`)
    await db.query('analyze audit_events')
  })

  it('are listed by way of an index', async () => {
    const [newest] = await listAuditEvents(db, {}, { before: '', limit: 1 })
    const middle = `${Number(newest!.id) - 100_000}`
    const filters: [AuditFilter, RegExp][] = [
      [{}, /^Limit\n +->  Index Scan Backward using audit_events_pkey/],
      [{ actor: 'user:7' }, /audit_events_by_actor|audit_events_pkey/],
      [{ actor: 'user:none' }, /audit_events_by_actor/],
      [{ repository: 'team/7' }, /audit_events_by_repository/],
      [{ action: 'pull' }, /^Limit\n +->  Index Scan Backward/],
      [{ action: 'sign' }, /audit_events_by_action/],
      [{ repository: 'team/7', action: 'push' }, /audit_events_by_repository/],
    ]
    for (const [filter, index] of filters) {
      for (const before of ['', middle]) {
        const plan = await planOf(filter, before)
        expect(plan).toMatch(index)
        expect(plan).not.toContain('Seq Scan')
      }
    }
  })
})

describe('pruning', () => {
  it('deletes what is older, and nothing else', async () => {
    await insertAuditEvents(db, aged([40, 1, 31, 29, 90, 0]))
    expect(await pruneAuditEvents(db, 30)).toBe(3)
    expect(await targets()).toEqual(['1', '29', '0'])
    expect(await pruneAuditEvents(db, 30)).toBe(0)
    await expect(db.query('delete from audit_events')).rejects.toThrow('not changed')
  })

  it('goes in batches from the oldest on, each a transaction', async () => {
    await db.query(`
      create table prunes (transaction xid8 unique, events int, oldest timestamptz);
      create function note_prune() returns trigger language plpgsql as $$
      begin
        insert into prunes select pg_current_xact_id(), count(*), min(at) from old_rows;
        return null;
      end $$;
      create trigger notes_prune after delete on audit_events
        referencing old table as old_rows for each statement execute function note_prune()`)
    await insertAuditEvents(db, aged([...Array.from({ length: 25 }, (_, index) => 50 + index), 1]))
    expect(await pruneAuditEvents(db, 30, 10)).toBe(25)
    const { rows } = await db.query('select events from prunes order by oldest')
    expect(rows).toEqual([{ events: 10 }, { events: 10 }, { events: 5 }])
    expect(await targets()).toEqual(['1'])
    await db.query('drop trigger notes_prune on audit_events')
  })

  it('ends after a number of whole batches, and when it is told to', async () => {
    await insertAuditEvents(db, aged(Array.from({ length: 20 }, () => 50)))
    expect(await pruneAuditEvents(db, 30, 10, AbortSignal.abort())).toBe(0)
    expect(await pruneAuditEvents(db, 30, 10)).toBe(20)
  })

  it('neither waits for what another process deletes nor deletes it twice', async () => {
    await insertAuditEvents(db, aged([60, 50, 40]))
    const held = await db.connect()
    await held.query('begin')
    await held.query('select 1 from audit_events order by at limit 1 for update')
    expect(await pruneAuditEvents(db, 30)).toBe(2)
    await held.query('rollback')
    held.release()
    const counts = await Promise.all([pruneAuditEvents(db, 30), pruneAuditEvents(db, 30)])
    expect(counts[0] + counts[1]).toBe(1)
  })
})
