/** The limits of S3, which compatible servers share. */
export const MAX_PARTS = 10_000
const MAX_OBJECT_BYTES = 5 * 2 ** 40
const MIB = 2 ** 20
/** Every part but the last must have at least so many bytes. */
export const LEAST_PART_BYTES = 5 * MIB
/** Of parts that are larger one process sends one at a time, whatever it may send of others. */
export const LARGE_PART_BYTES = 64 * MIB
/** Few sizes, so that memory of the same size is used again. */
const FIRST_PART_BYTES = [16 * MIB, 8 * MIB, LEAST_PART_BYTES]

/**
 * Bytes of memory that the parts being filled in one process should not exceed by much: with more
 * uploads than fit into it, new ones make smaller parts.
 */
const FILLING_BYTES = 256 * MIB

export interface ExpectedUpload {
  readonly expectsMore: boolean
  /** Bytes announced, if they are. */
  readonly length?: number | undefined
  /** Uploads under way in this process, this one included. */
  readonly concurrent: number
}

/**
 * The size of the first parts of an upload, in bytes: a whole number of MiB. A blob that comes in
 * pieces gets small parts, as what does not fill one is kept in the session.
 */
export function firstPartBytes({ expectsMore, length = 0, concurrent }: ExpectedUpload): number {
  const share = expectsMore ? 0 : FILLING_BYTES / concurrent
  const wanted = FIRST_PART_BYTES.find((bytes) => bytes <= share) ?? LEAST_PART_BYTES
  const needed = Math.ceil(length / MAX_PARTS / MIB) * MIB
  return Math.max(wanted, Math.min(needed, LARGE_PART_BYTES))
}

/** Up to which part number the parts are how many times as large as the first. */
const GROWTH = [
  { upTo: 2000, factor: 1 },
  { upTo: 4000, factor: 4 },
  { upTo: 6000, factor: 16 },
] as const

/**
 * The size of part `number`, counted from 1, in bytes. Parts are equal for as long as that goes,
 * and then grow, so that the largest object S3 takes fits into the parts it takes.
 */
export function partBytes(number: number, firstBytes: number): number {
  if (firstBytes * MAX_PARTS >= MAX_OBJECT_BYTES) return firstBytes
  const step = GROWTH.find(({ upTo }) => number <= upTo)
  if (step !== undefined) return step.factor * firstBytes
  const last = GROWTH.at(-1)!
  const before = GROWTH.reduce((sum, { upTo, factor }, index) => {
    const from = GROWTH[index - 1]?.upTo ?? 0
    return sum + (upTo - from) * factor * firstBytes
  }, 0)
  const rest = (MAX_OBJECT_BYTES - before) / (MAX_PARTS - last.upTo)
  return Math.max(last.factor * firstBytes, Math.ceil(rest / MIB) * MIB)
}
