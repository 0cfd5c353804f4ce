import type { IncomingMessage } from 'node:http'

/** The resources below `/v2/<name>/`. */
export type Resource = 'manifest' | 'blob' | 'uploads' | 'upload' | 'tags' | 'referrers'

export interface V2Path {
  readonly resource: Resource
  /** As it stands in the URL: not decoded, not yet checked. */
  readonly name: string
  /** Tag, digest or session id; '' for a resource without one. */
  readonly reference: string
}

// One expression over the raw path. A name that was percent-encoded does not become another name:
// it keeps its '%' and is refused by the grammar of names. The name is greedy, as components such
// as "manifests" are allowed in it.
const PATH =
  /^\/v2\/(.+)\/(?:manifests\/([^/]+)|blobs\/uploads(?:\/([^/]*))?|blobs\/([^/]+)|(tags)\/list|referrers\/([^/]+))$/

/** Undefined when the path is none of the distribution API's. */
export function parseV2Path(path: string): V2Path | undefined {
  const match = PATH.exec(path)
  if (match === null) return undefined
  const [, name = '', manifest, upload, blob, tags, subject] = match
  if (manifest !== undefined) return { resource: 'manifest', name, reference: decode(manifest) }
  if (blob !== undefined) return { resource: 'blob', name, reference: decode(blob) }
  if (tags !== undefined) return { resource: 'tags', name, reference: '' }
  if (subject !== undefined) return { resource: 'referrers', name, reference: decode(subject) }
  if (upload) return { resource: 'upload', name, reference: upload }
  return { resource: 'uploads', name, reference: '' }
}

/**
 * The path as it was sent, of a target with a host as well (RFC 9112, "absolute-form"). Koa's own
 * is not always: beside a '#', or behind a host, a backslash in it has become a slash.
 */
export function rawPath({ url = '' }: IncomingMessage): string {
  const [target = ''] = url.split('?', 1)
  return target.startsWith('/') ? target : target.replace(/^https?:\/\/[^/]*/i, '')
}

/** Some clients encode the colon of a digest; nothing else in a reference needs encoding. */
function decode(reference: string): string {
  return reference.includes('%') ? reference.replace(/%3A/i, ':') : reference
}
