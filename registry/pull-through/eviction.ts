import { lockBlobsAlone, markUnlinkedBlobs } from '../../storage/metadata/blob-removal.ts'
import type { StoredBlob } from '../../storage/metadata/blobs.ts'
import {
  checkEvictable,
  type EvictableBlob,
  type EvictionCursor,
  listEvictableBlobs,
  unlinkFromUpstream,
} from '../../storage/metadata/cache-eviction.ts'
import { findUsage } from '../../storage/metadata/cached-content.ts'
import type { Transaction } from '../../storage/metadata/database.ts'
import { removeBlobs } from '../blob-removal.ts'
import type { Registry } from '../registry.ts'
import { type Revoke, revokingInTurn } from '../revocation.ts'
import { dropEmptyCaches, dropIdleManifests } from './idle-content.ts'

export interface EvictionTerms {
  /** The upstream's name. */
  readonly upstream: string
  /** Bytes kept of it; 0: any number. */
  readonly maxBytes: number
  /** Manifests that nobody asked for since so many seconds go; 0: they stay. */
  readonly idleSeconds: number
  /** Blobs that go, at most; and as many manifests, and repositories. */
  readonly limit?: number
  /** Ends it soon. What is marked by then is left for `finishRemovals`. */
  readonly signal?: AbortSignal
}

export interface Evicted {
  readonly blobs: number
  /** By which the upstream's usage shrank; less are freed where another upstream has the same. */
  readonly bytes: number
  readonly manifests: number
  readonly repositories: number
}

/** What is left of a cap that was exceeded, so that it is not reached again at once. */
const FILL = 0.9
const LIMIT = 10_000
const PAGE = 1000
/** Blobs that are locked at a time. */
const BATCH = 50

/**
 * Makes room: blobs go while the upstream has more than its cap, the least recently used first,
 * down to a bit below it; and manifests that were idle for too long, whatever the cap. What is
 * pinned stays, and so do blobs that a hosted repository serves, that are on their way, or that
 * were used in the last minute.
 */
export async function evict(
  registry: Registry,
  { limit = LIMIT, ...terms }: EvictionTerms,
): Promise<Evicted> {
  const manifests = await dropIdleManifests(registry, { ...terms, limit })
  const blobs = await evictBlobs(registry, { ...terms, limit })
  const repositories = await dropEmptyCaches(registry, terms.upstream, limit)
  return { ...blobs, manifests, repositories }
}

/** What went, or may go. */
interface Amount {
  readonly blobs: number
  readonly bytes: number
}

type BlobTerms = Omit<EvictionTerms, 'idleSeconds' | 'limit'> & { readonly limit: number }

async function evictBlobs(
  registry: Registry,
  { upstream, maxBytes, limit, signal }: BlobTerms,
): Promise<Amount> {
  let gone: Amount = { blobs: 0, bytes: 0 }
  if (maxBytes <= 0 || (await findUsage(registry.db, upstream)).bytes <= maxBytes) return gone
  let after: EvictionCursor | undefined
  while (gone.blobs < limit) {
    if (signal?.aborted === true) break
    const page = await listEvictableBlobs(registry.db, upstream, { after, limit: PAGE })
    // Read after the page: what others evict meanwhile is missing in both, or found to be gone.
    const { bytes } = await findUsage(registry.db, upstream)
    const excess = bytes - maxBytes * FILL
    if (page.length === 0 || excess <= 0) break
    const most = { blobs: limit - gone.blobs, bytes: excess }
    const some = await evictSome(registry, page, { upstream, most, signal })
    gone = sum(gone, some.gone)
    after = some.last
  }
  return gone
}

interface PageTerms {
  readonly upstream: string
  readonly most: Amount
  readonly signal: AbortSignal | undefined
}

/** Lets blobs go from the beginning of the page until `most.bytes` are reached, or `most.blobs`. */
async function evictSome(
  registry: Registry,
  page: readonly EvictableBlob[],
  { upstream, most, signal }: PageTerms,
): Promise<{ gone: Amount; last: EvictableBlob | undefined }> {
  let gone: Amount = { blobs: 0, bytes: 0 }
  let elsewhere = gone
  let last: EvictableBlob | undefined
  const marked: StoredBlob[] = []
  const left = [...page]
  await revokingInTurn(registry, async (commit) => {
    while (gone.blobs < most.blobs) {
      if (signal?.aborted === true) break
      const bytes = most.bytes - gone.bytes - elsewhere.bytes
      const batch = takeBatch(left, { blobs: most.blobs - gone.blobs, bytes })
      if (batch.length === 0) break
      last = batch.at(-1)
      const ended = await commit((tx, revoke) => endLinks(tx, revoke, upstream, batch))
      gone = sum(gone, amountOf(ended.gone))
      elsewhere = sum(elsewhere, amountOf(ended.goneElsewhere))
      marked.push(...ended.marked)
    }
  })
  await removeBlobs(registry, marked, signal)
  return { gone, last }
}

function takeBatch(left: EvictableBlob[], most: Amount): EvictableBlob[] {
  const batch: EvictableBlob[] = []
  let bytes = 0
  while (bytes < most.bytes && batch.length < Math.min(BATCH, most.blobs)) {
    const blob = left.shift()
    if (blob === undefined) break
    batch.push(blob)
    bytes += blob.sizeBytes
  }
  return batch
}

interface EndedLinks {
  /** Gone from the upstream by this. */
  readonly gone: readonly EvictableBlob[]
  /** Gone from it before: another process makes room as well. */
  readonly goneElsewhere: readonly EvictableBlob[]
  /** Linked by nobody any more. */
  readonly marked: readonly StoredBlob[]
}

async function endLinks(
  tx: Transaction,
  revoke: Revoke,
  upstream: string,
  batch: readonly EvictableBlob[],
): Promise<EndedLinks> {
  const digests = batch.map(({ digest }) => digest)
  await lockBlobsAlone(tx, digests)
  // Asked again, as a hosted repository may have mounted one of them, or somebody pinned it.
  const found = await checkEvictable(tx, upstream, digests)
  const gone = batch.filter(({ digest }) => found.get(digest) === true)
  const evicted = gone.map(({ digest }) => digest)
  const links = await unlinkFromUpstream(tx, upstream, evicted)
  await Promise.all(links.map(revoke))
  const marked = await markUnlinkedBlobs(tx, evicted)
  return { gone, goneElsewhere: batch.filter(({ digest }) => !found.has(digest)), marked }
}

function amountOf(blobs: readonly EvictableBlob[]): Amount {
  return { blobs: blobs.length, bytes: blobs.reduce((bytes, blob) => bytes + blob.sizeBytes, 0) }
}

function sum(one: Amount, other: Amount): Amount {
  return { blobs: one.blobs + other.blobs, bytes: one.bytes + other.bytes }
}
