import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { type Pool, type Transaction, transaction } from '../../../storage/metadata/database.ts'
import {
  deleteUpstream,
  insertUpstream,
  listUpstreams,
  lockUpstreams,
  updateUpstream,
} from '../../../storage/metadata/upstreams.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'

let database: TestDatabase
let db: Pool

beforeAll(async () => {
  database = await openTestDatabase()
  db = database.pool
})
beforeEach(async () => void (await db.query('truncate upstreams')))
afterAll(() => database.close())

const HUB = { name: 'docker.io', definition: { maxBytes: 5, allow: ['a/**'] } }

function insert(name: string, definition: unknown = {}): Promise<boolean> {
  return transaction(db, (tx) => insertUpstream(tx, { name, definition }))
}

it('upstreams are listed as they were stored, in byte order', async () => {
  expect(await listUpstreams(db)).toEqual([])
  for (const name of ['quay.io', 'ghcr.io', 'a_b']) expect(await insert(name)).toBe(true)
  expect(await insert(HUB.name, HUB.definition)).toBe(true)
  const listed = await listUpstreams(db)
  expect(listed.map(({ name }) => name)).toEqual(['a_b', 'docker.io', 'ghcr.io', 'quay.io'])
  expect(listed[1]).toEqual({ ...HUB, createdAt: expect.any(Date) })
})

it('an upstream stays as it is when another one of its name comes', async () => {
  expect(await insert('docker.io', HUB.definition)).toBe(true)
  expect(await insert('docker.io', { maxBytes: 6 })).toBe(false)
  expect(await listUpstreams(db)).toMatchObject([HUB])
})

it('an upstream is changed and deleted, once, and no other', async () => {
  await insert('docker.io')
  await insert('ghcr.io')
  const change = (name: string) =>
    transaction(db, (tx) => updateUpstream(tx, { name, definition: { reserve: 1 } }))
  expect(await change('docker.io')).toBe(true)
  expect(await change('quay.io')).toBe(false)
  expect(await listUpstreams(db)).toMatchObject([
    { name: 'docker.io', definition: { reserve: 1 } },
    { name: 'ghcr.io', definition: {} },
  ])
  const remove = () => transaction(db, (tx) => deleteUpstream(tx, 'docker.io'))
  expect(await remove()).toBe(true)
  expect(await remove()).toBe(false)
  expect(await listUpstreams(db)).toMatchObject([{ name: 'ghcr.io' }])
})

it('one change at a time sees the others, and readers wait for none', async () => {
  const order: string[] = []
  const change = (name: string, whileLocked: (tx: Transaction) => Promise<void>) =>
    transaction(db, async (tx) => {
      await lockUpstreams(tx)
      order.push(`${name} sees ${(await listUpstreams(tx)).length}`)
      await whileLocked(tx)
      await insertUpstream(tx, { name, definition: {} })
    })
  let second: Promise<void> | undefined
  await change('first', async () => {
    second = change('second', async () => {})
    await waitForLock()
    expect(await listUpstreams(db)).toEqual([])
  })
  await second
  expect(order).toEqual(['first sees 0', 'second sees 1'])
})

async function waitForLock(): Promise<void> {
  for (;;) {
    const { rows } = await db.query(
      `select from pg_locks where relation = 'upstreams'::regclass and not granted`,
    )
    if (rows.length > 0) return
  }
}
