import type { Digest } from '../../../oci/digest.ts'
import { parseRepositoryName } from '../../../oci/reference.ts'
import { collectGarbage } from '../../../registry/garbage/collect.ts'
import { judge } from '../../../registry/garbage/judge.ts'
import { explainKeeping } from '../../../registry/garbage/why.ts'
import { type Transaction, transaction } from '../../../storage/metadata/database.ts'
import { sumUnnamedBlobs } from '../../../storage/metadata/garbage-preview.ts'
import { sweepBlobs, sweepManifests } from '../../../storage/metadata/garbage-sweep.ts'
import { claimDueGarbage } from '../../../storage/metadata/gc-queue.ts'
import { judgeBlobs } from '../../../storage/metadata/liveness.ts'
import type { RepositoryId } from '../../../storage/metadata/repositories.ts'
import { emptyRepository } from '../../../storage/metadata/retired-repositories.ts'
import { digestNamed, firstManifestOf, HOT, hotManifests, hotRepository } from '../content.ts'
import { expectCount, hotManifest, type Operation, type Turn } from '../operation.ts'

const hot = hotRepository(1)
const base = digestNamed('base-0')

/** Blocks of the third repository, of which each run uses up one. */
const COLLECTED = 10

/** Runs `work`, and takes back what it did. */
async function undone(
  { registry: { db } }: Turn,
  work: (tx: Transaction) => Promise<unknown>,
): Promise<void> {
  const takeBack = new Error('taken back')
  await transaction(db, async (tx) => {
    await work(tx)
    throw takeBack
  }).catch((error: unknown) => {
    if (error !== takeBack) throw error
  })
}

/** Queued so that it is the first to be looked at. */
function queue(tx: Pick<Transaction, 'query'>, kind: string, key: string): Promise<unknown> {
  return tx.query({
    text: `insert into gc_queue (kind, key, reason, queued_at, due_at)
           values ($1, $2, 'measured', now() - interval '1 year', now() - interval '1 year')`,
    values: [kind, key],
  })
}

/** Lets nothing keep a manifest of the third repository. */
function abandon({ registry: { db }, size, n }: Turn): Promise<void> {
  const id = String(hotManifest(size, 3, COLLECTED + n, 3))
  return transaction(db, async (tx) => {
    await tx.query({ text: `select set_config('slipway.cause', 'garbage', true)` })
    await tx.query({ text: 'delete from tags where manifest_id = $1', values: [id] })
    await tx.query({
      text: `update manifests set deleted_at = now() - interval '30 days' where id = $1`,
      values: [id],
    })
    await tx.query({
      text: `update tag_events e set cause = 'garbage' from manifests m
             where m.id = $1 and e.repository_id = m.repository_id and e.from_digest = m.digest`,
      values: [id],
    })
    await tx.query({
      text: 'delete from leases l using manifests m where m.id = $1 and l.digest = m.digest',
      values: [id],
    })
    await queue(tx, 'manifest', id)
  })
}

function mixedBlobs({ size, n }: Turn): Digest[] {
  const configs = Array.from({ length: 98 }, (_, at) => hotManifest(size, 1, 40 + n, 0) + at)
  return [base, digestNamed('base-1'), ...configs.map((id) => digestNamed(`c${id}`))]
}

export const garbageOperations: readonly Operation[] = [
  {
    title: 'GC: 100 manifests judged',
    run: async ({ registry: { db, keeping }, size, n }) => {
      const first = hotManifest(size, 1, 5 + n, 0)
      const ids = Array.from({ length: 100 }, (_, at) => String(first + at))
      expectCount((await judge(db, keeping, ids)).length, 100)
    },
  },
  {
    title: 'GC: 10 manifests judged that a tenth of the repositories have',
    run: async ({ registry: { db, keeping }, size }) => {
      const ids = Array.from({ length: 10 }, (_, at) =>
        String(firstManifestOf(size, 10 * (at + 1)) + 1),
      )
      expectCount((await judge(db, keeping, ids)).length, 10)
    },
  },
  {
    title: 'GC: 100 blobs judged, two of them hot',
    run: async (turn) => {
      const { db, keeping } = turn.registry
      expectCount((await judgeBlobs(db, mixedBlobs(turn), keeping)).length, 100)
    },
  },
  {
    title: 'GC: rows claimed, 100 of those that are due',
    run: async ({ registry: { db } }) => {
      const claimed = await claimDueGarbage(db, { limit: 100, claimSeconds: 0 })
      expectCount(claimed.length, 100)
    },
  },
  {
    title: 'GC of one blob, from the claim to its end',
    before: ({ registry: { db }, n }) => queue(db, 'blob', digestNamed(`dead-${n + 1}`)),
    run: async ({ registry }) => {
      expectCount((await collectGarbage(registry, { limit: 1 })).blobs, 1)
    },
  },
  {
    title: 'GC of one manifest over hot layers, from the claim to its end',
    before: abandon,
    run: async ({ registry }) => {
      expectCount((await collectGarbage(registry, { limit: 1 })).manifests, 1)
    },
  },
  {
    title: 'GC: 100 manifests of a deleted repository',
    run: (turn) => undone(turn, (tx) => emptyRepository(tx, String(HOT) as RepositoryId, 100)),
  },
  {
    title: 'GC: page of the sweep of manifests, of 5000',
    run: (turn) =>
      undone(turn, (tx) =>
        sweepManifests(tx, { after: String(hotManifests(turn.size) * 5), limit: 5000 }),
      ),
  },
  {
    title: 'GC: page of the sweep of blobs, of 5000',
    run: (turn) => undone(turn, (tx) => sweepBlobs(tx, { after: 'sha256:8', limit: 5000 })),
  },
  {
    title: 'GC: what a preview sums up, of 100 manifests',
    run: ({ registry: { db, keeping }, size, n }) => {
      const first = hotManifest(size, 2, 100 + n, 0)
      const gone = Array.from({ length: 100 }, (_, at) => String(first + at))
      return sumUnnamedBlobs(db, { gone, named: gone, others: [base] }, keeping)
    },
  },
  {
    title: 'gc why of a hot layer',
    run: ({ registry }) => explainKeeping(registry, hot, base),
  },
  {
    title: 'gc why of a manifest of a deleted repository',
    run: ({ registry, size, n }) => {
      const digest = digestNamed(`m${(HOT - 1) * hotManifests(size) + n + 1}`)
      return explainKeeping(registry, parseRepositoryName(`hot/repository-${HOT}`), digest)
    },
  },
]
