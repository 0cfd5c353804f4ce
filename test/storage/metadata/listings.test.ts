import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../../oci/digest.ts'
import { parseRepositoryName } from '../../../oci/reference.ts'
import {
  findBlob,
  findManifestOfBlob,
  linkBlobFrom,
  listRepositoriesOfBlob,
  unlinkBlob,
} from '../../../storage/metadata/blobs.ts'
import type { Pool } from '../../../storage/metadata/database.ts'
import { listReferrers } from '../../../storage/metadata/referrers.ts'
import { ensureRepository, listRepositories } from '../../../storage/metadata/repositories.ts'
import { listTags } from '../../../storage/metadata/tags.ts'
import { openTestDatabase, type TestDatabase } from '../../support/database.ts'
import { seedBlob, seedManifest, seedRepository } from './seed.ts'

let database: TestDatabase
let db: Pool

beforeAll(async () => {
  database = await openTestDatabase()
  db = database.pool
})
afterAll(() => database.close())

/** Every page of two, until one is empty. */
async function pagesOf(list: (page: { after: string; limit: number }) => Promise<string[]>) {
  const names: string[] = []
  for (;;) {
    const page = await list({ after: names.at(-1) ?? '', limit: 2 })
    if (page.length === 0) return names
    names.push(...page)
  }
}

describe('pages', () => {
  it('of tags are in byte order, whatever the locale says', async () => {
    const { id, name } = await seedRepository(db)
    const tags = ['b', 'A', '_x', 'a', 'B', '0', 'a.b', 'a-b', 'a_b', 'aB', 'Z', '10', '9']
    await seedManifest(db, id, 'tagged', { tags })
    const listed = await pagesOf(async (page) => (await listTags(db, name, page)) ?? [])
    expect(listed).toEqual(tags.toSorted(byteOrder))
  })

  it('of tags go on after a name that is not there', async () => {
    const { id, name } = await seedRepository(db)
    await seedManifest(db, id, 'tagged', { tags: ['a', 'c', 'e'] })
    expect(await listTags(db, name, { after: 'b', limit: 1 })).toEqual(['c'])
    expect(await listTags(db, name, { after: 'zzz', limit: 5 })).toEqual([])
    expect(await listTags(db, name, { after: '', limit: 0 })).toEqual([])
  })

  it('of tags are none for a repository that has none, and undefined for no repository', async () => {
    const { name } = await seedRepository(db)
    expect(await listTags(db, name, { after: '', limit: 5 })).toEqual([])
    const unknown = parseRepositoryName('no/such')
    expect(await listTags(db, unknown, { after: '', limit: 5 })).toBeUndefined()
  })

  it('of repositories are in byte order, and leave out those without a manifest', async () => {
    const names = ['p/b', 'p/a', 'p/a-b', 'p/a/b', 'p/a.b', 'p/0', 'p-q/x', 'p/a_b']
    for (const name of names) {
      const id = await ensureRepository(db, parseRepositoryName(name))
      await seedManifest(db, id, 'any')
    }
    await ensureRepository(db, parseRepositoryName('p/empty'))
    const listed = await pagesOf((page) => listRepositories(db, page, { all: [], none: [] }))
    expect(listed.filter((name) => name.startsWith('p'))).toEqual(names.toSorted(byteOrder))
  })

  it('of referrers are in push order and can be filtered', async () => {
    const { id, name } = await seedRepository(db)
    const subject = digestOf(Buffer.from('subject'))
    const pushed: string[] = []
    for (const [index, artifactType] of ['a/a', 'b/b', undefined, 'a/a'].entries()) {
      const text = `${9 - index}`
      pushed.push(
        await seedManifest(db, id, text, {
          subjectDigest: subject,
          artifactType,
          annotations: { n: text },
        }),
      )
    }
    const list = (artifactTypes: string[], after = '0', limit = 10) =>
      listReferrers(db, name, subject, { artifactTypes, after, limit, maxBytes: 100 })
    const all = await list([])
    expect(all.map(({ digest }) => digest)).toEqual(pushed)
    expect(all[0]).toMatchObject({ sizeBytes: 1, artifactType: 'a/a', annotations: { n: '9' } })
    expect(all[2]?.artifactType).toBeNull()
    expect((await list(['a/a'])).map(({ digest }) => digest)).toEqual([pushed[0], pushed[3]])
    expect(await list(['a/a', 'b/b'])).toHaveLength(3)
    expect(await list(['c/c'])).toEqual([])
    const rest = await list([], all[1]!.id, 1)
    expect(rest.map(({ digest }) => digest)).toEqual([pushed[2]])
  })
})

describe('a blob', () => {
  it('is seen only in repositories that are linked to it', async () => {
    const [mine, other] = [await seedRepository(db), await seedRepository(db)]
    const digest = await seedBlob(db, mine.id, `seen ${mine.name}`)
    const location = `at seen ${mine.name}`
    expect(await findBlob(db, mine.name, digest)).toMatchObject({ digest, location })
    expect(await findBlob(db, other.name, digest)).toBeUndefined()
  })

  it('is linked from a repository that has it, again without harm', async () => {
    const [from, to] = [await seedRepository(db), await seedRepository(db)]
    const text = `mounted ${from.name}`
    const digest = await seedBlob(db, from.id, text)
    expect(await linkBlobFrom(db, from.name, to, digest)).toBe(text.length)
    expect(await linkBlobFrom(db, from.name, to, digest)).toBe(text.length)
    expect(await findBlob(db, to.name, digest)).toBeDefined()
    expect(await listRepositoriesOfBlob(db, digest, 10)).toEqual([from.name, to.name])
    expect(await listRepositoriesOfBlob(db, digest, 1)).toEqual([from.name])
  })

  it('is not linked from one that does not serve it', async () => {
    const [from, to, owner] = [
      await seedRepository(db),
      await seedRepository(db),
      await seedRepository(db),
    ]
    const digest = await seedBlob(db, owner.id, `private ${owner.name}`)
    expect(await linkBlobFrom(db, from.name, to, digest)).toBeUndefined()
    expect(await linkBlobFrom(db, parseRepositoryName('no/such'), to, digest)).toBeUndefined()
    await db.query(`update blobs set state = 'deleting' where digest = $1`, [digest])
    expect(await linkBlobFrom(db, owner.name, to, digest)).toBeUndefined()
    expect(await findBlob(db, to.name, digest)).toBeUndefined()
  })

  it('is unlinked from one repository and stays in others', async () => {
    const [from, to] = [await seedRepository(db), await seedRepository(db)]
    const digest = await seedBlob(db, from.id, `unlinked ${from.name}`)
    await linkBlobFrom(db, from.name, to, digest)
    expect(await unlinkBlob(db, from.id, digest)).toBe(true)
    expect(await unlinkBlob(db, from.id, digest)).toBe(false)
    expect(await findBlob(db, from.name, digest)).toBeUndefined()
    expect(await findBlob(db, to.name, digest)).toBeDefined()
  })

  it('is needed by manifests of the same repository', async () => {
    const [mine, other] = [await seedRepository(db), await seedRepository(db)]
    const digest = await seedBlob(db, mine.id, `needed ${mine.name}`)
    const manifest = await seedManifest(db, mine.id, 'needs it', { blobs: [digest] })
    expect(await findManifestOfBlob(db, mine.id, digest)).toBe(manifest)
    expect(await findManifestOfBlob(db, other.id, digest)).toBeUndefined()
  })
})

function byteOrder(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right))
}
