/*
 * Sizes of repositories and tags, and what deleting frees. Nothing is remembered: each answer is read
 * from the edges that manifests have to blobs and to each other. It takes several statements, so a push
 * or a delete meanwhile may show in part of it.
 */
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/errors.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { Queryable } from '../storage/metadata/database.ts'
import { findCandidates, findFreedBlobs, findKeptCandidates } from '../storage/metadata/freed.ts'
import { listRepositories, type NamePatterns } from '../storage/metadata/repositories.ts'
import { findMissing, findRepositoryTotals, listPulledTags } from '../storage/metadata/sizes.ts'
import type { PageRequest } from './page.ts'

/** What somebody may be about to delete. What is not there counts as nothing. */
export interface Selection {
  readonly repositories: readonly RepositoryName[]
  readonly tags: readonly { readonly repository: RepositoryName; readonly tag: Tag }[]
  readonly manifests: readonly { readonly repository: RepositoryName; readonly digest: Digest }[]
}

/** What goes with a selection in the end. */
export interface Freed {
  readonly manifests: number
  /** Distinct. */
  readonly blobs: number
  /** Of blobs and manifests together. */
  readonly bytes: number
}

/** Bytes of manifests and of distinct blobs. Layers that are not stored here count nothing. */
export interface Sizes {
  readonly totalBytes: number
  /** The part that would be freed if this alone were deleted: nothing else needs it. */
  readonly uniqueBytes: number
  /** The rest. */
  readonly sharedBytes: number
}

/** Total is what a pull of everything takes: the manifest, those that it lists, and their blobs. */
export interface TagSizes extends Sizes {
  readonly tag: Tag
  readonly digest: Digest
  /**
   * What deleting the tag frees: what is unique of it, and what goes with it, such as signatures.
   * 0 in a cache, where a tag keeps nothing.
   */
  readonly freedBytes: number
}

/** Total is all tags and manifests, with a tag or without, that are not deleted. */
export interface RepositorySizes extends Sizes {
  readonly name: RepositoryName
  readonly tags: number
  readonly manifests: number
  /** Distinct. */
  readonly blobs: number
}

/**
 * What deleting the selection frees in the end: with undo windows, times of grace and the time that
 * untagged manifests stay taken as over, and all else left as it is.
 *
 * Of a hosted repository a manifest goes when no tag outside of the selection names it, no index that
 * stays lists it, its subject does not stay, and it has no lease. What was selected by its digest goes
 * with its tags, even when its subject stays. Fallback tags such as `sha256-….sig` go with what they
 * are made of. Of caches goes what was selected by repository or digest, and nothing else. A blob goes
 * when only such manifests name it, or garbage: what is deleted already, in whatever repository, or kept
 * by nothing. One with a lease stays, and one that a pinned cache outside of the selection serves.
 *
 * Manifests that the selection reaches and that nothing keeps count, be it that nothing did before.
 */
export async function freedBy(db: Queryable, selection: Selection): Promise<Freed> {
  const { manifests, blobs, bytes } = await freed(db, selection, [])
  return { manifests, blobs, bytes }
}

/** @param part manifests of which, with their blobs, it is told how much of them is freed */
async function freed(db: Queryable, selection: Selection, part: readonly string[]) {
  const candidates = await findCandidates(db, selection)
  if (candidates.ids.length === 0) return { manifests: 0, blobs: 0, bytes: 0, bytesOfPart: 0 }
  const kept = await findKeptCandidates(db, candidates, selection.tags)
  const ids = candidates.ids.filter((id) => !kept.has(id))
  const blobs = await findFreedBlobs(db, ids, selection.repositories, part)
  const sizes = new Map(candidates.ids.map((id, index) => [id, candidates.bytes[index] ?? 0]))
  const sizeOf = (all: readonly string[]) => all.reduce((sum, id) => sum + (sizes.get(id) ?? 0), 0)
  return {
    manifests: ids.length,
    blobs: blobs.blobs,
    bytes: sizeOf(ids) + blobs.bytes,
    bytesOfPart: sizeOf(part.filter((id) => !kept.has(id))) + blobs.bytesOfPart,
  }
}

