import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseTag } from '../../../oci/reference.ts'
import { type Pool, transaction } from '../../../storage/metadata/database.ts'
import { deleteManifest } from '../../../storage/metadata/manifests.ts'
import { deleteRepository, type RepositoryId } from '../../../storage/metadata/repositories.ts'
import { deleteTag } from '../../../storage/metadata/tags.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'
import { seedManifest, seedRepository } from './seed.ts'

let database: TestDatabase
let db: Pool

beforeAll(async () => {
  database = await openTestDatabase()
  db = database.pool
})
afterAll(() => database.close())

async function eventsOf(id: RepositoryId): Promise<object[]> {
  const { rows } = await db.query<object>(
    `select name, from_digest as "from", to_digest as "to", actor
     from tag_events where repository_id = $1 order by id`,
    [id],
  )
  return rows
}

describe('the history of a tag', () => {
  it('begins when it is new, and tells who made it', async () => {
    const { id } = await seedRepository(db)
    const digest = await seedManifest(db, id, 'one', { tags: ['t'], pushedBy: 'ann' })
    expect(await eventsOf(id)).toEqual([{ name: 't', from: null, to: digest, actor: 'ann' }])
  })

  it('tells from where to where it moved', async () => {
    const { id } = await seedRepository(db)
    const one = await seedManifest(db, id, 'one', { tags: ['t'] })
    const two = await seedManifest(db, id, 'two', { tags: ['t'], pushedBy: 'bob' })
    expect((await eventsOf(id))[1]).toEqual({ name: 't', from: one, to: two, actor: 'bob' })
  })

  it('stays as it is when the same digest is pushed again', async () => {
    const { id } = await seedRepository(db)
    await seedManifest(db, id, 'one', { tags: ['t'] })
    await seedManifest(db, id, 'one', { tags: ['t'] })
    expect(await eventsOf(id)).toHaveLength(1)
  })

  it('has an event for each of several tags', async () => {
    const { id } = await seedRepository(db)
    await seedManifest(db, id, 'one', { tags: ['b', 'a', 'c'] })
    expect(await eventsOf(id)).toHaveLength(3)
  })

  it('tells what a deleted tag named, and who deleted it', async () => {
    const { id } = await seedRepository(db)
    const one = await seedManifest(db, id, 'one', { tags: ['t', 'u'] })
    expect(await transaction(db, (tx) => deleteTag(tx, id, parseTag('t'), 'carl'))).toBe(true)
    expect((await eventsOf(id)).at(-1)).toEqual({ name: 't', from: one, to: null, actor: 'carl' })
    expect(await transaction(db, (tx) => deleteTag(tx, id, parseTag('t'), 'carl'))).toBe(false)
    expect(await eventsOf(id)).toHaveLength(3)
  })

  it('tells of each tag that went with its manifest', async () => {
    const { id } = await seedRepository(db)
    const one = await seedManifest(db, id, 'one', { tags: ['t', 'u'] })
    await transaction(db, (tx) => deleteManifest(tx, id, one, 'dora'))
    const events = (await eventsOf(id)).slice(2)
    expect(events).toHaveLength(2)
    expect(events).toContainEqual({ name: 't', from: one, to: null, actor: 'dora' })
    expect(events).toContainEqual({ name: 'u', from: one, to: null, actor: 'dora' })
  })

  it('does not name the actor of another transaction on the same connection', async () => {
    const { id } = await seedRepository(db)
    const one = await seedManifest(db, id, 'one', { tags: ['t', 'u'] })
    await transaction(db, (tx) => deleteTag(tx, id, parseTag('t'), 'erna'))
    await transaction(db, (tx) => deleteTag(tx, id, parseTag('u'), undefined))
    expect((await eventsOf(id)).at(-1)).toEqual({ name: 'u', from: one, to: null, actor: null })
  })

  it('goes with its repository', async () => {
    const { id, name } = await seedRepository(db)
    await seedManifest(db, id, 'one', { tags: ['t'] })
    const remove = () => transaction(db, (tx) => deleteRepository(tx, name))
    expect(await remove()).toBe(true)
    expect(await eventsOf(id)).toEqual([])
    expect(await remove()).toBe(false)
  })
})
