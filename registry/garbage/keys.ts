import type { Digest } from '../../oci/digest.ts'
import type { QueuedGarbage } from '../../storage/metadata/gc-queue.ts'
import type { RepositoryId } from '../../storage/metadata/repositories.ts'

type Key = Pick<QueuedGarbage, 'key'>

/** Rows of blobs are named by digests. */
export function digestOf({ key }: Key): Digest {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return key as Digest
}

/** Rows of repositories are named by ids. */
export function repositoryIdOf({ key }: Key): RepositoryId {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return key as RepositoryId
}
