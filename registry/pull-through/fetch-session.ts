import { randomUUID } from 'node:crypto'
import { type Digest, splitDigest } from '../../oci/digest.ts'
import type { SpoolFile } from '../../storage/blob/spool.ts'
import type { FetchRecord } from '../../storage/metadata/fetches.ts'
import type { RepositoryId } from '../../storage/metadata/repositories.ts'
import { findUpload, insertUpload, type UploadKey } from '../../storage/metadata/uploads.ts'
import type { Registry } from '../registry.ts'
import { inCache, RepositoryGone } from '../repositories.ts'
import type { Fetches } from './fetches.ts'
import { cacheOf, type UpstreamRepository } from './upstreams.ts'

/** The upload session that takes a blob from an upstream. */
export interface FetchSession {
  readonly key: UploadKey
  /** Bytes it has. */
  readonly offset: number
  /** What readers follow, where the store has no file for it. */
  readonly spool: SpoolFile | undefined
}

/** No client has this name, so no client can go on with the session. */
const OWNER = 'upstream'

/** What an earlier fetch left, if all of it is within reach; be it only the session, to begin again. */
export async function resumeSession(
  registry: Registry,
  fetches: Fetches,
  { source, left }: { readonly source: UpstreamRepository; readonly left: FetchRecord },
): Promise<FetchSession | undefined> {
  const { repository, uploadId: id } = left
  if (id === null || repository !== source.repository) return undefined
  const key: UploadKey = { repository, id, owner: OWNER }
  const offset = (await findUpload(registry.db, key))?.offset
  if (offset === undefined) return undefined
  if (registry.blobs.growingFile !== undefined) return { key, offset, spool: undefined }
  const spool = await fetches.spool.open(id, offset)
  return spool === undefined ? undefined : { key, offset, spool }
}

export async function startSession(
  registry: Registry,
  fetches: Fetches,
  { source, digest }: { readonly source: UpstreamRepository; readonly digest: Digest },
): Promise<FetchSession> {
  const { blobs, db, limits } = registry
  const id = randomUUID()
  const upload = {
    id,
    owner: OWNER,
    algorithm: splitDigest(digest).algorithm,
    state: blobs.startUpload(id),
    ttlSeconds: limits.uploadExpirySeconds,
    durable: blobs.needsDurableSession,
  }
  const insert = async (repositoryId: RepositoryId) => {
    if (!(await insertUpload(db, repositoryId, upload))) throw new RepositoryGone()
  }
  await inCache(registry, cacheOf(source), insert)
  const spool = blobs.growingFile === undefined ? await fetches.spool.open(id, 0) : undefined
  return { key: { repository: source.repository, id, owner: OWNER }, offset: 0, spool }
}
