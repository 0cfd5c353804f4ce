import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseTag } from '../../../oci/reference.ts'
import { requireRepository } from '../../../registry/repositories.ts'
import {
  getRetentionRuns,
  type JudgedTag,
  planRetention,
} from '../../../registry/retention/plan.ts'
import { openTestRegistry, type TestRegistry } from '../../support/registry.ts'
import { cacheManifest, newUpstream, openCache } from '../pull-through/caches.ts'
import { imageOf, indexOf, pushBlob, pushManifest } from '../push.ts'
import { newRepository, pushTags, ruledBy, tagsOf } from './stage.ts'

let test: TestRegistry

beforeAll(async () => {
  test = await openTestRegistry()
})
afterAll(() => test.close())

const actor = { subject: 'user:tester' }

/** Everything that the tables of content, history and leases hold. */
async function contents(): Promise<unknown[]> {
  const tables = ['repositories', 'tags', 'manifests', 'tag_events', 'gc_queue', 'leases', 'blobs']
  return Promise.all(
    tables.map(async (table) => {
      const { rows } = await test.registry.db.query<{ all: string }>(
        `select coalesce(string_agg(t::text, e'\\n' order by t::text), '') as all from ${table} t`,
      )
      return rows[0]?.all
    }),
  )
}

async function plan(glob: string | undefined, rules: object[], all = false) {
  const tags: JudgedTag[] = []
  const registry = ruledBy(test.registry, ...rules)
  const onTags = (page: readonly JudgedTag[]) => void tags.push(...page)
  return { ...(await planRetention(registry, { actor, glob, all, onTags })), judged: tags }
}

function names(tags: readonly JudgedTag[]): string[] {
  return [...new Set(tags.map((tag) => tag.repository))]
}

