import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../../oci/digest.ts'
import { parseReference } from '../../../oci/reference.ts'
import { type Pool, transaction } from '../../../storage/metadata/database.ts'
import {
  deleteManifest,
  findManifest,
  findParent,
  lockContent,
} from '../../../storage/metadata/manifests.ts'
import { listReferrers } from '../../../storage/metadata/referrers.ts'
import { findTag } from '../../../storage/metadata/tags.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'
import { seedBlob, seedManifest, seedRepository } from './seed.ts'

let database: TestDatabase
let db: Pool

beforeAll(async () => {
  database = await openTestDatabase()
  db = database.pool
})
afterAll(() => database.close())

const absent = digestOf(Buffer.from('absent'))

describe('the content a manifest names', () => {
  it('is found and locked only where the repository has it', async () => {
    const mine = await seedRepository(db)
    const other = await seedRepository(db)
    const blob = await seedBlob(db, mine.id, `mine ${mine.name}`)
    const foreign = await seedBlob(db, other.id, `foreign ${mine.name}`)
    const child = await seedManifest(db, mine.id, 'child')
    const foreignChild = await seedManifest(db, other.id, 'foreign child')
    const there = await transaction(db, (tx) =>
      lockContent(tx, mine.id, [blob, foreign, absent, blob], [child, foreignChild, absent]),
    )
    expect(there).toEqual({ blobs: new Set([blob]), manifests: new Set([child]) })
  })

  it('is not there while the blob is being deleted', async () => {
    const { id } = await seedRepository(db)
    const blob = await seedBlob(db, id, `dying ${id}`)
    await db.query(`update blobs set state = 'deleting' where digest = $1`, [blob])
    const there = await transaction(db, (tx) => lockContent(tx, id, [blob], []))
    expect(there.blobs.size).toBe(0)
  })

  it('may be nothing at all', async () => {
    const { id } = await seedRepository(db)
    const there = await transaction(db, (tx) => lockContent(tx, id, [], []))
    expect(there).toEqual({ blobs: new Set(), manifests: new Set() })
  })

  it('cannot be deleted before the transaction ends', async () => {
    const { id } = await seedRepository(db)
    const blob = await seedBlob(db, id, `held ${id}`)
    const child = await seedManifest(db, id, 'held child')
    await transaction(db, async (tx) => {
      await lockContent(tx, id, [blob], [child])
      for (const statement of [
        'delete from repository_blobs where digest = $1',
        'select from blobs where digest = $1 for update nowait',
        'delete from manifests where digest = $1',
      ]) {
        const digest = statement.includes('manifests') ? child : blob
        await expect(impatiently(statement, digest)).rejects.toMatchObject({ code: '55P03' })
      }
    })
  })

  it('can be locked by many at once', async () => {
    const { id } = await seedRepository(db)
    const blob = await seedBlob(db, id, `shared ${id}`)
    await transaction(db, async (tx) => {
      await lockContent(tx, id, [blob], [])
      const there = await transaction(db, (other) => lockContent(other, id, [blob], []))
      expect(there.blobs.size).toBe(1)
    })
  })
})

