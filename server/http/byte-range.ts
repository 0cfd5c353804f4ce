import type { ByteRange } from '../../registry/blobs.ts'

export type RequestedRange = ByteRange | 'whole' | 'unsatisfiable'

/**
 * What a `Range` header asks of a representation of `sizeBytes`. RFC 9110, section 14. Units
 * other than bytes, malformed ranges and lists of ranges are answered with the whole, as the RFC
 * allows: a client that asked for many must not take one for all of them.
 */
export function parseByteRange(header: string | undefined, sizeBytes: number): RequestedRange {
  if (header === undefined) return 'whole'
  const match = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(header)
  if (match === null) return 'whole'
  const [, from = '', to = ''] = match
  if (from === '') return to === '' ? 'whole' : suffix(Number(to), sizeBytes)
  const first = Number(from)
  const last = to === '' ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1)
  if (to !== '' && Number(to) < first) return 'unsatisfiable'
  return first >= sizeBytes ? 'unsatisfiable' : { first, last }
}

function suffix(length: number, sizeBytes: number): RequestedRange {
  if (length === 0 || sizeBytes === 0) return 'unsatisfiable'
  return { first: Math.max(0, sizeBytes - length), last: sizeBytes - 1 }
}
