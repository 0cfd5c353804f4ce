import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Digest } from '../../../oci/digest.ts'
import {
  parseReference,
  parseRepositoryName,
  parseTag,
  type RepositoryName,
} from '../../../oci/reference.ts'
import { getManifest } from '../../../registry/manifests.ts'
import type { Registry } from '../../../registry/registry.ts'
import { deleteRepository } from '../../../registry/repositories.ts'
import { planRetention } from '../../../registry/retention/plan.ts'
import { RetentionRefused, runRetention } from '../../../registry/retention/run.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { restoreRepository } from '../../../registry/undo/restore-repository.ts'
import { openTestRegistry, type TestRegistry } from '../../support/registry.ts'
import { gate, isWaiting, stoppingAt } from '../gate.ts'
import { ANYBODY, imageOf, indexOf, pushManifest } from '../push.ts'
import { age, newRepository, pushTags, ruledBy, tagsOf } from './stage.ts'

let test: TestRegistry

beforeAll(async () => {
  test = await openTestRegistry()
})
afterAll(() => test.close())

/** Plans and runs are about all repositories: each test begins with none. */
beforeEach(async () => {
  await test.registry.db.query('delete from repositories')
  await test.registry.db.query('delete from retention_runs')
  test.registry.cache.forgetAll()
})

const actor = { subject: 'user:tester' }
const OLD = [{ delete: { olderThan: '14d' } }]

const plan = (registry: Registry) => planRetention(registry, { actor })

async function eventsOf(repository: RepositoryName) {
  const { rows } = await test.registry.db.query(
    `select e.name, e.from_digest as "from", e.to_digest as "to", e.actor, e.cause
     from tag_events e join repositories r on r.id = e.repository_id
     where r.name = $1 and e.to_digest is null order by e.id`,
    [repository],
  )
  return rows
}

