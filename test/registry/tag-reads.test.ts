import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Digest } from '../../oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../oci/reference.ts'
import { TagReads } from '../../registry/tag-reads.ts'
import type { Pool, Statement } from '../../storage/metadata/database.ts'
import { openTestRegistry, type TestRegistry } from '../support/registry.ts'
import { imageOf, pushManifest } from './push.ts'

const one = parseRepositoryName('tags/one')
const other = parseRepositoryName('tags/other')
const tags = Array.from({ length: 30 }, (_, index) => parseTag(`t${index}`))
const nowhere = parseTag('nowhere')

let test: TestRegistry
const digests = new Map<string, Digest>()
beforeAll(async () => {
  test = await openTestRegistry()
  for (const repository of [one, other]) {
    for (const tag of tags) {
      const bytes = imageOf([], `${repository} ${tag}`)
      const digest = await pushManifest(test.registry, repository, bytes, { reference: tag })
      digests.set(`${repository}:${tag}`, digest)
    }
  }
})
afterAll(() => test.close())

/** Reads over the database of the test, whose statements wait for `pass` once they are `held`. */
function openReads() {
  const { db } = test.registry
  const statements: string[] = []
  let held: Promise<void> | undefined
  const query = async (statement: Statement) => {
    statements.push(String(statement.name))
    await held
    return db.query(statement)
  }
  const hold = () => {
    let pass!: () => void
    held = new Promise((resolve) => (pass = resolve))
    return () => {
      held = undefined
      pass()
    }
  }
  return { reads: new TagReads({ query } as unknown as Pool), statements, hold }
}

describe('reads of tags', () => {
  it('that come one by one are statements of their own', async () => {
    const { reads, statements } = openReads()
    for (const tag of tags.slice(0, 3)) {
      expect(await reads.digestOf(one, tag)).toBe(digests.get(`${one}:${tag}`))
    }
    expect(await reads.digestOf(one, nowhere)).toBeUndefined()
    expect(statements).toEqual(['find_tag', 'find_tag', 'find_tag', 'find_tag'])
  })

  it('that come at once share statements, and each gets its own answer', async () => {
    const { reads, statements } = openReads()
    const asked = [one, other].flatMap((repository) =>
      [...tags, nowhere, ...tags].map((tag) => ({ repository, tag })),
    )
    const found = await Promise.all(
      asked.map(({ repository, tag }) => reads.digestOf(repository, tag)),
    )
    expect(found).toEqual(asked.map(({ repository, tag }) => digests.get(`${repository}:${tag}`)))
    expect(statements.length).toBeLessThan(6)
    expect(statements).toContain('find_tags')
  })

  it('see what was pushed before they were asked for, however long another one takes', async () => {
    const { reads, hold } = openReads()
    const moving = parseTag('moving')
    const push = (text: string) =>
      pushManifest(test.registry, one, imageOf([], text), { reference: moving })
    const before = await push('before')
    const pass = hold()
    const older = [reads.digestOf(one, moving), reads.digestOf(one, moving)]
    const after = await push('after')
    const newer = reads.digestOf(one, moving)
    pass()
    expect(await newer).toBe(after)
    for (const digest of await Promise.all(older)) expect([before, after]).toContain(digest)
  })

  it('fail alone with their statement, and the next ones are read', async () => {
    const { db } = test.registry
    let failures = 1
    const query = (statement: Statement) =>
      failures-- > 0 ? Promise.reject(new Error('cut')) : db.query(statement)
    const reads = new TagReads({ query } as unknown as Pool)
    const [failed, ...others] = await Promise.allSettled(
      tags.map((tag) => reads.digestOf(one, tag)),
    )
    expect(failed).toMatchObject({ status: 'rejected', reason: { message: 'cut' } })
    expect(others.every(({ status }) => status === 'fulfilled')).toBe(true)
    expect(await reads.digestOf(one, tags[0]!)).toBe(digests.get(`${one}:${tags[0]}`))
  })
})
