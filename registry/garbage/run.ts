import type { RepositoryName } from '../../oci/reference.ts'
import { type Freed, forgetDeleted } from '../../storage/metadata/garbage.ts'
import { bringForward, hurryBlobs } from '../../storage/metadata/gc-queue.ts'
import type { Registry } from '../registry.ts'
import { add, collectGarbage } from './collect.ts'
import type { Collecting } from './collecting.ts'
import { previewGarbage } from './preview.ts'
import { getGarbageStatus } from './status.ts'

export type { Freed }

/** What is collected at once that would be collected later. */
export interface RunTerms {
  /** Only what was in this one; undefined: everything. What is due goes in any case. */
  readonly repository: RepositoryName | undefined
  /** Does not wait where nothing keeps it: for the time after a manifest, or after a failure. */
  readonly now: boolean
  /** Ends the time in which what is deleted by now can be restored. */
  readonly forgetsDeleted: boolean
}

/** Collects garbage, as it is always collected: nothing goes that is kept. @returns what was freed */
export async function runCollection(
  registry: Collecting,
  terms: RunTerms,
  signal?: AbortSignal,
): Promise<Freed> {
  const { db } = registry
  await beginRun(db, terms)
  let freed: Freed = { manifests: 0, blobs: 0, bytes: 0 }
  for (;;) {
    freed = add(freed, await collectGarbage(registry, { ...(signal && { signal }) }))
    if (!terms.now || signal?.aborted === true || (await hurryBlobs(db)) === 0) return freed
  }
}

/** Lets whoever collects do what the terms say, without doing it. */
async function beginRun(
  db: Registry['db'],
  { repository, now, forgetsDeleted }: RunTerms,
): Promise<void> {
  if (forgetsDeleted) await forgetDeleted(db, repository)
  if (now) await bringForward(db, repository)
}

/** While servers collect: what has been freed since the run began. */
export interface Progress extends Freed {
  /** Whether nothing is left that is due. */
  readonly isDone: boolean
}

/**
 * The same by the servers on the database, which need not be told: they look for what is due all the
 * time. What they free meanwhile for other reasons counts as well.
 *
 * @returns how far they are, each time it is asked
 */
export async function runElsewhere(
  registry: Pick<Registry, 'db'>,
  terms: RunTerms,
): Promise<() => Promise<Progress>> {
  const { db } = registry
  const { freedLately: before } = await getGarbageStatus(registry)
  await beginRun(db, terms)
  return async () => {
    const hurried = terms.now ? await hurryBlobs(db) : 0
    const { queue, deleting, freedLately: after } = await getGarbageStatus(registry)
    const isDone = hurried + deleting.blobs === 0 && queue.every(({ due }) => due === 0)
    return { isDone, ...difference(after, before) }
  }
}

/** What {@link runCollection} would free of what the terms name. Writes nothing. */
export function previewCollection(
  { db, keeping }: Pick<Registry, 'db' | 'keeping'>,
  { repository, now, forgetsDeleted }: RunTerms,
): Promise<Freed> {
  const terms = { ...keeping, ...(forgetsDeleted && { undoSeconds: 0 }) }
  return previewGarbage({ db, keeping: terms }, { repository, evenWaiting: now })
}

function difference(one: Freed, other: Freed): Freed {
  return {
    manifests: one.manifests - other.manifests,
    blobs: one.blobs - other.blobs,
    bytes: one.bytes - other.bytes,
  }
}
