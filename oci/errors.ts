/**
 * The error codes a client may meet: those of the distribution spec ("Error Codes"),
 * and after them ours, which the spec leaves room for. `docs/errors.md` lists the same table.
 */
export const ERROR_CODES = {
  BLOB_UNKNOWN: { status: 404, message: 'blob unknown to the repository' },
  BLOB_UPLOAD_INVALID: { status: 400, message: 'blob upload invalid' },
  BLOB_UPLOAD_UNKNOWN: { status: 404, message: 'blob upload unknown to the repository' },
  DIGEST_INVALID: { status: 400, message: 'digest is malformed or does not match the content' },
  MANIFEST_BLOB_UNKNOWN: {
    status: 400,
    message: 'manifest names content the repository does not have',
  },
  MANIFEST_INVALID: { status: 400, message: 'manifest invalid' },
  MANIFEST_UNKNOWN: { status: 404, message: 'manifest unknown to the repository' },
  NAME_INVALID: { status: 400, message: 'invalid repository name' },
  NAME_UNKNOWN: { status: 404, message: 'name unknown to the registry' },
  SIZE_INVALID: { status: 400, message: 'length does not match the content' },
  UNAUTHORIZED: { status: 401, message: 'authentication required' },
  DENIED: { status: 403, message: 'access to the resource is denied' },
  UNSUPPORTED: { status: 405, message: 'the operation is unsupported' },
  TOOMANYREQUESTS: { status: 429, message: 'too many requests' },

  TAG_INVALID: { status: 400, message: 'invalid tag' },
  PAGINATION_NUMBER_INVALID: { status: 400, message: 'invalid number of results requested' },
  UNAVAILABLE: { status: 503, message: 'temporarily unavailable, try again' },
  UNKNOWN: { status: 500, message: 'internal error' },
} as const satisfies Record<string, { status: number; message: string }>

export type ErrorCode = keyof typeof ERROR_CODES

export interface RegistryErrorOptions {
  /** The thing that went wrong below; logged, never sent. */
  readonly cause?: unknown
  /** For the few places where the spec wants another status than the code's own. */
  readonly status?: number
}

/**
 * A failure the client should hear about. Anything else that is thrown is a
 * fault of ours: it is logged in full and answered as UNKNOWN.
 */
export class RegistryError extends Error {
  override readonly name = 'RegistryError'
  readonly code: ErrorCode
  readonly status: number
  /** What was wrong, a sentence or a value each; the answer carries one error for each of them. */
  readonly details: readonly string[]

  constructor(
    code: ErrorCode,
    detail: string | readonly string[] = [],
    { cause, status }: RegistryErrorOptions = {},
  ) {
    super(ERROR_CODES[code].message, { cause })
    this.code = code
    this.status = status ?? ERROR_CODES[code].status
    this.details = typeof detail === 'string' ? [detail] : detail
  }
}
