import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseTag, type RepositoryName } from '../../../oci/reference.ts'
import { collectGarbage } from '../../../registry/garbage/collect.ts'
import type { Registry } from '../../../registry/registry.ts'
import { requireRepository } from '../../../registry/repositories.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { openPool, type Pool } from '../../../storage/metadata/database.ts'
import { imageOf, pushManifest } from '../push.ts'
import { AT_ONCE, openStage, type Stage } from './stage.ts'

/** As a server has them. */
const STATEMENT_MS = 8000

let stage: Stage
let registry: Registry
let pool: Pool
beforeAll(async () => {
  stage = await openStage(AT_ONCE)
  const { connection } = stage.test.database
  pool = openPool({ connection, size: 5, statementMs: STATEMENT_MS, onError: () => {} })
  registry = { ...stage.registry, db: pool }
})
afterAll(async () => {
  await pool.end()
  await stage.test.close()
})

interface Chain {
  readonly repository: RepositoryName
  readonly id: string
}

/** Manifests of which each refers to the one before; the first has a tag. */
async function seedChain(length: number): Promise<Chain> {
  const repository = stage.newRepository()
  const root = await pushManifest(registry, repository, imageOf([]), { reference: 'root' })
  const id = await requireRepository(registry, repository)
  await registry.db.query(
    `insert into manifests (repository_id, digest, media_type, subject_digest, bytes, size_bytes)
     select $1, 'sha256:' || lpad(to_hex(n), 64, '0'), 'x/y',
       case n when 1 then $2 else 'sha256:' || lpad(to_hex(n - 1), 64, '0') end, '', 0
     from generate_series(1, $3::int - 1) n`,
    [id, root, length],
  )
  await registry.db.query('delete from gc_queue')
  return { repository, id }
}

const countOf = async ({ id }: Chain) => {
  const text = 'select count(*)::int from manifests where repository_id = $1'
  return (await registry.db.query<{ count: number }>(text, [id])).rows[0]!.count
}

/** The newest, which are the furthest from the root. */
const queueLast = (chain: Chain, count: number) =>
  registry.db.query(
    `insert into gc_queue (kind, key, reason)
     select 'manifest', id, 'test' from manifests where repository_id = $1
     order by id desc limit $2`,
    [chain.id, count],
  )

const failures = async () => {
  const { rows } = await registry.db.query<{ error: string }>(
    'select last_error as error from gc_queue where last_error is not null',
  )
  return rows.map(({ error }) => error)
}

it('keeps referrers 10,000 levels away from what has a tag, in time', async () => {
  const chain = await seedChain(10_000)
  await queueLast(chain, 1)
  await collectGarbage(registry)
  expect(await failures()).toEqual([])
  expect(await countOf(chain)).toBe(10_000)
})

it('keeps them in time also when a thousand of them are due at once', {
  timeout: 300_000,
}, async () => {
  const chain = await seedChain(10_000)
  await queueLast(chain, 1000)
  await collectGarbage(registry)
  expect(await failures()).toEqual([])
  expect(await countOf(chain)).toBe(10_000)
  const { rowCount } = await registry.db.query('select from gc_queue')
  expect(rowCount).toBe(0)
})

it('takes all of a long chain when its root goes', { timeout: 60_000 }, async () => {
  const chain = await seedChain(200)
  await deleteTag(registry, chain.repository, parseTag('root'), undefined)
  expect(await collectGarbage(registry)).toMatchObject({ manifests: 200 })
  expect(await countOf(chain)).toBe(0)
})

it('takes manifests that only name each other, in a circle that no digests make', async () => {
  const chain = await seedChain(50)
  await registry.db.query(
    `update manifests set subject_digest = (
       select digest from manifests where repository_id = $1 order by id desc limit 1)
     where repository_id = $1 and subject_digest is null`,
    [chain.id],
  )
  await queueLast(chain, 1)
  await collectGarbage(registry)
  expect(await countOf(chain)).toBe(50)
  await deleteTag(registry, chain.repository, parseTag('root'), undefined)
  expect(await collectGarbage(registry)).toMatchObject({ manifests: 50 })
  expect(await countOf(chain)).toBe(0)
})
