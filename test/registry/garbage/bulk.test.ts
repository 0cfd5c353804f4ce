import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import { parseTag, type RepositoryName } from '../../../oci/reference.ts'
import { collectGarbage } from '../../../registry/garbage/collect.ts'
import { deleteManifest } from '../../../registry/manifests.ts'
import type { FaultPoint, Registry } from '../../../registry/registry.ts'
import { deleteRepository } from '../../../registry/repositories.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { lockDigest } from '../../../storage/metadata/blobs.ts'
import { openPool, type Pool } from '../../../storage/metadata/database.ts'
import { gate, isWaiting } from '../gate.ts'
import { ANYBODY, imageOf, pushBlob, pushManifest } from '../push.ts'
import { otherProcess, pullWhole, pushImage } from './client.ts'
import { AT_ONCE, openStage, type Stage } from './stage.ts'
import { collectUpTo, type Freed, holding } from './steps.ts'
import { findFaults } from './stores.ts'

const OPEN = `pg_stat_activity where datname = current_database()`
const MANIFESTS = 300
const LAYERS = 30
const BULK_MS = 120_000

let stage: Stage
let registry: Registry
const pools: Pool[] = []
beforeEach(async () => {
  stage = await openStage(AT_ONCE)
  registry = stage.registry
})
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.end()))
  await stage.test.close()
})

/** Another process, with connections of its own. */
function anotherProcess(): Registry {
  const { connection } = stage.test.database
  const db = openPool({ connection, size: 5, onError: () => {} })
  pools.push(db)
  return { ...otherProcess(registry), db }
}

async function countOf(what: string): Promise<number> {
  const { rows } = await registry.db.query<{ count: number }>(`select count(*)::int from ${what}`)
  return rows[0]!.count
}

/** Of the database of the test; other processes end before, as their connections tell it then. */
async function countDeadlocks(): Promise<number> {
  await Promise.all(pools.splice(0).map((pool) => pool.end()))
  while ((await countOf(OPEN)) > registry.db.totalCount) await sleep(20)
  const admin = new Client(stage.test.database.connection)
  await admin.connect()
  const { rows } = await admin.query<{ deadlocks: number }>(
    'select deadlocks::int from pg_stat_database where datname = current_database()',
  )
  await admin.end()
  return rows[0]!.deadlocks
}

/** Deadlocks are found before anybody gives up waiting. */
async function findDeadlocksSoon(): Promise<void> {
  const admin = new Client(stage.test.database.connection)
  await admin.connect()
  await admin.query(`alter database ${stage.test.database.connection.database}
    set deadlock_timeout = '50ms'`)
  await admin.end()
}

interface Filled {
  readonly repository: RepositoryName
  readonly tag: string
  readonly digest: Digest
}

const layers = Array.from({ length: LAYERS }, (_, index) => Buffer.from(`shared layer ${index}`))

/** So many images of the same layers, over some repositories. */
async function fill(repositories: number): Promise<Filled[]> {
  const names = Array.from({ length: repositories }, () => stage.newRepository())
  for (const name of names) {
    for (const layer of layers) await pushBlob(registry, name, layer)
  }
  const images: Filled[] = []
  for (let index = 0; index < MANIFESTS; index++) {
    const repository = names[index % repositories]!
    const some = [0, 7, 13].map((step) => digestOf(layers[(index + step) % LAYERS]!))
    const tag = `t${index}`
    const bytes = imageOf(some, `${repository} ${index}`)
    images.push({
      repository,
      tag,
      digest: await pushManifest(registry, repository, bytes, { reference: tag }),
    })
  }
  return images
}

/** Some at a time, begun in this order. */
async function inOrder<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const left = [...items]
  const next = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item)
  }
  await Promise.all([next(), next(), next()])
}

type Deleting = (process: Registry, images: readonly Filled[]) => Promise<void>

const WAYS: Record<string, { readonly repositories: number; readonly remove: Deleting }> = {
  'manifests by digest': {
    repositories: 1,
    remove: (process, images) =>
      inOrder(images, ({ repository, digest }) =>
        deleteManifest(process, repository, digest, ANYBODY),
      ),
  },
  tags: {
    repositories: 3,
    remove: (process, images) =>
      inOrder(images, ({ repository, tag }) =>
        deleteTag(process, repository, parseTag(tag), undefined),
      ),
  },
  repositories: {
    repositories: 20,
    remove: (process, images) =>
      inOrder([...new Set(images.map(({ repository }) => repository))], (repository) =>
        deleteRepository(process, repository, ANYBODY),
      ),
  },
}

async function collectUntilEnded(process: Registry, ending: AbortSignal): Promise<Freed[]> {
  const freed: Freed[] = []
  while (!ending.aborted) {
    freed.push(await collectGarbage(process))
    await sleep(5)
  }
  return freed
}

function sumOf(freed: readonly Freed[]): Freed {
  return freed.reduce(
    (sum, { manifests, blobs, bytes }) => ({
      manifests: sum.manifests + manifests,
      blobs: sum.blobs + blobs,
      bytes: sum.bytes + bytes,
    }),
    { manifests: 0, blobs: 0, bytes: 0 },
  )
}

