import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Digest } from '../../oci/digest.ts'
import { parseRepositoryName } from '../../oci/reference.ts'
import { ensureRepository } from '../../storage/metadata/repositories.ts'
import { seedBlob, seedManifest } from '../storage/metadata/seed.ts'
import { openTestDatabase, type TestDatabase } from '../support/database.ts'
import { documentsIn, flagsOf, runHere } from './run.ts'

let database: TestDatabase
let manifest: Digest

beforeAll(async () => {
  database = await openTestDatabase()
  const db = database.pool
  const app = await ensureRepository(db, parseRepositoryName('team/app'))
  const base = await seedBlob(db, app, 'x'.repeat(2048))
  const own = await seedBlob(db, app, 'y'.repeat(1014))
  manifest = await seedManifest(db, app, '1'.repeat(10), { blobs: [base, own], tags: ['one'] })
  await seedManifest(db, app, '2'.repeat(20), { blobs: [base], tags: ['two'] })
  await ensureRepository(db, parseRepositoryName('team/empty'))
  const other = await ensureRepository(db, parseRepositoryName('team/other'))
  await seedManifest(db, other, '3'.repeat(5000), { tags: ['one'] })
})
afterAll(() => database.close())

const run = (...words: string[]) => runHere(['size', ...words, ...flagsOf(database)])

/** The cells of the table, without those that padding made. */
function rowsOf(stdout: string): string[][] {
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/))
}

describe('slipway size', () => {
  it('shows all repositories that hold something, the largest first', async () => {
    expect(rowsOf((await run()).stdout)).toEqual([
      ['REPOSITORY', 'TAGS', 'MANIFESTS', 'BLOBS', 'TOTAL', 'UNIQUE', 'SHARED'],
      ['team/other', '1', '1', '0', '4.9 KiB', '4.9 KiB', '0 B'],
      ['team/app', '2', '2', '2', '3.0 KiB', '3.0 KiB', '0 B'],
    ])
    const names = documentsIn(await run('--json')).map(({ name }) => name)
    expect(names).toEqual(['team/other', 'team/app'])
  })

  it('shows the tags of one, and the sum', async () => {
    expect(rowsOf((await run('team/app')).stdout)).toEqual([
      ['TAG', 'TOTAL', 'UNIQUE', 'SHARED', 'FREED'],
      ['one', '3.0 KiB', '1.0 KiB', '2.0 KiB', '1.0 KiB'],
      ['two', '2.0 KiB', '20 B', '2.0 KiB', '20 B'],
      ['team/app: 3.0 KiB, of which 3.0 KiB unique and 0 B shared'],
    ])
    const [one, two, sum] = documentsIn(await run('team/app', '--json'))
    expect(one).toMatchObject({ tag: 'one', digest: manifest, totalBytes: 3072, freedBytes: 1024 })
    expect(two).toMatchObject({ tag: 'two', totalBytes: 2068, uniqueBytes: 20, sharedBytes: 2048 })
    expect(sum).toMatchObject({ name: 'team/app', totalBytes: 3092, uniqueBytes: 3092 })
    const empty = await run('team/empty')
    expect(empty.stderr).toBe('team/empty has no tags\n')
  })

  it('tells what several things free together', async () => {
    const line = async (...words: string[]) => (await run(...words)).stdout
    expect(await line('team/app:two')).toBe('frees 20 B if deleted: 1 manifest and 0 blobs\n')
    const all = 'frees 3.0 KiB if deleted: 2 manifests and 2 blobs\n'
    expect(await line(`team/app@${manifest}`, 'team/app:two')).toBe(all)
    expect(await line('team/app', 'team/empty')).toBe(all)
    expect(documentsIn(await run('team/app:one', 'team/other', '--json'))).toEqual([
      { manifests: 2, blobs: 1, bytes: 6024 },
    ])
  })

  it('says what there is not, and what is no name', async () => {
    await expect(run('team/none')).rejects.toMatchObject({ code: 'NAME_UNKNOWN' })
    await expect(run('team/app:none')).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
      details: ['team/app:none'],
    })
    await expect(run('No')).rejects.toThrow('No: expected a repository')
  })
})