describe('a manifest', () => {
  it('is found by digest and by tag, as it was pushed', async () => {
    const { id, name } = await seedRepository(db)
    const digest = await seedManifest(db, id, '{ "a": 1 }', { tags: ['one', 'two'] })
    for (const reference of [digest, 'one', 'two']) {
      const found = await findManifest(db, name, parseReference(reference))
      expect(found).toMatchObject({ digest, bytes: Buffer.from('{ "a": 1 }') })
    }
    expect(await findManifest(db, name, parseReference('three'))).toBeUndefined()
    const elsewhere = await seedRepository(db)
    expect(await findManifest(db, elsewhere.name, parseReference(digest))).toBeUndefined()
  })

  it('pushed again keeps its row and takes the newest media type', async () => {
    const { id, name } = await seedRepository(db)
    const subject = digestOf(Buffer.from('subject'))
    const digest = await seedManifest(db, id, 'twice', { subjectDigest: subject, mediaType: 'a/a' })
    await seedManifest(db, id, 'later', { subjectDigest: subject })
    const before = await db.query('select id, pushed_at from manifests where digest = $1', [digest])
    await seedManifest(db, id, 'twice', {
      subjectDigest: subject,
      mediaType: 'b/b',
      tags: ['again'],
    })
    const after = await db.query('select id, pushed_at from manifests where digest = $1', [digest])
    expect(after.rows).toEqual(before.rows)
    expect((await findManifest(db, name, parseReference('again')))?.mediaType).toBe('b/b')
    const page = { artifactTypes: [], after: '0', limit: 10, maxBytes: 100 }
    const referrers = await listReferrers(db, name, subject, page)
    expect(referrers.map((referrer) => referrer.digest)[0]).toBe(digest)
  })

  it('takes digests that it names twice', async () => {
    const { id } = await seedRepository(db)
    const blob = digestOf(Buffer.from('twice'))
    await seedManifest(db, id, 'doubles', {
      blobs: [blob, blob],
      children: [blob, blob],
      tags: ['t', 't'],
    })
    const { rows } = await db.query(
      `select (select count(*) from manifest_blobs where digest = $1)::int as blobs,
              (select count(*) from manifest_children where digest = $1)::int as children`,
      [blob],
    )
    expect(rows).toEqual([{ blobs: 1, children: 1 }])
  })

  it('takes all of its tags or none', async () => {
    const { id, name } = await seedRepository(db)
    await db.query(`create function refuse() returns trigger language plpgsql
      as $$ begin raise exception 'refused'; end $$`)
    await db.query(`create trigger refuse before insert on tags
      for each row when (new.name = 'wrong') execute function refuse()`)
    await expect(seedManifest(db, id, 'atomic', { tags: ['right', 'wrong'] })).rejects.toThrow(
      'refused',
    )
    await db.query('drop function refuse() cascade')
    expect(await findTag(db, name, parseTagOf('right'))).toBeUndefined()
    const digest = digestOf(Buffer.from('atomic'))
    expect(await findManifest(db, name, { kind: 'digest', digest })).toBeUndefined()
  })

  it('moves a tag, and leaves the manifest it named', async () => {
    const { id, name } = await seedRepository(db)
    const first = await seedManifest(db, id, 'first', { tags: ['t'] })
    const second = await seedManifest(db, id, 'second', { tags: ['t'] })
    expect(await findTag(db, name, parseTagOf('t'))).toBe(second)
    expect(await findManifest(db, name, parseReference(first))).toBeDefined()
  })

  it('is deleted with its tags, and with nothing else', async () => {
    const { id, name } = await seedRepository(db)
    const doomed = await seedManifest(db, id, 'doomed', { tags: ['a', 'b'], blobs: [absent] })
    const kept = await seedManifest(db, id, 'kept', { tags: ['c'] })
    const tags = await transaction(db, (tx) => deleteManifest(tx, id, doomed, undefined))
    expect(tags?.toSorted()).toEqual(['a', 'b'])
    expect(await findTag(db, name, parseTagOf('a'))).toBeUndefined()
    expect(await findTag(db, name, parseTagOf('c'))).toBe(kept)
    const again = await transaction(db, (tx) => deleteManifest(tx, id, doomed, undefined))
    expect(again).toBeUndefined()
  })

  it('has the index that lists it for a parent, not itself', async () => {
    const { id } = await seedRepository(db)
    const child = await seedManifest(db, id, 'a child')
    expect(await findParent(db, id, child)).toBeUndefined()
    const index = await seedManifest(db, id, 'an index', { children: [child] })
    expect(await findParent(db, id, child)).toBe(index)
    const elsewhere = await seedRepository(db)
    expect(await findParent(db, elsewhere.id, child)).toBeUndefined()
  })
})

function parseTagOf(text: string) {
  const reference = parseReference(text)
  if (reference.kind !== 'tag') throw new Error(`${text} is no tag`)
  return reference.tag
}

async function impatiently(statement: string, digest: string): Promise<void> {
  await transaction(db, async (tx) => {
    await tx.query({ text: `set local lock_timeout = '50ms'` })
    await tx.query({ text: statement, values: [digest] })
  })
}