describe('a plan', () => {
  it('tells each tag, by which rule, and what is freed', async () => {
    const repository = newRepository()
    await pushTags(test.registry, repository, {
      main: { days: 90 },
      'pr-1': { days: 30, bytes: 5000 },
      'pr-2': { days: 20, pulledDays: 2 },
      'pr-3': { days: 3 },
    })
    const made = await plan(repository, [
      { name: 'ci', tags: ['pr-*'], delete: { olderThan: '14d' }, keep: { pulledWithin: '7d' } },
    ])
    expect(
      made.judged.map(({ tag, deletes, rule, reason }) => [tag, deletes, rule, reason]),
    ).toEqual([
      ['main', false, undefined, 'no rule deletes it'],
      ['pr-1', true, 'ci', 'pushed 30 days ago'],
      ['pr-2', false, 'ci', 'pulled 2 days ago'],
      ['pr-3', false, undefined, 'no rule deletes it'],
    ])
    expect(made).toMatchObject({ kept: 3, deleted: 1, isAtLeast: false, isWhole: true })
    expect(made.tags).toEqual([`${repository}:pr-1`])
    expect(made.bytes).toBeGreaterThan(5000)
    expect(made.repositories).toEqual([{ repository, kept: 3, deleted: 1, bytes: made.bytes }])
  })

  it('writes nothing but that it was made', async () => {
    const repository = newRepository()
    await pushTags(test.registry, repository, { a: { days: 9 }, b: { days: 9 } })
    const before = await contents()
    const { run } = await plan(repository, [{ delete: 'always' }])
    expect(await contents()).toEqual(before)
    const [recorded] = await getRetentionRuns(test.registry, { before: '', limit: 1 })
    expect(recorded).toEqual(run)
    expect(run).toMatchObject({ kind: 'plan', actor: 'user:tester', glob: repository, deleted: 2 })
    const { rows } = await test.registry.db.query(
      `select action, actor, target, result from audit_events order by id desc limit 1`,
    )
    expect(rows).toEqual([
      { action: 'retention.plan', actor: 'user:tester', target: run.id, result: 'done' },
    ])
  })

  it('counts what several repositories share once, and only if all of them let it go', async () => {
    const [one, other] = [newRepository('shared-a'), newRepository('shared-b')]
    const tags = { x: { days: 9, bytes: 4000 } }
    await pushTags(test.registry, one, tags)
    const layer = Buffer.alloc(4000, `${one}:x`)
    const digest = await pushBlob(test.registry, other, layer)
    await pushManifest(test.registry, other, imageOf([digest], `${one}:x`), { reference: 'x' })
    const rule = { repositories: ['shared-*/**'], delete: 'always' }
    const made = await plan('shared-*/**', [rule])
    expect(made.repositories.map(({ bytes }) => bytes < 4000)).toEqual([true, true])
    expect(made.bytes).toBeGreaterThan(4000)
    expect(made.bytes).toBeLessThan(8000)
    expect((await plan(one, [rule])).bytes).toBeLessThan(4000)
  })

  it('tells what is other than in the last one', async () => {
    const repository = newRepository()
    await pushTags(test.registry, repository, { a: { days: 9 }, b: { days: 9 } })
    const rules = [{ tags: ['a', 'b', 'c'], delete: { olderThan: '1d' } }]
    expect((await plan(repository, rules)).difference).toBeUndefined()
    await test.registry.db.query(`update tags set updated_at = now() where name = 'a'`)
    await pushTags(test.registry, repository, { c: { days: 9 } })
    const { difference } = await plan(repository, rules)
    expect(difference).toMatchObject({
      deleted: 0,
      added: [`${repository}:c`],
      dropped: [`${repository}:a`],
    })
    // Another glob, or other rules, are another plan.
    expect((await plan(undefined, rules)).difference).toBeUndefined()
    expect((await plan(repository, [...rules, { delete: 'always' }])).difference).toBeUndefined()
  })

  it('looks at hosted repositories that a rule covers; at others only to show all', async () => {
    const [covered, other] = [newRepository('in-it'), newRepository('out-of-it')]
    await pushTags(test.registry, covered, { a: {} })
    await pushTags(test.registry, other, { a: {} })
    const cache = await openCache(test.registry, newUpstream())
    await cacheManifest(test.registry, cache, { tags: ['latest'] })
    const rules = [
      { repositories: ['in-it/**'], delete: 'always' },
      { repositories: [cache.name], delete: 'always' },
    ]
    const few = await plan(undefined, rules)
    expect(names(few.judged)).toEqual([covered])
    const all = await plan(undefined, rules, true)
    expect(names(all.judged)).toContain(other)
    expect(names(all.judged)).not.toContain(cache.name)
    expect([all.kept, all.deleted]).toEqual([few.kept, few.deleted])
  })

  it('goes by the newest of many pages of tags', async () => {
    const { db } = test.registry
    const repository = newRepository()
    const digest = await pushManifest(test.registry, repository, imageOf([], 'many'))
    const id = await requireRepository(test.registry, repository)
    await db.query(
      `insert into tags (repository_id, name, manifest_id, updated_at)
       select $1, 't' || lpad((n * 7919 % 2500)::text, 4, '0'), m.id, now() - make_interval(hours => n)
       from generate_series(0, 2499) n, manifests m where m.repository_id = $1 and m.digest = $2`,
      [id, digest],
    )
    const made = await plan(repository, [{ delete: { notNewest: 7 }, keep: { newest: 3 } }])
    const newest = Array.from(
      { length: 7 },
      (_, n) => `t${String((n * 7919) % 2500).padStart(4, '0')}`,
    )
    const kept = made.judged.filter(({ deletes }) => !deletes).map(({ tag }) => tag)
    expect(kept).toEqual(newest.toSorted())
    expect([made.kept, made.deleted]).toEqual([7, 2493])
    // The image has as many tags as before: nothing goes with some of them.
    expect(made.bytes).toBe(0)
  })

  it('keeps a tag while a lease is on what it names, or on what that lists', async () => {
    const { registry } = test
    const repository = newRepository()
    const { a, b } = await pushTags(registry, repository, { a: {}, b: {}, c: {}, d: {} })
    const index = await pushManifest(registry, repository, indexOf([b!]), { reference: 'index' })
    expect(index).toBeDefined()
    const id = await requireRepository(registry, repository)
    await registry.db.query(
      `insert into leases (repository_id, digest, holder, expires_at)
       select $1, d, 'kube', now() + make_interval(secs => s)
       from unnest($2::text[], $3::int[]) as l (d, s)`,
      [id, [a, b], [60, 60]],
    )
    const { judged } = await plan(repository, [{ delete: 'always' }])
    const kept = judged.filter(({ deletes }) => !deletes).map(({ tag }) => tag)
    expect(kept).toEqual(['a', 'b', 'index'].map(parseTag))
    await registry.db.query(`update leases set expires_at = now() where repository_id = $1`, [id])
    const later = await plan(repository, [{ delete: 'always' }])
    expect(later.judged.filter(({ deletes }) => !deletes)).toEqual([])
    expect(await tagsOf(test, repository)).toHaveLength(5)
  })
})