describe('two bulk deletes of what shares layers, in opposite orders, beside two collectors', () => {
  it.each(Object.entries(WAYS))(
    'of %s never lock each other out',
    { timeout: BULK_MS },
    async (_, { repositories, remove }) => {
      await findDeadlocksSoon()
      const [one, other] = [await fill(repositories), await fill(repositories)]
      const kept = stage.newRepository()
      const image = { layers: layers.slice(0, 2) }
      await pushImage(registry, kept, image, 'kept')
      const before = await countDeadlocks()
      const ending = new AbortController()
      const collectors = [anotherProcess(), anotherProcess()]
      const collecting = collectors.map((process) => collectUntilEnded(process, ending.signal))
      await Promise.all([
        remove(anotherProcess(), one),
        remove(anotherProcess(), other.toReversed()),
        // Pushes of the same layers go on.
        inOrder(Array.from({ length: 30 }), () => pushImage(anotherProcess(), kept, image, 'kept')),
      ])
      ending.abort()
      await Promise.all(collecting)
      for (let round = 0; round < 10 && (await countOf('gc_queue')) > 0; round++) {
        await stage.bringDue()
        await stage.collect()
      }
      // Their connections have told all they know when they end.
      await Promise.all(pools.splice(0).map((pool) => pool.end()))
      expect(await countDeadlocks()).toBe(before)
      expect(await countOf('manifests')).toBe(1)
      expect(await countOf('blobs')).toBe(2)
      expect(await countOf('gc_queue')).toBe(0)
      expect(await findFaults(registry)).toEqual([])
      await pullWhole(registry, kept, 'kept')
    },
  )
})

describe('two collectors that mark the same blobs', () => {
  it('lock them in one order, so that neither has what the other waits for', async () => {
    await findDeadlocksSoon()
    const repository = stage.newRepository()
    for (const layer of layers.slice(0, 20)) await pushBlob(registry, repository, layer)
    const before = await countDeadlocks()
    const one = await collectUpTo(anotherProcess(), 'blob reviewed')
    await stage.bringDue()
    const other = await collectUpTo(anotherProcess(), 'blob reviewed')
    // Both get as far as to this one.
    const digests = layers
      .slice(0, 20)
      .map((layer) => digestOf(layer))
      .toSorted()
    const middle = digests[10]!
    const barrier = gate()
    const held = holding(registry, barrier, (tx) => lockDigest(tx, middle))
    await barrier.reached
    const collecting = Promise.all([one.goOn(), other.goOn()])
    expect(await isWaiting(collecting)).toBe(true)
    barrier.open()
    await held
    const freed = await collecting
    expect(await countDeadlocks()).toBe(before)
    await stage.bringDue()
    expect(sumOf([...freed, await stage.collect()])).toMatchObject({ blobs: 20 })
    expect(await countOf('gc_queue')).toBe(0)
  })
})

describe('two collectors of the same garbage', () => {
  const IMAGES = 120

  /** Each of a layer of its own. */
  const fillWithGarbage = async () => {
    const repository = stage.newRepository()
    for (let index = 0; index < IMAGES; index++) {
      const image = { layers: [Buffer.from(`own layer ${String(index).padStart(4, '0')}`)] }
      await pushImage(registry, repository, image)
    }
  }
  const EVERYTHING = { manifests: IMAGES, blobs: IMAGES, bytes: IMAGES * 'own layer 0000'.length }

  const expectFreedOnce = async (freed: readonly Freed[]) => {
    await stage.bringDue()
    const rest = await stage.collect()
    expect(sumOf([...freed, rest])).toEqual(EVERYTHING)
    const { rows } = await registry.db.query(
      `select manifests::int, blobs::int, bytes::int from gc_days`,
    )
    expect(rows).toEqual([EVERYTHING])
    expect(await countOf('blobs')).toBe(0)
    expect(await countOf('gc_queue')).toBe(0)
    expect(await findFaults(registry)).toEqual([])
  }

  it('free it once', async () => {
    await fillWithGarbage()
    const freed = await Promise.all(
      [anotherProcess(), anotherProcess()].map((process) => collectGarbage(process)),
    )
    await expectFreedOnce(freed)
  })

  it('free it once when they look at the same rows all the time', async () => {
    await fillWithGarbage()
    const ending = new AbortController()
    const collecting = [anotherProcess(), anotherProcess(), anotherProcess()].map((process) =>
      collectUntilEnded(process, ending.signal),
    )
    while ((await countOf('blobs')) > 0) await stage.bringDue()
    ending.abort()
    await expectFreedOnce((await Promise.all(collecting)).flat())
  })

  const steps: FaultPoint[] = [
    'garbage claimed',
    'manifest reviewed',
    'manifest collected',
    'blob reviewed',
    'blob unlinked',
    'blob removed',
  ]
  it.each(steps)('do no harm when the claim of one ran out at: %s', async (step) => {
    await fillWithGarbage()
    const slow = await collectUpTo(anotherProcess(), step)
    await stage.bringDue()
    const freed = [await collectGarbage(anotherProcess())]
    freed.push(await slow.goOn())
    await expectFreedOnce(freed)
  })
})