describe('a run', () => {
  it('deletes what was planned, as a person would have deleted it, and says why', async () => {
    const registry = ruledBy(test.registry, ...OLD)
    const repository = newRepository()
    const digests = await pushTags(registry, repository, {
      a: { days: 20 },
      b: {},
      c: { days: 20 },
    })
    expect((await getManifest(registry, repository, parseReference('a'))).digest).toBe(digests['a'])
    await plan(registry)
    const run = await runRetention(registry, { actor })
    expect(run).toMatchObject({ kind: 'run', actor: 'user:tester', deleted: 2, kept: 1 })
    expect(run.bytes).toBeGreaterThan(0)
    expect(await tagsOf(test, repository)).toEqual(['b'])
    expect(await eventsOf(repository)).toEqual(
      ['a', 'c'].map((name) => ({
        name,
        from: digests[name],
        to: null,
        actor: 'user:tester',
        cause: 'retention',
      })),
    )
    // Nobody gets it any more, be it that it was remembered; by its digest it can still be pulled.
    await expect(getManifest(registry, repository, parseReference('a'))).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    })
    const kept = await getManifest(registry, repository, parseReference(digests['a']!))
    expect(kept.digest).toBe(digests['a'])
    const { rows } = await registry.db.query(
      `select action, target, result, detail from audit_events order by id desc limit 1`,
    )
    expect(rows).toEqual([
      { action: 'retention.run', target: run.id, result: 'done', detail: '2 tags deleted' },
    ])
  })

  it('deletes nothing without a plan of the same rules for everything', async () => {
    const registry = ruledBy(test.registry, ...OLD)
    const repository = newRepository()
    await pushTags(registry, repository, { a: { days: 20 } })
    const refused = 'there is no plan of these rules'
    await expect(runRetention(registry, { actor })).rejects.toThrow(refused)
    await plan(ruledBy(test.registry, { delete: { olderThan: '15d' } }))
    await planRetention(registry, { actor, glob: '**' })
    await expect(runRetention(registry, { actor })).rejects.toThrow(refused)
    expect(await tagsOf(test, repository)).toEqual(['a'])
    await runRetention(registry, { actor, consent: 1 })
    expect(await tagsOf(test, repository)).toEqual([])
  })

  it('that would delete more than was planned stops before it deletes anything', async () => {
    const registry = ruledBy(test.registry, ...OLD)
    const repository = newRepository()
    await pushTags(registry, repository, { a: { days: 20 } })
    await plan(registry)
    await pushTags(registry, repository, { b: { days: 20 }, c: { days: 20 } })
    const refusal = runRetention(registry, { actor })
    await expect(refusal).rejects.toThrow('it would delete 3 tags; the last plan was to delete 1')
    await expect(refusal).rejects.toBeInstanceOf(RetentionRefused)
    await expect(refusal).rejects.toMatchObject({ wouldDelete: 3 })
    await expect(runRetention(registry, { actor, consent: 2 })).rejects.toThrow(
      'the last plan was to delete 1, and the consent is for 2',
    )
    expect(await tagsOf(test, repository)).toEqual(['a', 'b', 'c'])
    const { rows } = await registry.db.query(
      `select result from audit_events where action = 'retention.run' order by id desc limit 1`,
    )
    expect(rows).toEqual([{ result: 'denied' }])
    expect((await runRetention(registry, { actor, consent: 3 })).deleted).toBe(3)
    expect(await tagsOf(test, repository)).toEqual([])
  })

  it('goes on with the cap of the last plan, until another one says otherwise', async () => {
    const registry = ruledBy(test.registry, ...OLD)
    const repository = newRepository()
    await pushTags(registry, repository, { a: { days: 20 } })
    await plan(registry)
    expect((await runRetention(registry, { actor })).deleted).toBe(1)
    await pushTags(registry, repository, { b: { days: 20 } })
    expect((await runRetention(registry, { actor })).deleted).toBe(1)
    await plan(registry)
    await pushTags(registry, repository, { c: { days: 20 } })
    await expect(runRetention(registry, { actor })).rejects.toThrow('the last plan was to delete 0')
  })

  it('is one at a time', async () => {
    const barrier = gate()
    const registry = ruledBy(test.registry, ...OLD)
    const repository = newRepository()
    await pushTags(registry, repository, { a: { days: 20 } })
    await plan(registry)
    const first = runRetention(stoppingAt(registry, 'retention judged', barrier), { actor })
    await barrier.reached
    await expect(runRetention(registry, { actor })).rejects.toThrow('a run is under way')
    barrier.open()
    expect((await first).deleted).toBe(1)
    expect((await runRetention(registry, { actor })).deleted).toBe(0)
  })

  it('takes more tags than fit in one transaction, of several repositories', async () => {
    const registry = ruledBy(test.registry, ...OLD)
    const repositories = [newRepository(), newRepository()]
    const tags = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`t${n}`, { days: 20 }]))
    for (const repository of repositories) await pushTags(registry, repository, tags)
    await plan(registry)
    expect((await runRetention(registry, { actor })).deleted).toBe(120)
    for (const repository of repositories) expect(await tagsOf(test, repository)).toEqual([])
  })

  it('tells what it did until it was stopped', async () => {
    const registry = ruledBy(test.registry, ...OLD)
    const repository = newRepository()
    const tags = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`t${n}`, { days: 20 }]))
    await pushTags(registry, repository, tags)
    await plan(registry)
    let batches = 0
    const failing: Registry = {
      ...registry,
      faultPoint: (step) => {
        if (step === 'retention judged' && ++batches === 2) throw new Error('struck')
      },
    }
    await expect(runRetention(failing, { actor })).rejects.toThrow('struck')
    expect(await tagsOf(test, repository)).toHaveLength(10)
    const { rows } = await registry.db.query(
      `select deleted from retention_runs where kind = 'run' order by id desc limit 1`,
    )
    expect(rows).toEqual([{ deleted: 50 }])
    await registry.db.query('delete from periodic_work')
  })
})

