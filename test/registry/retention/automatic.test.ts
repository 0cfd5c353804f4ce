import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { RepositoryName } from '../../../oci/reference.ts'
import type { Registry } from '../../../registry/registry.ts'
import { AutomaticRetention } from '../../../registry/retention/automatic.ts'
import { planRetention } from '../../../registry/retention/plan.ts'
import { openTestRegistry, type TestRegistry } from '../../support/registry.ts'
import { newRepository, pushTags, ruledBy, tagsOf } from './stage.ts'

let test: TestRegistry

beforeAll(async () => {
  test = await openTestRegistry()
})
afterAll(() => test.close())

const OLD = { delete: { olderThan: '14d' } }
const DAILY = { everySeconds: 86_400 }

describe('retention by itself', () => {
  let repository: RepositoryName
  let logged: unknown[]
  let registry: Registry

  beforeEach(async () => {
    const { db } = test.registry
    for (const table of ['repositories', 'retention_runs', 'periodic_work', 'audit_events']) {
      await db.query(`set slipway.prunes_audit = 'on'; delete from ${table}`)
    }
    test.registry.cache.forgetAll()
    logged = []
    const log = test.registry.log.child({})
    log.warn = (...words: unknown[]) => void logged.push(words)
    registry = { ...ruledBy(test.registry, OLD), log }
    repository = newRepository()
    await pushTags(registry, repository, { a: { days: 20 } })
  })

  async function plan(secondsAgo: number): Promise<void> {
    const { run } = await planRetention(registry, { actor: { subject: 'user:tester' } })
    await registry.db.query(
      'update retention_runs set at = now() - make_interval(secs => $2) where id = $1',
      [run.id, secondsAgo],
    )
  }

  it('deletes nothing before a plan was made, and says so once', async () => {
    const retention = new AutomaticRetention(registry, DAILY)
    await retention.tend()
    await retention.tend()
    expect(await tagsOf(test, repository)).toEqual(['a'])
    expect(logged).toHaveLength(1)
    expect(String(logged[0])).toContain('until slipway retention plan has shown')
  })

  it('leaves time to think about a plan', async () => {
    const retention = new AutomaticRetention(registry, DAILY)
    await plan(3500)
    await retention.tend()
    expect(await tagsOf(test, repository)).toEqual(['a'])
    await plan(3700)
    await retention.tend()
    expect(await tagsOf(test, repository)).toEqual([])
    const { rows } = await registry.db.query(
      `select actor, cause from tag_events where to_digest is null`,
    )
    expect(rows).toEqual([{ actor: 'system:retention', cause: 'retention' }])
  })

  it('runs when it is time, in one process', async () => {
    await plan(4000)
    const one = new AutomaticRetention(registry, DAILY)
    const other = new AutomaticRetention(registry, DAILY)
    await Promise.all([one.tend(), other.tend()])
    await pushTags(registry, repository, { b: { days: 20 } })
    await Promise.all([one.tend(), other.tend()])
    expect(await tagsOf(test, repository)).toEqual(['b'])
    await registry.db.query(`update periodic_work set finished_at = now() - interval '1 day'`)
    await Promise.all([one.tend(), other.tend()])
    expect(await tagsOf(test, repository)).toEqual([])
    const { rows } = await registry.db.query(
      `select deleted from retention_runs where kind = 'run'`,
    )
    expect(rows).toEqual([{ deleted: 1 }, { deleted: 1 }])
  })

  it('stops at the cap, says so, and tries again when it is time', async () => {
    await plan(4000)
    await pushTags(registry, repository, { b: { days: 20 } })
    const retention = new AutomaticRetention(registry, DAILY)
    await retention.tend()
    await retention.tend()
    expect(await tagsOf(test, repository)).toEqual(['a', 'b'])
    expect(logged).toEqual([
      [
        expect.objectContaining({ wouldDelete: 2, hint: expect.stringContaining('plan') }),
        'retention stopped',
      ],
    ])
    const { rows } = await registry.db.query(
      `select actor, result from audit_events where action = 'retention.run'`,
    )
    expect(rows).toEqual([{ actor: 'system:retention', result: 'denied' }])
  })

  it('does nothing without a rule that deletes, or when it is not to', async () => {
    await plan(4000)
    await new AutomaticRetention(registry, { everySeconds: 0 }).tend()
    const keeping = ruledBy(registry, { keep: { newest: 1 } })
    await new AutomaticRetention(keeping, DAILY).tend()
    expect(await tagsOf(test, repository)).toEqual(['a'])
    expect(logged).toEqual([])
  })

  it('ends with the server, and another process goes on', async () => {
    await plan(4000)
    const ending = new AbortController()
    ending.abort(new Error('the server stops'))
    const stopped = new AutomaticRetention(registry, DAILY).tend(ending.signal)
    await expect(stopped).rejects.toThrow('the server stops')
    expect(await tagsOf(test, repository)).toEqual(['a'])
    await registry.db.query('update periodic_work set claimed_until = now()')
    await new AutomaticRetention(registry, DAILY).tend()
    expect(await tagsOf(test, repository)).toEqual([])
  })
})
