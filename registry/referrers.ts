import type { Digest } from '../oci/digest.ts'
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { listReferrers, type Referrer } from '../storage/metadata/referrers.ts'
import type { Registry } from './registry.ts'

/** A descriptor as the index of referrers shows it, ready for JSON. */
interface ReferrerDescriptor {
  readonly mediaType: string
  readonly size: number
  readonly digest: Digest
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
}

export interface ReferrersRequest {
  readonly artifactTypes: readonly string[]
  /** Where the page before this one ended, '0' to begin. */
  readonly after: string
}

export interface ReferrersAnswer {
  readonly descriptors: readonly ReferrerDescriptor[]
  /** Where the next page begins; undefined when this is the last. */
  readonly next: string | undefined
}

/** Rows fetched in one statement; a page has as many as fit its bytes. */
const BATCH = 1000
/** Left for what surrounds the descriptors in the index. */
const ENVELOPE_BYTES = 1024

/**
 * Manifests that name `subject`, in push order. A page is as long as an index may be: clients
 * such as cosign read the first page only. Referrers that older clients announced by a fallback
 * tag are here as well, because each of them was pushed with its subject.
 */
export async function getReferrers(
  { db }: Registry,
  repository: RepositoryName,
  subject: Digest,
  { artifactTypes, after }: ReferrersRequest,
): Promise<ReferrersAnswer> {
  const descriptors: ReferrerDescriptor[] = []
  let bytes = ENVELOPE_BYTES
  let last = after
  for (;;) {
    const request = { artifactTypes, after: last, limit: BATCH, maxBytes: MAX_MANIFEST_BYTES }
    const batch = await listReferrers(db, repository, subject, request)
    for (const referrer of batch) {
      const descriptor = describe(referrer)
      bytes += Buffer.byteLength(JSON.stringify(descriptor)) + 1
      if (bytes > MAX_MANIFEST_BYTES && descriptors.length > 0) return { descriptors, next: last }
      descriptors.push(descriptor)
      last = referrer.id
    }
    if (batch.length === 0) return { descriptors, next: undefined }
  }
}

function describe({ mediaType, sizeBytes, digest, ...rest }: Referrer): ReferrerDescriptor {
  return {
    mediaType,
    size: sizeBytes,
    digest,
    ...(rest.artifactType === null ? {} : { artifactType: rest.artifactType }),
    ...(rest.annotations === null ? {} : { annotations: rest.annotations }),
  }
}
