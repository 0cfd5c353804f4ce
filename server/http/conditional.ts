import type { IncomingHttpHeaders } from 'node:http'
import type { Digest } from '../../oci/digest.ts'

/** A digest names its bytes and nothing else: the strongest entity tag there is. */
export function entityTag(digest: Digest): string {
  return `"${digest}"`
}

/**
 * Whether a list of entity tags names `digest`. RFC 9110, section 13.1; clients also send it
 * without quotes, or as weak.
 */
export function namesDigest(header: string, digest: Digest | undefined): boolean {
  const tags = header.split(',').map((tag) => tag.trim())
  if (tags.includes('*')) return digest !== undefined
  return tags.some((tag) => tag.replace(/^W\//, '').replaceAll('"', '') === digest)
}

/** True when the client has this content already, and 304 is the answer. */
export function isNotModified(headers: IncomingHttpHeaders, digest: Digest): boolean {
  const header = headers['if-none-match']
  return header !== undefined && namesDigest(header, digest)
}

/** What the headers of a write demand of the present state; undefined when they demand nothing. */
export function precondition(
  headers: IncomingHttpHeaders,
): ((current: Digest | undefined) => boolean) | undefined {
  const match = headers['if-match']
  const noneMatch = headers['if-none-match']
  if (match === undefined && noneMatch === undefined) return undefined
  return (current) =>
    (match === undefined || namesDigest(match, current)) &&
    (noneMatch === undefined || !namesDigest(noneMatch, current))
}
