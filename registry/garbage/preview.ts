import type { RepositoryName } from '../../oci/reference.ts'
import { type Freed, listFallbackTags } from '../../storage/metadata/garbage.ts'
import {
  listBelow,
  listManifestIds,
  listManifestsOfTags,
  listQueued,
  sumUnnamedBlobs,
} from '../../storage/metadata/garbage-preview.ts'
import type { GarbageKind } from '../../storage/metadata/gc-queue.ts'
import type { ManifestId, ReviewedManifest } from '../../storage/metadata/liveness.ts'
import type { RepositoryId } from '../../storage/metadata/repositories.ts'
import { judgeRepository } from '../../storage/metadata/retired-repositories.ts'
import type { Registry } from '../registry.ts'
import { judge } from './judge.ts'
import { digestOf, repositoryIdOf } from './keys.ts'

type Previewing = Pick<Registry, 'db' | 'keeping'>

export interface PreviewOptions {
  /** Also what is not due yet, if nothing keeps it; left out: all that is due. */
  readonly evenWaiting: boolean
  /** Only what was in this one; undefined: everything. */
  readonly repository: RepositoryName | undefined
}

const PAGE = 500

/**
 * What collecting would free now, judged as collecting does. Nothing is locked, changed or deleted.
 * It holds the ids of all that would go.
 */
export async function previewGarbage(
  registry: Previewing,
  options: PreviewOptions,
): Promise<Freed> {
  const { db, keeping } = registry
  const preview = new Preview(registry)
  for await (const rows of pagesOf(db, 'repository', options)) {
    for (const row of rows) await preview.takeRepository(repositoryIdOf(row))
  }
  for await (const rows of pagesOf(db, 'manifest', options)) {
    await preview.follow(rows.map(({ key }) => key))
  }
  const others = []
  for await (const rows of pagesOf(db, 'blob', options)) others.push(...rows.map(digestOf))
  const gone = [...preview.gone]
  // Blobs whose manifests go only now wait a little longer, unless told otherwise.
  const blobSeconds = options.evenWaiting ? 0 : keeping.blobSeconds
  const named = blobSeconds === 0 ? gone : []
  const terms = { ...keeping, blobSeconds }
  const blobs = await sumUnnamedBlobs(db, { gone, named, others }, terms)
  return { manifests: gone.length, ...blobs }
}

/** Manifests that would go. */
class Preview {
  readonly gone = new Set<ManifestId>()
  readonly #registry: Previewing
  readonly #tags = { repositoryIds: [] as RepositoryId[], names: [] as string[] }

  constructor(registry: Previewing) {
    this.#registry = registry
  }

  async takeRepository(id: RepositoryId): Promise<void> {
    const { db, keeping } = this.#registry
    const judged = await judgeRepository(db, id, keeping.undoSeconds)
    if (judged?.keptSeconds !== 0) return
    for (const manifest of await listManifestIds(db, id)) this.gone.add(manifest)
  }

  /** Adds those that would go, and whatever goes with them. */
  async follow(first: readonly ManifestId[]): Promise<void> {
    const { db, keeping } = this.#registry
    let ids = first
    while (ids.length > 0) {
      const unseen = [...new Set(ids)].filter((id) => !this.gone.has(id))
      const judged = await judge(db, keeping, unseen, this.#tags)
      const going = judged.filter((each) => each.keeping === 0).map(({ manifest }) => manifest)
      const goingIds = going.map(({ id }) => id)
      for (const id of goingIds) this.gone.add(id)
      ids = [...(await listBelow(db, goingIds)), ...(await this.#takeFallbackTags(going))]
    }
  }

  /** @returns the manifests that lose such a tag */
  async #takeFallbackTags(going: readonly ReviewedManifest[]): Promise<ManifestId[]> {
    const { db } = this.#registry
    const ids: ManifestId[] = []
    for (const { repositoryId, digest } of going) {
      const names = await listFallbackTags(db, repositoryId, digest)
      if (names.length === 0) continue
      this.#tags.names.push(...names)
      this.#tags.repositoryIds.push(...names.map(() => repositoryId))
      ids.push(...(await listManifestsOfTags(db, repositoryId, names)))
    }
    return ids
  }
}

async function* pagesOf(db: Registry['db'], kind: GarbageKind, options: PreviewOptions) {
  let after = '0'
  for (;;) {
    const rows = await listQueued(db, kind, { ...options, after, limit: PAGE })
    const last = rows.at(-1)
    if (last === undefined) return
    after = last.id
    yield rows
  }
}
