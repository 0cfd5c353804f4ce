import type { RequestContext } from '../state.ts'

/** Where an answer is from that tells of an upstream; all fields are left out in others. */
export interface Provenance {
  readonly from?: 'cache' | 'upstream' | undefined
  /** Why the upstream could not be asked; undefined when it could, or need not be. */
  readonly staleBecause?: string | undefined
}

/** Says where the answer is from: RFC 9211, and the distribution spec, "Warnings". */
export function setProvenance({ res }: RequestContext, { from, staleBecause }: Provenance): void {
  if (from === undefined) return
  const isStale = staleBecause !== undefined
  const how = isStale ? 'hit; fwd=stale' : from === 'cache' ? 'hit' : 'fwd=uri-miss'
  res.setHeader('Cache-Status', `Slipway; ${how}`)
  if (isStale) res.setHeader('Warning', `299 - "${quoted(`served as it was: ${staleBecause}`)}"`)
}

const LONGEST = 1000

/** Spec: printable characters, and none that would end the text. */
function quoted(text: string): string {
  return text
    .slice(0, LONGEST)
    .replaceAll(/[^\x20-\x7e]/g, '?')
    .replaceAll('\\', '/')
    .replaceAll('"', "'")
}
