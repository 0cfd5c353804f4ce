/* What sizes are by their definition, found by going through everything until nothing changes. */
import type { Digest } from '../../oci/digest.ts'
import type { Freed, Selection } from '../../registry/sizes.ts'
import type { Content, SomeManifest, SomeTag } from './sizes-content.ts'

const NOTHING: Selection = { repositories: [], tags: [], manifests: [] }

/** The manifests and blobs that a selection frees. */
export function freedIn(content: Content, asked: Selection) {
  const selection = withoutDeleted(content, asked)
  const before = keptIn(content, NOTHING)
  const after = keptIn(content, selection)
  const reached = reachedIn(content, selection)
  const gone = content.manifests.filter(
    (each) => !after.has(each) && (before.has(each) || reached.has(each)),
  )
  const blobs = storedBlobs(content, gone).filter(
    ({ digest }) =>
      ![...after].some((each) => each.blobs.includes(digest)) &&
      !content.leases.some((lease) => lease.digest === digest && !lease.isOver) &&
      !content.repositories.some(
        ({ kind, name, links }) =>
          kind === 'pinned' && links.includes(digest) && !selection.repositories.includes(name),
      ),
  )
  return { manifests: gone, blobs }
}

export function countOf({ manifests, blobs }: ReturnType<typeof freedIn>): Freed {
  return { manifests: manifests.length, blobs: blobs.length, bytes: bytesOf(manifests, blobs) }
}

export function bytesOf(...lists: readonly { readonly bytes: number }[][]): number {
  return lists.flat().reduce((sum, { bytes }) => sum + bytes, 0)
}

export function storedBlobs({ blobs }: Content, manifests: readonly SomeManifest[]) {
  return blobs.filter(
    ({ digest, state }) =>
      state !== 'deleting' && manifests.some((each) => each.blobs.includes(digest)),
  )
}

/** What a pull of everything takes. */
export function pulledWith(
  { manifests }: Content,
  { repository, digest }: SomeTag,
): SomeManifest[] {
  const here = manifests.filter((each) => each.repository === repository && !each.isDeleted)
  const pulled = new Set(here.filter((each) => each.digest === digest))
  for (const one of pulled) {
    for (const each of here) if (one.children.includes(each.digest)) pulled.add(each)
  }
  return [...pulled]
}

/** Nobody finds a deleted repository by its name. */
function withoutDeleted({ repositories }: Content, selection: Selection): Selection {
  const gone = new Set(
    repositories.filter(({ kind }) => kind === 'deleted').map(({ name }) => name),
  )
  return {
    repositories: selection.repositories.filter((name) => !gone.has(name)),
    tags: selection.tags.filter(({ repository }) => !gone.has(repository)),
    manifests: selection.manifests.filter(({ repository }) => !gone.has(repository)),
  }
}

const isCache = ({ repository: { kind } }: SomeManifest) => kind === 'cache' || kind === 'pinned'

const isWhole = (each: SomeManifest | SomeTag, { repositories }: Selection) =>
  repositories.includes(each.repository.name)

const isDoomed = (each: SomeManifest, { manifests }: Selection) =>
  manifests.some(
    ({ repository, digest }) => repository === each.repository.name && digest === each.digest,
  )

const stays = (tag: SomeTag, selection: Selection) =>
  !isWhole(tag, selection) &&
  !selection.tags.some((each) => each.repository === tag.repository.name && each.tag === tag.name)

const has = (content: Content, repository: SomeTag['repository'], digest: Digest) =>
  content.manifests.some((each) => each.repository === repository && each.digest === digest)

/** Every manifest that is kept once the selection is deleted. */
function keptIn(content: Content, selection: Selection): Set<SomeManifest> {
  const kept = new Set(content.manifests.filter((each) => isRoot(content, each, selection)))
  for (const one of kept) {
    for (const each of content.manifests) {
      if (each.repository === one.repository && keeps(content, one, each, selection)) kept.add(each)
    }
  }
  return kept
}

function isRoot(content: Content, each: SomeManifest, selection: Selection): boolean {
  const { repository, digest, isDeleted } = each
  const isLeased = content.leases.some(
    (lease) => lease.repository === repository && lease.digest === digest && !lease.isOver,
  )
  if (isLeased) return true
  if (isDeleted || repository.kind === 'deleted' || isDoomed(each, selection)) return false
  if (isCache(each)) return !isWhole(each, selection)
  return content.tags.some(
    (tag) =>
      tag.repository === repository &&
      tag.digest === digest &&
      stays(tag, selection) &&
      !(tag.madeOf !== undefined && has(content, repository, tag.madeOf)),
  )
}

function keeps(
  { tags }: Content,
  one: SomeManifest,
  each: SomeManifest,
  selection: Selection,
): boolean {
  if (each.isDeleted) return false
  if (one.children.includes(each.digest)) return true
  if (isDoomed(each, selection)) return false
  if (each.subject === one.digest) return true
  return fallbackTags(tags, one, each).some((tag) => stays(tag, selection))
}

/** Tags of `each` that go with `one`. */
function fallbackTags(tags: readonly SomeTag[], one: SomeManifest, each: SomeManifest): SomeTag[] {
  return tags.filter(
    ({ repository, digest, madeOf }) =>
      repository === one.repository && digest === each.digest && madeOf === one.digest,
  )
}

/** Whatever was selected, and in hosted repositories what hangs on it. */
function reachedIn(content: Content, selection: Selection): Set<SomeManifest> {
  const { manifests, tags } = content
  const there = manifests.filter(({ isDeleted }) => !isDeleted)
  const reached = new Set(
    there.filter(
      (each) =>
        isWhole(each, selection) ||
        isDoomed(each, selection) ||
        (!isCache(each) &&
          tags.some(
            (tag) =>
              tag.repository === each.repository &&
              tag.digest === each.digest &&
              !stays(tag, selection),
          )),
    ),
  )
  for (const one of reached) {
    if (isCache(one)) continue
    for (const each of there.filter(({ repository }) => repository === one.repository)) {
      const hangsOn =
        one.children.includes(each.digest) ||
        each.subject === one.digest ||
        fallbackTags(tags, one, each).length > 0
      if (hangsOn) reached.add(each)
    }
  }
  return reached
}
