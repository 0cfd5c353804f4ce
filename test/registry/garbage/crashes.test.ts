import { Client } from 'pg'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { digestOf } from '../../../oci/digest.ts'
import { parseTag, type RepositoryName } from '../../../oci/reference.ts'
import { collectGarbage } from '../../../registry/garbage/collect.ts'
import type { FaultPoint } from '../../../registry/registry.ts'
import { deleteRepository } from '../../../registry/repositories.ts'
import { deleteTag } from '../../../registry/tags.ts'
import { dyingAt } from '../gate.ts'
import { ANYBODY, indexOf, pushBlob, pushManifest } from '../push.ts'
import { bytesOf, pullWhole, pushImage, referrerOf } from './client.ts'
import { AT_ONCE, openStage, type Stage } from './stage.ts'
import { collectUpTo } from './steps.ts'
import { describeWithEachStore, findFaults, type OpenStorage, tidy } from './stores.ts'

const EVERY_STEP: FaultPoint[] = [
  'garbage claimed',
  'manifest reviewed',
  'manifest collected',
  'blob reviewed',
  'blob unlinked',
  'blob bytes deleted',
  'blob removed',
]

function describeCrashes(openStorage: OpenStorage): void {
  let stage: Stage
  let kept: RepositoryName
  let contents = 0
  const newLayer = () => Buffer.from(`layer ${contents++}`)

  beforeEach(async () => {
    stage = await openStage(AT_ONCE, openStorage())
    kept = stage.newRepository()
    await fill()
  })
  afterEach(() => stage.test.close())

  /** Garbage of each kind, and an image that shares a layer with it. */
  const fill = async () => {
    const { registry } = stage
    const repository = stage.newRepository()
    const shared = newLayer()
    await pushImage(registry, kept, { layers: [shared, newLayer()] }, 'kept')
    const children = [
      await pushImage(registry, repository, { layers: [newLayer()] }),
      await pushImage(registry, repository, { layers: [shared] }),
    ]
    const index = await pushManifest(registry, repository, indexOf(children), { reference: 'old' })
    await pushManifest(registry, repository, referrerOf(index, 'signature'))
    await pushBlob(registry, repository, newLayer())
    const whole = stage.newRepository()
    await pushImage(registry, whole, { layers: [shared, newLayer()] }, 'old')
    await deleteTag(registry, repository, parseTag('old'), undefined)
    await deleteRepository(registry, whole, ANYBODY)
  }

  const expectConverged = async () => {
    const { registry } = stage
    await stage.bringDue()
    await stage.collect()
    await tidy(registry)
    expect(await findFaults(registry)).toEqual([])
    const { rows } = await registry.db.query(
      `select (select count(*)::int from manifests) as manifests,
         (select count(*)::int from blobs) as blobs,
         (select count(*)::int from gc_queue) as queued,
         (select count(*)::int from repositories where name is null) as deleted`,
    )
    expect(rows).toEqual([{ manifests: 1, blobs: 2, queued: 0, deleted: 0 }])
    await pullWhole(registry, kept, 'kept')
  }

  it.each(EVERY_STEP)('dead each time at: %s', async (step) => {
    const dying = dyingAt(stage.registry, step)
    await collectGarbage(dying).catch(() => {})
    await stage.bringDue()
    await collectGarbage(dying).catch(() => {})
    await expectConverged()
  })

  it('dead at each of its steps in turn, one after the other', async () => {
    for (let died = true, step = 1; died; step++) {
      let met = 0
      died = false
      const faultPoint = () => {
        if (++met < step || died) return
        died = true
        throw new Error(`died at step ${step}`)
      }
      await stage.bringDue()
      await collectGarbage({ ...stage.registry, faultPoint }).catch(() => {})
      if (died && step % 3 === 0) await fill()
      if (step > 60) throw new Error('it never ends')
    }
    const { registry } = stage
    await stage.bringDue()
    await stage.collect()
    await tidy(registry)
    expect(await findFaults(registry)).toEqual([])
  })

  it.each(EVERY_STEP)('without its database at: %s', async (step) => {
    const collector = await collectUpTo(stage.registry, step)
    await endConnections()
    await collector.goOn().catch(() => {})
    await expectEndedConnectionsAreReplaced()
    await expectConverged()
  })

  /** Ends those of the pool, also one that is in the middle of a transaction. */
  const endConnections = async () => {
    const admin = new Client(stage.test.database.connection)
    await admin.connect()
    const { rowCount } = await admin.query(
      `select pg_terminate_backend(pid, 5000) from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid()`,
    )
    await admin.end()
    expect(rowCount).toBeGreaterThan(0)
  }

  const expectEndedConnectionsAreReplaced = async () => {
    const { db } = stage.registry
    // The pool may still give out one that has ended.
    await Promise.allSettled([db.query('select'), db.query('select'), db.query('select')])
    expect((await db.query('select')).rowCount).toBe(1)
  }

  it('leaves what was marked to who goes on, and what is pushed meanwhile alone', async () => {
    const { registry } = stage
    const layer = newLayer()
    const repository = stage.newRepository()
    await pushBlob(registry, repository, layer)
    await collectGarbage(dyingAt(registry, 'blob unlinked')).catch(() => {})
    expect(await stage.blobState(digestOf(layer))).toBe('deleting')
    await pushBlob(registry, repository, layer)
    const image = { layers: [layer] }
    await pushManifest(registry, repository, bytesOf(image), { reference: 'new' })
    await stage.bringDue()
    await stage.collect()
    await tidy(registry)
    expect(await findFaults(registry)).toEqual([])
    await pullWhole(registry, repository, 'new')
  })
}

describeWithEachStore('a collector that ends in the middle', describeCrashes)
