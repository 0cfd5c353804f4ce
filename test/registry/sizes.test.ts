import { assert, asyncProperty } from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseRepositoryName, parseTag } from '../../oci/reference.ts'
import {
  freedBy,
  requireSelection,
  sizeOfRepository,
  sizesOfRepositories,
  sizesOfTags,
} from '../../registry/sizes.ts'
import type { Pool } from '../../storage/metadata/database.ts'
import { seedBlob, seedManifest, seedRepository } from '../storage/metadata/seed.ts'
import { openTestDatabase, type TestDatabase } from '../support/database.ts'
import { seedContent, someContent } from './sizes-content.ts'
import { bytesOf, countOf, freedIn, pulledWith, storedBlobs } from './sizes-model.ts'

let database: TestDatabase
let db: Pool

beforeAll(async () => {
  database = await openTestDatabase()
  db = database.pool
})
afterAll(() => database.close())

const NOTHING = { repositories: [], tags: [], manifests: [] }
const ALL = { after: '', limit: 100 }

const byName = (one: { name: string }, other: { name: string }) => (one.name < other.name ? -1 : 1)

describe('of whatever content', () => {
  it('a selection frees what its definition says', async () => {
    await assert(
      asyncProperty(someContent, async ({ content, selection }) => {
        await seedContent(db, content)
        expect(await freedBy(db, selection)).toEqual(countOf(freedIn(content, selection)))
      }),
      { numRuns: 150 },
    )
  })

  it('sizes of tags and repositories are those of their definition', async () => {
    await assert(
      asyncProperty(someContent, async ({ content }) => {
        await seedContent(db, content)
        for (const repository of content.repositories) {
          const { name } = repository
          if (repository.kind === 'deleted') continue
          const mine = content.manifests.filter(
            (each) => each.repository === repository && !each.isDeleted,
          )
          const tags = content.tags
            .filter((each) => each.repository === repository)
            .toSorted(byName)
          const blobs = storedBlobs(content, mine)
          const totalBytes = bytesOf(mine, blobs)
          const uniqueBytes = countOf(freedIn(content, { ...NOTHING, repositories: [name] })).bytes
          expect(await sizeOfRepository(db, name)).toEqual({
            name,
            tags: tags.length,
            manifests: mine.length,
            blobs: blobs.length,
            totalBytes,
            uniqueBytes,
            sharedBytes: totalBytes - uniqueBytes,
          })
          const expected = tags.map((tag) => {
            const pulled = pulledWith(content, tag)
            const stored = storedBlobs(content, pulled)
            const freed = freedIn(content, {
              ...NOTHING,
              tags: [{ repository: name, tag: tag.name }],
            })
            const total = bytesOf(pulled, stored)
            const unique = bytesOf(
              freed.manifests.filter((each) => pulled.includes(each)),
              freed.blobs.filter((each) => stored.includes(each)),
            )
            return {
              tag: tag.name,
              digest: tag.digest,
              totalBytes: total,
              uniqueBytes: unique,
              sharedBytes: total - unique,
              freedBytes: countOf(freed).bytes,
            }
          })
          expect(await sizesOfTags(db, name, ALL)).toEqual(expected)
        }
      }),
      { numRuns: 40 },
    )
  })
})

