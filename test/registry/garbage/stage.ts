import type { Digest } from '../../../oci/digest.ts'
import { parseRepositoryName, type RepositoryName } from '../../../oci/reference.ts'
import { collectGarbage } from '../../../registry/garbage/collect.ts'
import type { KeepingTerms } from '../../../registry/keeping.ts'
import type { Registry } from '../../../registry/registry.ts'
import { openTestRegistry, type TestRegistry } from '../../support/registry.ts'
import type { TestStorage } from '../../support/storage.ts'
import { pushBlob } from '../push.ts'

/** Nothing stays that nothing names. */
export const AT_ONCE: KeepingTerms = {
  graceSeconds: 0,
  undoSeconds: 0,
  untagged: () => 0,
  blobSeconds: 0,
}

export interface Stage {
  readonly test: TestRegistry
  readonly registry: Registry
  /** A repository that nobody else uses. */
  newRepository(this: void): RepositoryName
  pushBlob(this: void, repository: RepositoryName, text: string): Promise<Digest>
  collect(this: void): ReturnType<typeof collectGarbage>
  /** Lets everything be due that waits, as time does. */
  bringDue(this: void): Promise<void>
  /** 'live', or another state; undefined when the row is gone. */
  blobState(this: void, digest: Digest): Promise<string | undefined>
  hasManifest(this: void, digest: Digest): Promise<boolean>
  /** Lets everything that happened so far have happened so many seconds earlier. */
  age(this: void, seconds: number): Promise<void>
}

/** @param storage in place of a store of its own */
export async function openStage(
  keeping: Partial<KeepingTerms> = AT_ONCE,
  storage?: TestStorage,
): Promise<Stage> {
  let agedMs = 0
  const now = () => performance.now() + agedMs
  const test = await openTestRegistry({ keeping, now, ...(storage && { storage }) })
  const { registry } = test
  const { db } = registry
  let repositories = 0
  return {
    test,
    registry,
    newRepository: () => parseRepositoryName(`garbage/r${repositories++}`),
    pushBlob: (repository, text) => pushBlob(registry, repository, Buffer.from(text)),
    collect: () => collectGarbage(registry),
    bringDue: async () => {
      await db.query('update gc_queue set due_at = now(), claimed_until = null')
    },
    blobState: async (digest) => {
      const found = await db.query<{ state: string }>('select state from blobs where digest = $1', [
        digest,
      ])
      return found.rows[0]?.state
    },
    hasManifest: async (digest) => {
      const { rowCount } = await db.query('select from manifests where digest = $1', [digest])
      return rowCount === 1
    },
    age: async (seconds) => {
      agedMs += seconds * 1000
      const back = `- make_interval(secs => ${seconds})`
      await db.query(`
        update blobs set promised_at = promised_at ${back};
        update manifests set promised_at = promised_at ${back}, deleted_at = deleted_at ${back};
        update tag_events set at = at ${back};
        update leases set expires_at = expires_at ${back};
        update repositories set deleted_at = deleted_at ${back},
          forgotten_before = forgotten_before ${back};
        update gc_queue set due_at = due_at ${back}, queued_at = queued_at ${back},
          claimed_until = claimed_until ${back}`)
    },
  }
}