/** @throws RegistryError NAME_UNKNOWN, MANIFEST_UNKNOWN for the first that is not there */
export async function requireSelection(db: Queryable, selection: Selection): Promise<void> {
  const missing = await findMissing(db, selection)
  if (missing === undefined) return
  const { repository, reference } = missing
  if (reference === null) throw new RegistryError('NAME_UNKNOWN', repository)
  throw new RegistryError('MANIFEST_UNKNOWN', `${repository}${reference}`)
}

/** @throws RegistryError NAME_UNKNOWN */
export async function sizeOfRepository(
  db: Queryable,
  name: RepositoryName,
): Promise<RepositorySizes> {
  const totals = await findRepositoryTotals(db, name)
  if (totals === undefined) throw new RegistryError('NAME_UNKNOWN', name)
  const { bytes: uniqueBytes } = await freedBy(db, {
    repositories: [name],
    tags: [],
    manifests: [],
  })
  const { bytes, ...counts } = totals
  return { name, ...counts, ...sizesOf(bytes, uniqueBytes) }
}

/**
 * One page of tags in byte order. It costs a few statements for each tag.
 *
 * @throws RegistryError NAME_UNKNOWN
 */
export async function sizesOfTags(
  db: Queryable,
  repository: RepositoryName,
  page: PageRequest,
): Promise<TagSizes[]> {
  await requireSelection(db, { repositories: [repository], tags: [], manifests: [] })
  const sizes: TagSizes[] = []
  for (const { tag, digest, manifestIds, bytes } of await listPulledTags(db, repository, page)) {
    const selection = { repositories: [], tags: [{ repository, tag }], manifests: [] }
    const { bytesOfPart, bytes: freedBytes } = await freed(db, selection, manifestIds)
    sizes.push({ tag, digest, ...sizesOf(bytes, bytesOfPart), freedBytes })
  }
  return sizes
}

export interface LargestRepositories {
  /** The largest first: those of which most is unique. */
  readonly repositories: readonly RepositorySizes[]
  /** How many were looked at. */
  readonly examined: number
  /** Whether these were all there are, and not those that time was left for. */
  readonly complete: boolean
}

const PAGE = 100

/**
 * The largest repositories of those that `names` lets through and that hold a manifest. Each is looked
 * at by itself, in the order of names; no further one is begun when `budgetMs` are over.
 */
export async function sizesOfRepositories(
  db: Queryable,
  names: NamePatterns,
  { limit, budgetMs }: { readonly limit: number; readonly budgetMs: number },
): Promise<LargestRepositories> {
  const end = Date.now() + budgetMs
  let largest: RepositorySizes[] = []
  let examined = 0
  for (let after = ''; ; ) {
    const page = await listRepositories(db, { after, limit: PAGE }, names)
    for (const name of page) {
      if (Date.now() >= end) return { repositories: largest, examined, complete: false }
      const sizes = await sizeIfThere(db, name)
      if (sizes === undefined) continue
      examined++
      largest = [...largest, sizes].toSorted(byUniqueBytes).slice(0, limit)
    }
    if (page.length < PAGE) return { repositories: largest, examined, complete: true }
    after = page.at(-1) ?? ''
  }
}

/** Undefined when it was deleted since it was listed. */
async function sizeIfThere(
  db: Queryable,
  name: RepositoryName,
): Promise<RepositorySizes | undefined> {
  try {
    return await sizeOfRepository(db, name)
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'NAME_UNKNOWN') return undefined
    throw error
  }
}

function byUniqueBytes(one: RepositorySizes, other: RepositorySizes): number {
  return (
    other.uniqueBytes - one.uniqueBytes ||
    other.totalBytes - one.totalBytes ||
    (one.name < other.name ? -1 : 1)
  )
}

/** What changed between two statements never makes a size negative. */
function sizesOf(totalBytes: number, freedBytes: number): Sizes {
  const uniqueBytes = Math.min(freedBytes, totalBytes)
  return { totalBytes, uniqueBytes, sharedBytes: totalBytes - uniqueBytes }
}
