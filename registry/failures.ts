import { RegistryError } from '../oci/errors.ts'
import { StorageFull, StorageUnavailable } from '../storage/blob/blob-store.ts'
import { isUnavailable } from '../storage/metadata/database.ts'
import { UpstreamFailure } from '../upstream/failure.ts'
import { asUpstreamError } from './pull-through/failure.ts'
import { BodyCut } from './receive.ts'
import { ClaimedElsewhere, ClaimLost, TakenOver } from './upload-locks.ts'

/** What a client is told of a failure below the operations; undefined for a fault of ours. */
export function asRegistryError(error: unknown): RegistryError | undefined {
  if (error instanceof RegistryError) return error
  if (error instanceof StorageFull) {
    return new RegistryError('UNAVAILABLE', 'the storage is full', { cause: error, status: 507 })
  }
  if (error instanceof StorageUnavailable) {
    return new RegistryError('UNAVAILABLE', 'the storage cannot be reached', { cause: error })
  }
  if (error instanceof UpstreamFailure) return asUpstreamError(error, 'BLOB_UNKNOWN')
  if (error instanceof TakenOver) {
    return new RegistryError('BLOB_UPLOAD_INVALID', error.message, { cause: error, status: 409 })
  }
  if (error instanceof ClaimedElsewhere) {
    return new RegistryError('UNAVAILABLE', error.message, { cause: error })
  }
  if (error instanceof ClaimLost || isUnavailable(error)) {
    return new RegistryError('UNAVAILABLE', 'the database cannot be reached', { cause: error })
  }
  return undefined
}

/** True for a client that left while it was sending: nobody is there to be answered. */
export function isClientGone(error: unknown): boolean {
  return error instanceof BodyCut
}
