import type { IncomingMessage } from 'node:http'
import type { ExchangeRecord } from '../proxy/exchange.ts'

export type RequestKind =
  | 'ping'
  | 'manifest'
  | 'blob'
  | 'upload'
  | 'tags'
  | 'referrers'
  | 'token'
  | 'other'

/** What is noted of a request to a registry. */
export interface RequestRecord extends ExchangeRecord {
  readonly kind: RequestKind
  /** With its query, escaped as it was sent. */
  readonly path: string
  readonly range: string | undefined
  /** The scheme of the credentials that came along. */
  readonly authorization: 'none' | 'basic' | 'bearer' | 'other'
}

export type UpstreamRequest = Readonly<RequestRecord>

/** What is known of a request by its head. */
export function recordOf(incoming: IncomingMessage): RequestRecord {
  const { method = '', url: path = '', headers } = incoming
  return {
    kind: kindOf(path),
    method,
    path,
    range: headers.range,
    authorization: schemeOf(headers.authorization),
    status: undefined,
    requestBytes: 0,
    responseBytes: 0,
  }
}

/** The repository that a path of the API is about. */
export function repositoryIn(path: string): string | undefined {
  return /^\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(pathname(path))?.[1]
}

/** Bytes of blobs that went to clients, of those too that were cut. */
export function blobBytesOf(requests: readonly UpstreamRequest[]): number {
  return requests
    .filter(({ kind, status = 0 }) => kind === 'blob' && (status === 200 || status === 206))
    .reduce((sum, { responseBytes }) => sum + responseBytes, 0)
}

const KINDS: readonly (readonly [RegExp, RequestKind])[] = [
  [/^\/v2\/?$/, 'ping'],
  [/^\/token$/, 'token'],
  [/^\/v2\/.+\/blobs\/uploads\//, 'upload'],
  [/^\/v2\/.+\/blobs\/[^/]+$/, 'blob'],
  [/\/blobs\/\w+\/[0-9a-f]{2}\/[0-9a-f]+\/data$/, 'blob'], // behind a redirect
  [/^\/v2\/.+\/manifests\/[^/]+$/, 'manifest'],
  [/^\/v2\/.+\/tags\/list$/, 'tags'],
  [/^\/v2\/.+\/referrers\/[^/]+$/, 'referrers'],
]

export function kindOf(path: string): RequestKind {
  return KINDS.find(([form]) => form.test(pathname(path)))?.[1] ?? 'other'
}

function schemeOf(authorization: string | undefined): RequestRecord['authorization'] {
  if (authorization === undefined) return 'none'
  const scheme = authorization.split(' ', 1)[0]?.toLowerCase()
  return scheme === 'basic' || scheme === 'bearer' ? scheme : 'other'
}

function pathname(path: string): string {
  return path.split('?', 1)[0] ?? ''
}
