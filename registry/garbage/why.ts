import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import {
  type BlobToExplain,
  findBlobToExplain,
  findManifestToExplain,
  findNextReview,
  findRepositoryOrDeleted,
  type Keeper,
  listAbove,
  listBlobKeepers,
  listManifestKeepers,
  listNamers,
} from '../../storage/metadata/keepers.ts'
import type { ManifestId } from '../../storage/metadata/liveness.ts'
import type { RepositoryId } from '../../storage/metadata/repositories.ts'
import type { Registry } from '../registry.ts'

export type { Keeper }

/** One step from what was asked for towards what keeps it. */
interface Step {
  readonly via: 'named by' | 'listed by' | 'refers to'
  readonly digest: Digest
  /** Where that manifest is. */
  readonly repository: RepositoryName
}

export interface Explanation {
  readonly kind: 'manifest' | 'blob'
  readonly repository: RepositoryName
  readonly digest: Digest
  readonly state: 'live' | 'deleted' | 'deleting' | 'quarantined'
  /** What keeps it, at the end of `path`; undefined: nothing does, and it goes. */
  readonly keeper: Keeper | undefined
  readonly path: readonly Step[]
  /**
   * When it may go at the earliest, as things are; undefined: not as long as the keeper is there. It goes
   * when it is looked at next after that.
   */
  readonly goesAt: Date | undefined
  readonly lastError: string | undefined
}

type Explaining = Pick<Registry, 'db' | 'keeping'>

/**
 * Why a manifest or a blob of a repository is still there, or when it goes.
 *
 * @throws RegistryError NAME_UNKNOWN; MANIFEST_UNKNOWN when there is neither a manifest nor a blob
 */
export async function explainKeeping(
  registry: Explaining,
  repository: RepositoryName,
  digest: Digest,
): Promise<Explanation> {
  const { db } = registry
  const found = await findRepositoryOrDeleted(db, repository)
  if (found === undefined) throw new RegistryError('NAME_UNKNOWN', repository)
  const manifest = await findManifestToExplain(db, found.id, digest)
  if (manifest !== undefined) {
    const kept = await findKeeper(registry, repository, manifest.id)
    const state = manifest.isDeleted || found.deletedAt !== null ? 'deleted' : 'live'
    const review = await findNextReview(db, 'manifest', manifest.id)
    return { kind: 'manifest', repository, digest, state, ...kept, ...timesOf(kept.keeper, review) }
  }
  const blob = await findBlobToExplain(db, digest)
  if (blob === undefined) throw new RegistryError('MANIFEST_UNKNOWN', `${repository}@${digest}`)
  return explainBlob(registry, { repository, repositoryId: found.id, digest }, blob)
}

async function explainBlob(
  registry: Explaining,
  {
    repository,
    repositoryId,
    digest,
  }: { repository: RepositoryName; repositoryId: RepositoryId; digest: Digest },
  { state }: BlobToExplain,
): Promise<Explanation> {
  const { db, keeping } = registry
  let best: Kept = { keeper: (await listBlobKeepers(db, digest, keeping))[0], path: [] }
  for (const namer of await listNamers(db, repositoryId, digest)) {
    if (isForGood(best.keeper)) break
    const kept = await findKeeper(registry, namer.repository, namer.id)
    const step = { via: 'named by', digest: namer.digest, repository: namer.repository } as const
    // Also one that nothing keeps any more: the blob waits until it has been collected.
    if (lasts(kept.keeper) >= lasts(best.keeper)) best = { ...kept, path: [step, ...kept.path] }
  }
  const review = await findNextReview(db, 'blob', digest)
  return { kind: 'blob', repository, digest, state, ...best, ...timesOf(best.keeper, review) }
}

interface Kept {
  readonly keeper: Keeper | undefined
  readonly path: readonly Step[]
}

const MOST_MANIFESTS = 1000

/**
 * The nearest thing that keeps a manifest for good, or else the one that keeps it longest, of what
 * keeps itself, the indexes that list it, its subject, and so on.
 */
async function findKeeper(
  { db, keeping }: Explaining,
  repository: RepositoryName,
  id: ManifestId,
): Promise<Kept> {
  const delays = { ...keeping, untaggedSeconds: keeping.untagged(repository) }
  let best: Kept = { keeper: undefined, path: [] }
  const seen = new Set([id])
  const next: { readonly id: ManifestId; readonly path: readonly Step[] }[] = [{ id, path: [] }]
  for (let one = next.shift(); one !== undefined; one = next.shift()) {
    const [keeper] = await listManifestKeepers(db, one.id, delays)
    if (lasts(keeper) > lasts(best.keeper)) best = { keeper, path: one.path }
    if (isForGood(keeper)) return best
    for (const above of await listAbove(db, one.id)) {
      if (seen.has(above.id) || seen.size > MOST_MANIFESTS) continue
      seen.add(above.id)
      const via = above.via === 'index' ? 'listed by' : 'refers to'
      next.push({ id: above.id, path: [...one.path, { via, digest: above.digest, repository }] })
    }
  }
  return best
}

function isForGood(keeper: Keeper | undefined): boolean {
  return keeper !== undefined && keeper.until === null
}

function lasts(keeper: Keeper | undefined): number {
  if (keeper === undefined) return 0
  return keeper.until?.getTime() ?? Number.POSITIVE_INFINITY
}

function timesOf(
  keeper: Keeper | undefined,
  review: { readonly dueAt: Date; readonly lastError: string | null } | undefined,
): Pick<Explanation, 'goesAt' | 'lastError'> {
  const lastError = review?.lastError ?? undefined
  if (isForGood(keeper)) return { goesAt: undefined, lastError }
  const ends = [keeper?.until, review?.dueAt].flatMap((time) => time?.getTime() ?? [])
  return { goesAt: new Date(Math.max(Date.now(), ...ends)), lastError }
}