describe('a tag that is about to go', () => {
  let registry: Registry
  let repository: RepositoryName
  let digests: Record<string, Digest>

  /** Runs by these rules, and lets `meanwhile` happen when all has been judged once. */
  async function runBeside(rules: object[], meanwhile: () => Promise<unknown>): Promise<string[]> {
    const barrier = gate()
    registry = ruledBy(test.registry, ...rules)
    const running = runRetention(stoppingAt(registry, 'retention judged', barrier), {
      actor,
      consent: 99,
    })
    await barrier.reached
    await meanwhile()
    barrier.open()
    await running
    return tagsOf(test, repository)
  }

  beforeEach(async () => {
    repository = newRepository()
    digests = await pushTags(test.registry, repository, { a: { days: 20 }, b: { days: 20 } })
  })

  it('stays when it is moved', async () => {
    const tags = await runBeside([{ delete: 'always' }], () =>
      pushManifest(registry, repository, imageOf([], 'moved'), { reference: 'a' }),
    )
    expect(tags).toEqual(['a'])
  })

  it('stays when it is pushed again as it was', async () => {
    const tags = await runBeside([{ delete: 'always' }], async () => {
      const { bytes } = await getManifest(registry, repository, parseReference('a'))
      await pushManifest(registry, repository, bytes, { reference: 'a' })
    })
    expect(tags).toEqual(['a'])
  })

  it('stays when it is pulled', async () => {
    const tags = await runBeside([{ delete: { notPulledFor: '7d' } }], () =>
      age(registry, repository, 'a', { days: 20, pulledDays: 0 }),
    )
    expect(tags).toEqual(['a'])
  })

  it('stays when it has become one of the newest', async () => {
    await pushTags(test.registry, repository, { young: { days: 1 } })
    const drop = () => deleteTag(registry, repository, parseTag('young'), undefined)
    const rules = [{ delete: { olderThan: '14d' } }, { keep: { newest: 1 } }]
    expect(await runBeside(rules, drop)).toEqual(['b']) // it was pushed a moment after a
  })

  it('stays when its repository gets a name that the rules do not cover', async () => {
    const as = parseRepositoryName(`elsewhere/${repository}`)
    await runBeside([{ repositories: ['keep/**'], delete: 'always' }], async () => {
      await deleteRepository(registry, repository, ANYBODY)
      await restoreRepository(registry, repository, { as, permits: () => true })
    })
    expect(await tagsOf(test, as)).toEqual(['a', 'b'])
  })

  it('stays when it gets a lease', async () => {
    const tags = await runBeside([{ delete: 'always' }], () =>
      registry.db.query(
        `insert into leases (repository_id, digest, holder, expires_at)
         select id, $2, 'kube', now() + interval '1 hour' from repositories where name = $1`,
        [repository, digests['b']],
      ),
    )
    expect(tags).toEqual(['b'])
  })

  it('goes before a push that waits for it, and is made anew by that', async () => {
    const { db } = test.registry
    const ruled = ruledBy(test.registry, { delete: 'always' })
    const holder = await db.connect()
    await holder.query('begin')
    await holder.query('select from tags where name = $1 for update', ['a'])
    const running = runRetention(ruled, { actor, consent: 9 })
    expect(await isWaiting(running)).toBe(true)
    const push = pushManifest(ruled, repository, imageOf([], 'anew'), { reference: 'a' })
    expect(await isWaiting(push)).toBe(true)
    await holder.query('rollback')
    holder.release()
    await running
    const digest = await push
    expect((await getManifest(ruled, repository, parseReference('a'))).digest).toBe(digest)
    expect(await tagsOf(test, repository)).toEqual(['a'])
  })
})

describe('an index that loses its tag', () => {
  it('leaves the image that another index lists with what names it', async () => {
    const registry = ruledBy(test.registry, { tags: ['old'], delete: 'always' })
    const repository = newRepository()
    const shared = await pushManifest(registry, repository, imageOf([], 'shared'))
    const lone = await pushManifest(registry, repository, imageOf([], 'lone'))
    await pushManifest(registry, repository, indexOf([shared, lone]), { reference: 'old' })
    await pushManifest(registry, repository, indexOf([shared]), { reference: 'new' })
    const { bytes } = await plan(registry)
    const sizes = await registry.db.query<{ bytes: number }>(
      `select sum(size_bytes)::int as bytes from manifests m
       where m.digest <> $1 and not exists (
         select from tags t where t.manifest_id = m.id and t.name = 'new')`,
      [shared],
    )
    expect(bytes).toBe(sizes.rows[0]?.bytes)
    await runRetention(registry, { actor })
    expect(await tagsOf(test, repository)).toEqual(['new'])
    const found = await getManifest(registry, repository, parseReference(shared))
    expect(found.digest).toBe(shared)
  })
})
