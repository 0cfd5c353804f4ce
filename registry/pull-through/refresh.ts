import type { RepositoryName, Tag } from '../../oci/reference.ts'
import { markTagsDue } from '../../storage/metadata/cache-marks.ts'
import type { Changes } from '../../storage/metadata/changes.ts'
import { transaction } from '../../storage/metadata/database.ts'
import { findTag } from '../../storage/metadata/tags.ts'
import type { Registry } from '../registry.ts'
import { requireCache, unknownTag } from './pins.ts'

export type RefreshTarget =
  | { readonly upstream: string }
  | { readonly repository: RepositoryName; readonly tag?: Tag }

export type Refreshing = Pick<Registry, 'db'> & {
  /** What the process remembers, if it is one that serves. */
  readonly cache?: Pick<Registry['cache'], 'forgetUpstreamTags'>
  readonly changes?: Pick<Changes, 'announcing'> | undefined
}

/** Tags in one statement. */
const BATCH = 1000

/**
 * Lets tags be asked for at their next pull, however fresh they are, and other processes forget
 * what their upstreams lately did not have.
 *
 * @returns how many tags were not due already
 * @throws RegistryError NAME_UNKNOWN and MANIFEST_UNKNOWN
 */
export async function refresh(
  { db, cache, changes }: Refreshing,
  target: RefreshTarget,
): Promise<number> {
  if ('repository' in target) {
    const { repository, tag } = target
    await requireCache(db, repository)
    if (tag !== undefined && (await findTag(db, repository, tag)) === undefined) {
      throw unknownTag(repository, tag)
    }
  }
  let refreshed = 0
  for (;;) {
    const marked = await markTagsDue(db, target, BATCH)
    refreshed += marked
    if (marked < BATCH) break
  }
  cache?.forgetUpstreamTags()
  await changes?.announcing((announce) =>
    transaction(db, (tx) => announce(tx, { kind: 'upstreams changed' })),
  )
  return refreshed
}
