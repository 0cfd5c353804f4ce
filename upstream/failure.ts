/** Why an upstream did not give what it was asked for. */
export type FailureReason =
  /** It says that there is no such thing. */
  | 'unknown'
  /** 401 and 403, also of its token service. */
  | 'denied'
  /** 429, or its rate limit is known to be used up. */
  | 'rate limited'
  /** It cannot be reached, answers 5xx, is too slow, broke off, or is not asked for a while. */
  | 'unavailable'
  /** What it sent is not what was asked for, or no answer of a registry at all. */
  | 'invalid'

export interface FailureOptions {
  readonly cause?: unknown
  /** When to ask again, as the upstream says, or as it is decided here. */
  readonly retryAfterSeconds?: number | undefined
}

/** An upstream failed. The message names it and says what it said, fit for a client to read. */
export class UpstreamFailure extends Error {
  override readonly name = 'UpstreamFailure'
  readonly reason: FailureReason
  readonly retryAfterSeconds: number | undefined

  constructor(
    reason: FailureReason,
    message: string,
    { cause, retryAfterSeconds }: FailureOptions = {},
  ) {
    super(message, { cause })
    this.reason = reason
    this.retryAfterSeconds = retryAfterSeconds
  }
}
