import type { RequestContext } from '../state.ts'
import { printable } from './printable.ts'

/** Characters; spec: a warning has at most 4096 bytes. */
const LONGEST = 1000

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
  if (isStale)
    res.setHeader('Warning', `299 - "${printable(`served as it was: ${staleBecause}`, LONGEST)}"`)
}
