import { S3ServiceException } from '@aws-sdk/client-s3'
import { StorageFull, StorageUnavailable, UploadLost } from '../blob-store.ts'

/** What a failed call means to the callers of a store, whichever server it was. */
export function asStorageFailure(error: unknown): Error {
  const code = codeOf(error)
  if (LOST.has(code)) return new UploadLost()
  if (FULL.has(code) || statusOf(error) === 507) {
    return new StorageFull('the object storage is full', { cause: error })
  }
  return new StorageUnavailable(explain(error), { cause: error })
}

/** There is no such object. */
export function isMissing(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'NoSuchKey' || code === 'NotFound'
}

/** The request is not one that this make of storage understands. */
export function isInvalid(error: unknown): boolean {
  return codeOf(error) === 'InvalidArgument'
}

/** The multipart upload was completed or aborted, perhaps by a call whose answer was lost. */
export function isUploadGone(error: unknown): boolean {
  return codeOf(error) === 'NoSuchUpload'
}

/** The object has fewer bytes than were asked for. */
export function isBeyondEnd(error: unknown): boolean {
  return codeOf(error) === 'InvalidRange'
}

/** One sentence for the person who runs the server. */
function explain(error: unknown): string {
  const code = codeOf(error)
  const known = REASONS[code]
  if (known !== undefined) return `the object storage refuses: ${known} (${code})`
  const status = statusOf(error)
  if (status === 403) return `the object storage refuses: ${REASONS['AccessDenied']} (403)`
  if (status === 301) return `the object storage refuses: ${REASONS['PermanentRedirect']} (301)`
  if (status !== undefined) return `the object storage fails: ${code} (${status})`
  return `the object storage cannot be reached: ${code} (${messageOf(error)})`
}

// Parts that are not those which were sent: somebody removed or replaced them.
const LOST = new Set(['NoSuchUpload', 'InvalidPart', 'InvalidPartOrder', 'EntityTooSmall'])

const FULL = new Set(['QuotaExceeded', 'XMinioStorageFull', 'ServiceQuotaExceededException'])

const REASONS: Readonly<Record<string, string>> = {
  InvalidAccessKeyId: 'it does not know the access key',
  XAdminUserNotFound: 'it does not know the access key',
  SignatureDoesNotMatch: 'the secret key is wrong, or a proxy in between changes requests',
  NoSuchBucket: 'the bucket does not exist',
  AccessDenied: 'the credentials lack the right to do this',
  PermanentRedirect: 'the bucket is in another region, or at another endpoint',
  AuthorizationHeaderMalformed: 'the region is not that of the bucket',
  RequestTimeTooSkewed: 'the clock of this machine is wrong',
  ExpiredToken: 'the credentials have expired',
  InvalidToken: 'the session token is not valid',
  CredentialsProviderError: 'no credentials were found',
  SlowDown: 'too many requests at once',
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof S3ServiceException) return error.name
  return 'code' in error ? String(error.code) : error.name
}

function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