describe('sizes', () => {
  it('of two images over one base share it, and together free it', async () => {
    const { id, name } = await seedRepository(db)
    const base = await seedBlob(db, id, `base of ${name}`)
    const [one, two] = [await seedBlob(db, id, `one${name}`), await seedBlob(db, id, `two${name}`)]
    await seedManifest(db, id, `1${name}`, { blobs: [base, one], tags: ['one', 'again'] })
    await seedManifest(db, id, `2${name}`, { blobs: [base, two], tags: ['two'] })
    const shared = `base of ${name}`.length
    const own = `one${name}`.length + `1${name}`.length
    const sizes = await sizesOfTags(db, name, ALL)
    expect(
      sizes.map(({ tag, uniqueBytes, sharedBytes }) => [tag, uniqueBytes, sharedBytes]),
    ).toEqual([
      ['again', 0, shared + own],
      ['one', 0, shared + own],
      ['two', own, shared],
    ])
    const tag = (text: string) => ({ repository: name, tag: parseTag(text) })
    const both = { ...NOTHING, tags: [tag('one'), tag('again')] }
    expect(await freedBy(db, both)).toEqual({ manifests: 1, blobs: 1, bytes: own })
    const all = { ...NOTHING, tags: [...both.tags, tag('two'), tag('two'), tag('none')] }
    expect(await freedBy(db, all)).toEqual({ manifests: 2, blobs: 3, bytes: 2 * own + shared })
    expect(await freedBy(db, NOTHING)).toEqual({ manifests: 0, blobs: 0, bytes: 0 })
  })

  it('of what was selected by its digest count even when its subject stays, but not when an index does', async () => {
    const { id, name } = await seedRepository(db)
    const child = await seedManifest(db, id, `child ${name}`)
    const image = await seedManifest(db, id, `image ${name}`, { children: [child], tags: ['a'] })
    const signature = await seedManifest(db, id, `signature ${name}`, { subjectDigest: image })
    const about = await seedManifest(db, id, `about ${name}`, { subjectDigest: signature })
    const frees = async (...digests: (typeof image)[]) => {
      const manifests = digests.map((digest) => ({ repository: name, digest }))
      return (await freedBy(db, { ...NOTHING, manifests })).manifests
    }
    expect([await frees(signature), await frees(about), await frees(child)]).toEqual([2, 1, 0])
    expect([await frees(child, about), await frees(image), await frees(image, signature)]).toEqual([
      1, 4, 4,
    ])
    await db.query(
      `insert into leases (repository_id, digest, holder, expires_at)
       values ($1, $2, 'test', now() + interval '1 hour')`,
      [id, image],
    )
    // The image stays, and nothing but the choice of the signature takes that away.
    expect([await frees(image), await frees(image, signature)]).toEqual([0, 2])
  })

  it('of tags are paged by name', async () => {
    const { id, name } = await seedRepository(db)
    await seedManifest(db, id, name, { tags: ['c', 'a', 'B', 'b'] })
    const page = async (after: string) =>
      (await sizesOfTags(db, name, { after, limit: 2 })).map(({ tag }) => tag)
    expect([await page(''), await page('a'), await page('c')]).toEqual([['B', 'a'], ['b', 'c'], []])
  })

  it('of repositories come with the largest first, as far as time goes', async () => {
    const names = []
    for (const size of [10, 30, 20]) {
      const { id, name } = await seedRepository(db, 'largest')
      await seedManifest(db, id, name + 'x'.repeat(size), { tags: ['a'] })
      names.push(name)
    }
    const patterns = { all: ['^largest/'], none: [] }
    const found = await sizesOfRepositories(db, patterns, { limit: 2, budgetMs: 60_000 })
    expect(found.repositories.map(({ name }) => name)).toEqual([names[1], names[2]])
    expect(found).toMatchObject({ examined: 3, complete: true })
    const none = await sizesOfRepositories(db, patterns, { limit: 2, budgetMs: 0 })
    expect(none).toEqual({ repositories: [], examined: 0, complete: false })
  })

  it('are of what is there', async () => {
    const { id, name } = await seedRepository(db)
    const digest = await seedManifest(db, id, name, { tags: ['a'] })
    const none = parseRepositoryName('no/where')
    const there = [{ repository: name, digest }]
    const tags = [{ repository: name, tag: parseTag('a') }]
    await requireSelection(db, { repositories: [name], tags, manifests: there })
    const gone = [{ repository: name, tag: parseTag('b') }]
    await expect(requireSelection(db, { ...NOTHING, tags: gone })).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
      details: [`${name}:b`],
    })
    for (const unknown of [
      { ...NOTHING, repositories: [none] },
      { ...NOTHING, tags: [{ repository: none, tag: parseTag('a') }] },
      { ...NOTHING, manifests: [{ repository: none, digest }] },
    ]) {
      await expect(requireSelection(db, unknown)).rejects.toMatchObject({ code: 'NAME_UNKNOWN' })
    }
    await db.query('update manifests set deleted_at = now() where repository_id = $1', [id])
    await expect(requireSelection(db, { ...NOTHING, manifests: there })).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
      details: [`${name}@${digest}`],
    })
    await expect(sizeOfRepository(db, none)).rejects.toMatchObject({ code: 'NAME_UNKNOWN' })
    await expect(sizesOfTags(db, none, ALL)).rejects.toMatchObject({ code: 'NAME_UNKNOWN' })
  })
})
