import type { IncomingMessage } from 'node:http'
import type { ExchangeRecord } from '../proxy/exchange.ts'

export type S3Operation =
  | 'AbortMultipartUpload'
  | 'CompleteMultipartUpload'
  | 'CopyObject'
  | 'CreateMultipartUpload'
  | 'DeleteObject'
  | 'GetObject'
  | 'HeadBucket'
  | 'HeadObject'
  | 'ListMultipartUploads'
  | 'ListObjectsV2'
  | 'ListParts'
  | 'PutObject'
  | 'UploadPart'
  | 'UploadPartCopy'
  | 'other'

/** What the proxy knows of a request. */
export interface RequestRecord extends ExchangeRecord {
  readonly operation: S3Operation
  /** `/bucket/key`, escaped as it was sent. */
  readonly path: string
  readonly query: URLSearchParams
}

export type S3Request = Readonly<RequestRecord>

/** What is known of a request by its head. */
export function recordOf(incoming: IncomingMessage): RequestRecord {
  const { method = '', url = '', headers } = incoming
  const [path = '', search = ''] = url.split(/\?(.*)/s)
  const query = new URLSearchParams(search)
  const [, bucket = '', key = ''] = /^\/([^/]*)\/?(.*)$/s.exec(path) ?? []
  let operation: S3Operation = 'other'
  if (key !== '') operation = ofObject(method, query, 'x-amz-copy-source' in headers)
  else if (bucket !== '') operation = ofBucket(method, query)
  return { operation, method, path, query, status: undefined, requestBytes: 0, responseBytes: 0 }
}

function ofBucket(method: string, query: URLSearchParams): S3Operation {
  if (method === 'HEAD') return 'HeadBucket'
  if (method !== 'GET') return 'other'
  if (query.has('uploads')) return 'ListMultipartUploads'
  return query.get('list-type') === '2' ? 'ListObjectsV2' : 'other'
}

/** Parts of an object that have operations of their own. */
const SUBRESOURCES = [
  'acl',
  'attributes',
  'legal-hold',
  'restore',
  'retention',
  'select',
  'tagging',
  'torrent',
]

function ofObject(method: string, query: URLSearchParams, copies: boolean): S3Operation {
  if (SUBRESOURCES.some((name) => query.has(name))) return 'other'
  const inUpload = query.has('uploadId')
  switch (method) {
    case 'HEAD':
      return 'HeadObject'
    case 'GET':
      return inUpload ? 'ListParts' : 'GetObject'
    case 'DELETE':
      return inUpload ? 'AbortMultipartUpload' : 'DeleteObject'
    case 'PUT':
      if (inUpload) return copies ? 'UploadPartCopy' : 'UploadPart'
      return copies ? 'CopyObject' : 'PutObject'
    case 'POST':
      if (query.has('uploads')) return 'CreateMultipartUpload'
      return inUpload ? 'CompleteMultipartUpload' : 'other'
    default:
      return 'other'
  }
}
