import type { IncomingMessage } from 'node:http'
import { RegistryError } from '../../oci/errors.ts'

export interface ChunkRange {
  readonly first: number
  /** Bytes from `first` to the last, both included. */
  readonly length: number
}

/**
 * The range of an upload's chunk: `Content-Range: <first>-<last>`. The distribution spec leaves
 * out the unit and the total of RFC 9110; with them it is refused.
 *
 * @throws RegistryError SIZE_INVALID when it is malformed, runs backwards, or does not fit the
 *   Content-Length
 */
export function parseChunkRange({ headers }: IncomingMessage): ChunkRange | undefined {
  const text = headers['content-range']
  if (text === undefined) return undefined
  const match = /^(\d{1,15})-(\d{1,15})$/.exec(text)
  if (match === null) throw new RegistryError('SIZE_INVALID', 'Content-Range is not <first>-<last>')
  const [first, last] = [Number(match[1]), Number(match[2])]
  const length = last - first + 1
  if (length < 1) throw new RegistryError('SIZE_INVALID', 'Content-Range runs backwards')
  const announced = headers['content-length']
  if (announced !== undefined && Number(announced) !== length) {
    throw new RegistryError('SIZE_INVALID', 'Content-Range does not fit Content-Length')
  }
  return { first, length }
}

/**
 * `Range: 0-<last>` of an upload. Docker reads the one in a 202 and needs an end that is not
 * before the start, so an empty upload is `0-0` there.
 */
export function formatProgress(offset: number): string {
  return `0-${Math.max(0, offset - 1)}`
}

/** The same where a client asks how far it came: an empty upload is `0--1`, which one byte is not. */
export function formatOffset(offset: number): string {
  return `0-${offset - 1}`
}
