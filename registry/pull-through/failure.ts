import { type ErrorCode, RegistryError } from '../../oci/errors.ts'
import type { UpstreamFailure } from '../../upstream/failure.ts'

/** The upstream could not give it, and it is not kept here. */
export class UpstreamError extends RegistryError {
  readonly retryAfterSeconds: number

  constructor(code: ErrorCode, { message, retryAfterSeconds }: UpstreamFailure, cause: unknown) {
    super(code, message, { cause })
    this.retryAfterSeconds = Math.max(1, Math.ceil(retryAfterSeconds ?? 5))
  }
}

/** @param unknown what a client is told when the upstream says there is no such thing */
export function asUpstreamError(failure: UpstreamFailure, unknown: ErrorCode): UpstreamError {
  return new UpstreamError(codeOf(failure, unknown), failure, failure)
}

function codeOf({ reason }: UpstreamFailure, unknown: ErrorCode): ErrorCode {
  // What is denied is denied to us, not to the client: no other token of ours would help it.
  if (reason === 'unknown' || reason === 'denied') return unknown
  return reason === 'rate limited' ? 'TOOMANYREQUESTS' : 'UNAVAILABLE'
}
