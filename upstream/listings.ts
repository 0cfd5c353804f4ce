import { parseTag, type Tag } from '../oci/reference.ts'
import { UpstreamFailure } from './failure.ts'
import type { Answer } from './transport.ts'
import { parseForeignUrl } from './url.ts'

/** The names in an answer to a listing of tags, without those that are none. @throws UpstreamFailure */
export function parseTagList(who: string, body: Buffer): Tag[] {
  const tags = member(parseObject(who, body), 'tags') ?? []
  if (!Array.isArray(tags)) throw notAListing(who)
  return tags.filter((each): each is Tag => typeof each === 'string' && isTag(each))
}

/** The descriptors in an index of referrers, not looked at. @throws UpstreamFailure */
export function parseReferrers(who: string, body: Buffer): readonly unknown[] {
  const manifests = member(parseObject(who, body), 'manifests') ?? []
  if (!Array.isArray(manifests)) throw notAListing(who)
  return manifests
}

/** Where the next page is, if there is one: RFC 8288. @throws UpstreamFailure for no URL */
export function nextPage({ who, url, headers }: Answer): URL | undefined {
  const header = [headers['link'] ?? []].flat().join(', ')
  for (const [, target = '', parameters = ''] of header.matchAll(/<([^<>]*)>([^<]*)/g)) {
    const rel = /;\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,]*))/i.exec(parameters)
    const names = (rel?.[1] ?? rel?.[2] ?? '').toLowerCase().split(/\s+/)
    if (!names.includes('next')) continue
    const next = parseForeignUrl(target, url)
    if (next === undefined) throw new UpstreamFailure('invalid', `${who}: its next page has no URL`)
    return next
  }
  return undefined
}

function isTag(text: string): text is Tag {
  try {
    return parseTag(text) === text
  } catch {
    return false
  }
}

function parseObject(who: string, body: Buffer): object {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // As little a listing as what is JSON and no object.
  }
  throw notAListing(who)
}

function member(object: object, key: string): unknown {
  return Object.getOwnPropertyDescriptor(object, key)?.value
}

function notAListing(who: string): UpstreamFailure {
  return new UpstreamFailure('invalid', `${who}: its answer is not the listing it was asked for`)
}
